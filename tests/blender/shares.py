# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that can't be reached: a network drive that is gone, and what belongs to another user."""

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
_SEEING_ALL = "-dac_override,-dac_read_search"


@contextmanager
def dead_share(path: Path) -> Generator[Path]:
    """A mount at `path` whose server is gone, so that every access ends in ENOTCONN; the test is skipped without the rights.

    A file system in user space whose process has closed its end is in the state of a network drive that has lost its server.
    """
    if not sys.platform.startswith("linux") or not os.access(_FUSE, os.R_OK | os.W_OK):
        pytest.skip("a share that is gone needs FUSE and the right to mount one")
    path.mkdir(parents=True, exist_ok=True)
    system = ctypes.CDLL(None, use_errno=True)
    server = os.open(_FUSE, os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    mounted = system.mount(b"mmaudio", os.fsencode(path), b"fuse", 0, options) == 0
    os.close(server)
    if not mounted:
        pytest.skip(f"a share that is gone needs the right to mount one: {os.strerror(ctypes.get_errno())}")
    try:
        yield path
    finally:
        system.umount2(os.fsencode(path), _DETACH)


@contextmanager
def closed(path: Path) -> Generator[Path]:
    """Takes all rights to a folder away."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield path
    finally:
        path.chmod(mode)


def as_ordinary_user() -> Sequence[str]:
    """What starts a process that rights of files hold for: as root, one that may not pass over them."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv to take that right away")
    return ("setpriv", f"--bounding-set={_SEEING_ALL}", f"--inh-caps={_SEEING_ALL}")
