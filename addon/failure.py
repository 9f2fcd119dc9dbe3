# SPDX-License-Identifier: GPL-3.0-or-later
"""How work ends when it doesn't end well; every room raises these and nothing else. No bpy."""

import errno
import os
import unicodedata

_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def readable(text: str) -> str:
    """The text on one line: names may hold line breaks, what steers a terminal, or what turns the rest of a line around."""
    kinds = {"Cc": " ", "Zl": " ", "Zp": " ", "Cs": "\N{REPLACEMENT CHARACTER}"}
    return "".join(kinds.get(unicodedata.category(letter), letter) for letter in text if letter not in _TURNS)


class Failure(Exception):
    """Something the artist has to know.

    code     one word for scripts, such as "no_key"; the set only grows
    message  what happened, a whole sentence; never a key, never a full URL
    hint     what to do about it, a whole sentence, or empty
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = readable(message)
        self.hint = readable(hint)


class Cancelled(Exception):
    """The artist no longer wants it."""


_UNREACHABLE = "the network drive can't be reached"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EROFS: "it is read-only",
    errno.EACCES: "access is denied",
    errno.EPERM: "access is denied",
    errno.EEXIST: "a file is in its way",
    errno.ENOTDIR: "a file is in its way",
    errno.ENOENT: "there is no such folder or drive",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EIO: "the drive reports an error",
    errno.ENXIO: "the drive is not connected",
    errno.ENODEV: "the drive is not connected",
    **dict.fromkeys(
        (
            errno.ESTALE,
            errno.ENOTCONN,
            errno.EHOSTDOWN,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
            errno.ENETUNREACH,
            errno.ETIMEDOUT,
        ),
        _UNREACHABLE,
    ),
}
# Windows' system error codes whose errno says something else: ERROR_NOT_READY; and from ERROR_REM_NOT_LIST over
# ERROR_BAD_NETPATH to ERROR_HOST_UNREACHABLE those of a network path.
_WINDOWS_ERRORS = {21: errno.ENXIO, **dict.fromkeys((51, 53, 54, 59, 64, 67, 121, 1222, 1231, 1232), errno.ENOTCONN)}
_WAYS_OUT = {
    "the disk is full": "Free some space",
    "it is read-only": "Make it writable",
    "access is denied": "Make it writable",
    "the drive reports an error": "Check the drive",
    "the drive is not connected": "Connect it",
    _UNREACHABLE: "Connect it again",
}
_WAYS_OUT_OF_READING = {**_WAYS_OUT, "access is denied": "Make it readable"}


def of_disk(fault: Exception, what: str = "", instead: str = "", *, reading: bool = False) -> Failure:
    """A fault of the disk, in the artist's words; Blender's, too, which have the system's words in them.

    what     what can't be done and in which folder; what the fault itself names, where that is all there is to say
    instead  another way out than to mend the folder, as in "or choose another one"
    reading  whether a file was to be read rather than written
    """
    number, said = getattr(fault, "errno", None), str(fault).removeprefix("Error: ").strip(" .\n")
    if number is None:
        number = next((known for known in _REASONS if os.strerror(known) in said), 0)
    number = _WINDOWS_ERRORS.get(getattr(fault, "winerror", None) or 0, number)
    reason = _REASONS.get(number) or getattr(fault, "strerror", None) or said
    what = what or f"{getattr(fault, 'filename', None) or 'A file'} can't be written or read"
    ways_out = _WAYS_OUT_OF_READING if reading else _WAYS_OUT
    way_out = " ".join(filter(None, (ways_out.get(reason, "Check the folder"), instead)))
    return Failure("files", f"{what}: {reason}.", f"{way_out}, then retry.")
