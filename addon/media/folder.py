# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that a folder can be written to, made before anything is paid for. No bpy."""

import errno
import shutil
import stat
import tempfile
from fractions import Fraction
from pathlib import Path

from ..failure import DiskFailure, disk_failure

_BYTES_PER_SECOND = 2 * 2 * 48_000
"""Size of the largest sound that the model may return: 16 bits, stereo, 48 kHz."""
_FULL_BYTES = 1024**2
"""A disk with less free space counts as full. A clip and the background Blender's log are larger."""
_INSTEAD = "or choose another Results Folder in the preferences"


def check_results(folder: Path, seconds: Fraction) -> None:
    """Raise Failure if a sound of that length can't be written to `folder`, or if Blender could not play it from there."""
    if not _is_unicode(folder):
        what = f"{_what(folder)}: Blender can't play files from a folder whose name is not in UTF-8."
        raise DiskFailure(what, "Give it another name, or choose another Results Folder in the preferences.")
    check(folder, _what(folder), _INSTEAD, round(seconds * _BYTES_PER_SECOND))


def check(folder: Path, what: str, instead: str = "", size: int = 0) -> None:
    """Raise Failure if `size` bytes can't be written to `folder`, which need not exist yet. Leave no file behind.

    The message of the Failure starts with `what`, its hint may offer `instead`.
    """
    try:
        existing = next((path for path in (folder, *folder.parents) if _exists(path)), None)
        if existing is None:
            # For example, a drive that isn't connected.
            raise FileNotFoundError(errno.ENOENT, "")
        with tempfile.TemporaryFile(dir=existing):
            pass
        disk = shutil.disk_usage(existing)
        # File systems without a disk, such as a mounted cloud storage, may report a total size of 0.
        if disk.total and disk.free < size:
            raise OSError(errno.ENOSPC, "")
    except (OSError, ValueError) as fault:
        raise disk_failure(fault, what, instead) from fault


def is_folder(path: Path, what: str) -> bool:
    """Return whether the folder exists. Raise Failure, whose message starts with `what`, if that can't be determined."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as fault:
        raise disk_failure(fault, what) from fault


def _exists(path: Path) -> bool:
    """Return whether the path exists. Raise OSError if that can't be determined, as on a drive that is disconnected."""
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
    """Return whether the disk has so little free space that this explains a write that has just failed there."""
    return shutil.disk_usage(folder).free < _FULL_BYTES


def unwritable(folder: Path, fault: OSError) -> DiskFailure:
    """Return the Failure for a finished sound that can't be written to `folder`."""
    return disk_failure(fault, _what(folder), _INSTEAD)


def _what(folder: Path) -> str:
    return f"Sounds can't be written to {folder}"
