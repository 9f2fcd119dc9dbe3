# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a folder takes what is to be written to it, found out before anything is paid for. No bpy."""

import errno
import shutil
import stat
import tempfile
from fractions import Fraction
from pathlib import Path

from ..failure import Failure, of_disk

# What a second takes of the widest sound that the model's results may have: 16 bits, stereo, 48 kHz.
_BYTES_A_SECOND = 2 * 2 * 48_000
# A clip and a background Blender's words have more.
_FULL_BYTES = 1024**2
_INSTEAD = "or choose another folder for Results in the preferences"


def check_results(folder: Path, seconds: Fraction) -> None:
    """Raises Failure where a sound of that length can't be written to `folder`, or Blender could not play it from there."""
    if not _is_unicode(folder):
        what = f"{_what(folder)}: Blender plays none from a folder whose name is not in UTF-8."
        raise Failure("files", what, "Give it another name, or choose another folder for Results in the preferences.")
    check(folder, _what(folder), _INSTEAD, round(seconds * _BYTES_A_SECOND))


def check(folder: Path, what: str, instead: str = "", size: int = 0) -> None:
    """Raises Failure, which says `what` can't be done, where `size` bytes can't be written to `folder`, or it can't be made.

    Leaves nothing behind.
    """
    try:
        there = next((path for path in (folder, *folder.parents) if _exists(path)), None)
        if there is None:
            # Such as a drive that isn't connected.
            raise FileNotFoundError(errno.ENOENT, "")
        with tempfile.TemporaryFile(dir=there):
            pass
        disk = shutil.disk_usage(there)
        # What is no disk, such as a cloud's folder, may tell of no size at all.
        if disk.total and disk.free < size:
            raise OSError(errno.ENOSPC, "")
    except (OSError, ValueError) as fault:
        raise of_disk(fault, what, instead) from fault


def is_folder(path: Path, what: str) -> bool:
    """Whether there is a folder of that name. Raises Failure, which says `what` can't be done, where that can't be told."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as fault:
        raise of_disk(fault, what) from fault


def _exists(path: Path) -> bool:
    """Whether there is anything of that name. Raises OSError where that can't be told, as on a drive that is gone."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_unicode(folder: Path) -> bool:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_full(folder: Path) -> bool:
    """Whether there is so little room that what has just failed there will have failed for that."""
    return shutil.disk_usage(folder).free < _FULL_BYTES


def unwritable(folder: Path, fault: OSError) -> Failure:
    """Of finished sounds."""
    return of_disk(fault, _what(folder), _INSTEAD)


def _what(folder: Path) -> str:
    return f"Sounds can't be written to {folder}"
