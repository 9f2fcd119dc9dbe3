# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQLite database of the journal, shared by all Blenders of one user on one machine. No bpy.

The file is private: it contains the URLs of uploads, and anyone who has one can read the clip until the storage deletes it.
It never contains a key.
"""

import itertools
import logging
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...failure import DiskFailure
from .process_lock import Locked, ProcessLock, is_alive, live_process_ids, new_id, opening_lock, sqlite_code

log = logging.getLogger(__name__)

VERSION = 4
"""Version of the tables and of the records in them, kept in the file as `PRAGMA user_version`."""

# Names of strips and files are BLOBs: SQLite's TEXT takes no surrogates.
_TABLES = (
    """CREATE TABLE jobs (id TEXT PRIMARY KEY, project BLOB NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL,
    saved INTEGER NOT NULL, record BLOB NOT NULL) STRICT""",
)
_HEAD = b"SQLite format 3\0"
_PARTS = ("-wal", "-shm", "-journal", "")

# Other processes write for milliseconds. The main thread may have to wait for this long at most.
_BUSY_SECONDS = 5.0

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_BUSY: "it is locked by another Blender",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is damaged",
}


class _InUseError(Exception):
    """The file can't be read here, but another Blender uses it."""


@dataclass(frozen=True)
class _Fault:
    """Why an existing file can't be the database."""

    what: str


class Database:
    """One connection for all threads."""

    def __init__(self, connection: sqlite3.Connection, folder: Path, owner: ProcessLock | None, note: str) -> None:
        self.note = note
        """For the artist, on how it was opened; empty as a rule."""
        self.owner_id = owner.id if owner else new_id()
        self._owner = owner
        self._folder = folder
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> "Database":
        """Open the database. Raises nothing: an unreadable file is set aside, and as a last resort it is in memory."""
        try:
            return cls._open(path)
        except Locked:
            reason = "another Blender is opening it"
        except _InUseError as fault:
            reason = f"{fault}, and another Blender uses it"
        except OSError as fault:
            reason = fault.strerror or str(fault)
        except sqlite3.Error as fault:
            reason = _reason(fault)
        log.warning("the journal at %s is not used: %s", path, reason)
        note = (
            f"The list of jobs can't be kept on disk: {reason} ({path}). Everything works, but active jobs are lost when "
            "Blender crashes. Check the free space and the folder's permissions, then restart Blender."
        )
        connection = _connected(Path(":memory:"))
        _fill(connection)
        return cls(connection, path.parent, None, note)

    @classmethod
    def _open(cls, path: Path) -> "Database":
        owners = path.with_suffix(".owners")
        owners.mkdir(mode=0o700, parents=True, exist_ok=True)
        with opening_lock(owners):
            alive = live_process_ids(owners)
            note = ""
            if fault := _fault_of(path, in_use=bool(alive)):
                if alive:
                    raise _InUseError(fault.what)
                aside = _set_aside(path)
                note = (
                    f"The list of jobs could not be read: {fault.what}. It is kept as {aside}, and a new one was created; "
                    "its unfinished jobs can't be resumed."
                )
                log.warning("%s", note)
            owner = ProcessLock(owners)
            try:
                return cls(_prepared(path), owners, owner, note)
            except BaseException:
                owner.close()
                raise

    @property
    def on_disk(self) -> bool:
        return self._owner is not None

    def close(self) -> None:
        """Close the database, so that other Blenders can claim this one's jobs."""
        with self._lock:
            self._connection.close()
        if self._owner:
            self._owner.close()

    def is_free(self, owner_id: str) -> bool:
        """Return whether the owner is neither this Blender nor another one that is alive."""
        return owner_id != self.owner_id and not (self.on_disk and is_alive(self._folder, owner_id))

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Run a transaction, which any exception rolls back, and which survives a power cut. Raises DiskFailure."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as fault:
                raise self._failure(fault) from fault

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Return the rows of a query. Raises DiskFailure."""
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as fault:
                raise self._failure(fault) from fault

    def _failure(self, fault: sqlite3.Error) -> DiskFailure:
        hint = "Free some space, or check the folder's permissions, then retry."
        if sqlite_code(fault) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            hint = "Restart Blender: the list is then renamed and a new one created."
        text = f"The list of jobs in {self._folder.parent} could not be written or read: {_reason(fault)}."
        return DiskFailure(text, hint)


def _reason(fault: sqlite3.Error) -> str:
    return _REASONS.get(sqlite_code(fault), str(fault).rstrip("."))


def _fault_of(path: Path, *, in_use: bool) -> _Fault | None:
    """Return what is wrong with the file, if it exists. Raises OSError, sqlite3.Error for anything that isn't its fault."""
    if not os.path.lexists(path):
        return None
    if path.is_dir():
        return _Fault("it is a folder")
    # Read without SQLite only while nobody uses the file: closing it would release SQLite's locks on it.
    if not in_use and not _has_head(path):
        return _Fault("it is damaged")
    try:
        with closing(_connected(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}
            if version > VERSION:
                return _Fault("it was written by a newer version of MMAudio for the Sequencer")
            if (version or tables) and (version, tables) != (VERSION, set(_TABLES)):
                return _Fault("it belongs to another program")
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                return _Fault("it is damaged")
    except sqlite3.DatabaseError as fault:
        if sqlite_code(fault) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return _Fault("it is damaged")
        raise
    return None


def _has_head(path: Path) -> bool:
    """Return whether SQLite would accept the file. It would delete the log of any other, or of one that is truncated."""
    log_file = Path(f"{path}-wal")
    with path.open("rb") as file:
        head = file.read(len(_HEAD))
    return head == _HEAD or (not head and not (log_file.is_file() and log_file.stat().st_size))


def _set_aside(path: Path) -> Path:
    """Rename the file with all its parts to a free name. The file itself comes last, or its parts would join a new one."""
    names = (path.with_name(f"{path.stem}-set-aside-{number}{path.suffix}") for number in itertools.count(1))
    aside = next(name for name in names if not any(os.path.lexists(f"{name}{part}") for part in _PARTS))
    for part in _PARTS:
        if os.path.lexists(f"{path}{part}"):
            Path(f"{path}{part}").rename(f"{aside}{part}")
    return aside


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepared(path: Path) -> sqlite3.Connection:
    """Open the database file for private use; SQLite's own files beside it inherit its permissions."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for part in _PARTS:
        # Some file systems have no permissions.
        with suppress(OSError):
            Path(f"{path}{part}").chmod(0o600)
    connection = _connected(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # On macOS, only this flushes the cache of the disk.
        connection.execute("PRAGMA fullfsync=ON")
        _fill(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _fill(connection: sqlite3.Connection) -> None:
    """Create the tables in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")
