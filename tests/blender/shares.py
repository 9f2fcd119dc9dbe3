# SPDX-License-Identifier: GPL-3.0-or-later
"""Inaccessible folders: a disconnected network drive, and missing permissions."""

import ctypes
import os
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_FUSE = "/dev/fuse"
_DETACH = 2
"""MNT_DETACH of umount2(2)."""
_NO_FILE_OVERRIDE = "-dac_override,-dac_read_search"
"""Drops the capabilities with which root bypasses file permissions; see capabilities(7)."""


@contextmanager
def dead_share(path: Path) -> Generator[Path]:
    """Mount a share at `path` whose server is gone, so that each access fails with ENOTCONN; skip the test if not allowed.

    A FUSE file system whose process has closed its device is in the same state as a network drive that has lost its server.
    """
    if not sys.platform.startswith("linux") or not os.access(_FUSE, os.R_OK | os.W_OK):
        pytest.skip("a disconnected share needs FUSE and the right to mount one")
    path.mkdir(parents=True, exist_ok=True)
    system = ctypes.CDLL(None, use_errno=True)
    server = os.open(_FUSE, os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    mounted = system.mount(b"mmaudio", os.fsencode(path), b"fuse", 0, options) == 0
    os.close(server)
    if not mounted:
        pytest.skip(f"a disconnected share needs the right to mount one: {os.strerror(ctypes.get_errno())}")
    try:
        yield path
    finally:
        system.umount2(os.fsencode(path), _DETACH)


@contextmanager
def without_permissions(path: Path) -> Generator[Path]:
    """Remove all permissions of a file or folder for the duration of the block."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield path
    finally:
        path.chmod(mode)


def as_ordinary_user() -> Sequence[str]:
    """Return the start of a command line for a process that file permissions apply to, even if this user is root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root bypasses file permissions, and setpriv, which prevents that, is not installed")
    return ("setpriv", f"--bounding-set={_NO_FILE_OVERRIDE}", f"--inh-caps={_NO_FILE_OVERRIDE}")
