# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that tests start, and that others start for them."""

import os


def is_alive(process: int) -> bool:
    """Return whether a process with this id exists; on POSIX only."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
