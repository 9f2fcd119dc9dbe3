# SPDX-License-Identifier: GPL-3.0-or-later
"""How work ends when it doesn't end well; every room raises these and nothing else. No bpy."""


class Failure(Exception):
    """Something the artist has to know.

    code     one word for scripts, such as "no_key"; the set only grows
    message  what happened, a whole sentence; never a key, never a full URL
    hint     what to do about it, a whole sentence, or empty
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Cancelled(Exception):
    """The artist no longer wants it."""
