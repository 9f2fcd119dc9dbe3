# SPDX-License-Identifier: GPL-3.0-or-later
"""Process locks: tell which Blenders are alive. Each holds a lock on a file of its own until its process ends. No bpy.

The lock is that of an exclusive SQLite transaction on an empty file. The system releases it when the process ends, however
it ends; child processes don't inherit it; neither a clock nor a process id is needed. Nothing but SQLite may open these
files: on POSIX systems, closing a file that was opened otherwise would release its lock.
"""

import re
import sqlite3
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_ID = re.compile(r"[0-9a-f]{32}")
_OPENING_LOCK = "opening"
_OPENING_SECONDS = 10.0


class Locked(Exception):
    """Another process holds the lock."""


class ProcessLock:
    """The lock of this Blender, held until `close` or the end of its process. Raises OSError, sqlite3.Error."""

    def __init__(self, folder: Path) -> None:
        """`folder` has the lock files of all Blenders of this user. It must exist, and the `opening_lock` must be held."""
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
    """Return whether the process that holds the lock is alive; True if that can't be determined."""
    file = folder / owner_id
    # The id may come from a damaged record, so it must not lead out of the folder.
    if not _ID.fullmatch(owner_id) or not file.is_file():
        return False
    try:
        connection = sqlite3.connect(file, timeout=0.0, isolation_level=None)
        try:
            # A shared lock, so that several processes that check at the same time don't see one another as the owner.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as fault:
        return sqlite_code(fault) != sqlite3.SQLITE_NOTADB
    return False


@contextmanager
def opening_lock(folder: Path) -> Generator[None]:
    """Hold the lock that a process needs to open or replace the database, or to take a process lock. Raises Locked."""
    lock = _locked(folder / _OPENING_LOCK, seconds=_OPENING_SECONDS)
    try:
        yield
    finally:
        lock.close()


def live_process_ids(folder: Path) -> list[str]:
    """Return the ids of live processes and remove the files of ended ones. The `opening_lock` must be held."""
    ids = [file.name for file in folder.iterdir() if _ID.fullmatch(file.name)]
    alive = [owner_id for owner_id in ids if is_alive(folder, owner_id)]
    for owner_id in set(ids).difference(alive):
        with suppress(OSError):
            (folder / owner_id).unlink()
    return alive


def sqlite_code(fault: sqlite3.Error) -> int:
    """Return SQLite's primary result code, or 0 for an error of Python's sqlite3 module."""
    return int(getattr(fault, "sqlite_errorcode", 0)) & 0xFF


def _locked(file: Path, *, seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=seconds, isolation_level=None, check_same_thread=False)
    try:
        # Nothing is ever written, so no journal file is needed beside it.
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as fault:
        connection.close()
        if sqlite_code(fault) == sqlite3.SQLITE_BUSY:
            raise Locked from fault
        raise
    return connection
