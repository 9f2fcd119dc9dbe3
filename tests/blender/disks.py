# SPDX-License-Identifier: GPL-3.0-or-later
"""Small disks of their own, in memory, that a test fills up or makes read-only."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

from . import edits

_KIB = 1024


class Disk:
    """One that is mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, *, but: int = 0) -> None:
        """Leaves no more than `but` bytes of room."""
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4 * _KIB))
        if but:
            os.truncate(self._filler, self._filler.stat().st_size - but)

    def empty(self) -> None:
        self._filler.unlink()

    def lock(self) -> None:
        """Makes it read-only, once nothing is open for writing any more."""
        edits.until(self._locked)

    def _locked(self) -> bool:
        try:
            _mount("-o", "remount,ro", str(self.path))
        except subprocess.CalledProcessError:
            return False
        return True

    def unlock(self) -> None:
        _mount("-o", "remount,rw", str(self.path))

    def files(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if path.is_file() and path != self._filler]


@contextmanager
def disk(path: Path, *, mib: int = 4) -> Generator[Disk]:
    """A disk in the place of a folder; the test is skipped where this user may not mount one."""
    if not _may_mount():
        pytest.skip("a disk that fills up needs the right to mount one")
    path.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={mib}m", "mmaudio", str(path))
    try:
        yield Disk(path)
    finally:
        # Blender may still have its files open.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@cache
def _may_mount() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            _mount("-t", "tmpfs", "-o", "size=1m", "mmaudio", folder)
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, stderr=subprocess.PIPE)
