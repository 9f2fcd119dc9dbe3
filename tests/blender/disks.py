# SPDX-License-Identifier: GPL-3.0-or-later
"""Small disks in memory, which tests fill up or make read-only."""

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
    """Disk mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, *, leave: int = 0) -> None:
        """Fill the disk, leaving at most `leave` bytes free."""
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4 * _KIB))
        if leave:
            os.truncate(self._filler, self._filler.stat().st_size - leave)

    def empty(self) -> None:
        self._filler.unlink()

    def make_read_only(self) -> None:
        """Remount the disk read-only, as soon as no file on it is open for writing."""
        edits.until(self._remounted_read_only)

    def _remounted_read_only(self) -> bool:
        try:
            _mount("-o", "remount,ro", str(self.path))
        except subprocess.CalledProcessError:
            return False
        return True

    def make_writable(self) -> None:
        _mount("-o", "remount,rw", str(self.path))

    def files(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if path.is_file() and path != self._filler]


@contextmanager
def disk(path: Path, *, mib: int = 4) -> Generator[Disk]:
    """Mount a disk over a folder; skip the test if this user may not mount one."""
    if not _may_mount():
        pytest.skip("filling a disk needs the right to mount one")
    path.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={mib}m", "mmaudio", str(path))
    try:
        yield Disk(path)
    finally:
        # Lazily, since Blender may still have files open.
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
