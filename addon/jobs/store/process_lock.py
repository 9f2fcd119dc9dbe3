# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Blenders live: each holds a lock on a file of its own for as long as its process does. No bpy.

The lock is the one that SQLite takes for an exclusive transaction on an empty file. The system gives it up when the
process ends, however it ends; a child process doesn't inherit it; no clock and no process number is asked. Nothing but
SQLite may open these files: on POSIX systems, closing a file that was opened otherwise would give up its lock.
"""

import re
import sqlite3
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{32}")
_OPENING_LOCK = "door"
_OPENING_SECONDS = 10.0


class Locked(Exception):
    """Another process holds the lock."""


class ProcessLock:
    """This Blender, alive until `close` or the end of its process. Raises OSError, sqlite3.Error."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where all Blenders of this user have their files; make it, and come, through the `door`."""
        self.id = new_id()
        self._file = folder / self.id
        self._lock = _locked(self._file, seconds=0.0)

    def close(self) -> None:
        self._lock.close()
        with suppress(OSError):
            self._file.unlink()


def new_id() -> str:
    return uuid.uuid4().hex


def is_alive(folder: Path, owner_id: str) -> bool:
    """Whether the owner's process lives; where that can't be found out, it is taken to."""
    file = folder / owner_id
    # The id may come from a damaged record: it must not lead out of the folder.
    if not _ID.fullmatch(owner_id) or not file.is_file():
        return False
    try:
        connection = sqlite3.connect(file, timeout=0.0, isolation_level=None)
        try:
            # A shared lock, so that several who look at the same time don't take one another for the owner.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as fault:
        return sqlite_code(fault) != sqlite3.SQLITE_NOTADB
    return False


@contextmanager
def opening_lock(folder: Path) -> Generator[None]:
    """Lets one process in at a time: to open the journal, to set it aside, to become an owner. Raises Occupied."""
    lock = _locked(folder / _OPENING_LOCK, seconds=_OPENING_SECONDS)
    try:
        yield
    finally:
        lock.close()


def live_process_ids(folder: Path) -> list[str]:
    """Those that live. What dead ones have left is removed, for which one has to be at the `door`."""
    ids = [file.name for file in folder.iterdir() if _ID.fullmatch(file.name)]
    alive = [owner_id for owner_id in ids if is_alive(folder, owner_id)]
    for owner_id in set(ids).difference(alive):
        with suppress(OSError):
            (folder / owner_id).unlink()
    return alive


def sqlite_code(fault: sqlite3.Error) -> int:
    """SQLite's primary code, or 0 where the fault is of Python's making."""
    return int(getattr(fault, "sqlite_errorcode", 0)) & 0xFF


def _locked(file: Path, *, seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=seconds, isolation_level=None, check_same_thread=False)
    try:
        # Nothing is ever written, so nothing is to lie beside the file.
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as fault:
        connection.close()
        if sqlite_code(fault) == sqlite3.SQLITE_BUSY:
            raise Locked from fault
        raise
    return connection
