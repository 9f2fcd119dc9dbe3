# SPDX-License-Identifier: GPL-3.0-or-later
"""Journal: the jobs on disk, so that a crash loses nothing. No bpy.

All Blenders of a user share one journal. A job has one owner, the Blender that works on it, until that is closed or crashes;
only then can another one claim it. URLs of uploads are kept, since a job continues with them.
"""

import enum
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...failure import Failure, TooLarge
from ..model.job import Job
from ..model.run import Stage
from .database import Database
from .job_json import UnreadableError, from_bytes, to_bytes

log = logging.getLogger(__name__)

ENDED_MAX = 200
"""Number of ended jobs that are kept for the list: some weeks of an editor's work."""
RECORD_MAX = 16 * 1024**2
"""Bytes of one job. Eight takes of an hour, split into windows, need less than 1 MB."""

# States in the table: under way; ended, but with something paid for that isn't in the edit yet; ended.
_OPEN, _PAID, _ENDED = "open", "paid", "ended"

_COLUMNS = f"id, project, owner, CASE WHEN length(record) <= {RECORD_MAX} THEN record END"


class OwnedByOtherBlender(Failure):
    code = "other_blender"
    default_hint = "Continue there, or close that Blender and retry."

    def __init__(self, job: Job) -> None:
        super().__init__(f"Another Blender is generating the sound of “{job.request.strip}”.")


class Holder(enum.StrEnum):
    """Who works on a job: this Blender, another one that is alive, or nobody."""

    OURS = "ours"
    OTHER = "other"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Entry:
    """A job as it is in the journal."""

    id: str
    project: str
    holder: Holder
    job: Job | None
    """None if the record can't be read."""
    fault: str = ""
    """Why the record can't be read."""


class Journal:
    """Methods may be called from any thread, and raise DiskFailure if the database can't be read or written."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.Lock()
        self._saved: dict[str, Job] = {}
        self._forgotten: set[str] = set()

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Open the journal; see `Database.open`."""
        return cls(Database.open(path))

    @property
    def note(self) -> str:
        """For the artist: that a journal was set aside, or can't be kept; empty as a rule."""
        return self.database.note

    def close(self) -> None:
        """Close the journal, so that other Blenders can claim what is still under way."""
        self.database.close()

    def save(self, job: Job) -> None:
        """Write the job durably, unless it differs from the last saved version in its progress only.

        From then on this Blender owns the job. The project is set by the first version and by `move`. Raises
        OwnedByOtherBlender if another one has it, TooLarge.
        """
        kept = replace(job, progress=None)
        with self._lock:
            if job.id in self._forgotten or self._saved.get(job.id) == kept:
                return
            record = to_bytes(kept)
            if len(record) > RECORD_MAX:
                text = f"The job of “{job.request.strip}” is too large to be saved."
                raise TooLarge(text, "Cut the strip in two, or generate fewer takes.")
            with self.database.writing() as table:
                if self._is_others(table, job.id):
                    raise OwnedByOtherBlender(job)
                table.execute(
                    """INSERT INTO jobs (id, project, owner, state, saved, record)
                    VALUES (?, ?, ?, ?, (SELECT coalesce(max(saved), 0) + 1 FROM jobs), ?)
                    ON CONFLICT (id) DO UPDATE
                    SET owner = excluded.owner, state = excluded.state, saved = excluded.saved, record = excluded.record""",
                    (job.id, _as_key(job.project), self.database.owner_id, _state(kept), record),
                )
                if kept.stage.ended:
                    _drop_oldest(table)
            self._saved[job.id] = kept

    def claim(self, project: str) -> list[Job]:
        """Take over the jobs that are under way in a .blend, "" for unsaved ones, and have no Blender that is alive.

        Of several Blenders that call this at the same moment, one gets a job.
        """
        with self.database.writing() as table:
            query = f"SELECT {_COLUMNS} FROM jobs WHERE project = ? AND state = ? ORDER BY rowid"  # noqa: S608
            entries = self._entries(table.execute(query, (_as_key(project), _OPEN)).fetchall())
            jobs = [entry.job for entry in entries if entry.job and entry.holder is Holder.NOBODY]
            table.executemany("UPDATE jobs SET owner = ? WHERE id = ?", [(self.database.owner_id, job.id) for job in jobs])
        return jobs

    def claim_job(self, job: Job) -> Job:
        """Take over one job, ended or not, and return it as it is by now. Raises OwnedByOtherBlender."""
        with self.database.writing() as table:
            query = f"SELECT {_COLUMNS} FROM jobs WHERE id = ?"  # noqa: S608
            for entry in self._entries(table.execute(query, (job.id,)).fetchall()):
                if entry.holder is Holder.OTHER:
                    raise OwnedByOtherBlender(job)
                table.execute("UPDATE jobs SET owner = ? WHERE id = ?", (self.database.owner_id, job.id))
                if entry.holder is Holder.NOBODY and entry.job:
                    return entry.job
        return job

    def interrupted(self, project: str) -> list[Job]:
        """Return the jobs that `claim` would take over."""
        return self._nobodys("project = ? AND state = ?", _as_key(project), _OPEN)

    def others(self, project: str) -> list[Job]:
        """Return the jobs that are under way in other .blend files, and wait for these to be opened."""
        return self._nobodys("project != ? AND state = ?", _as_key(project), _OPEN)

    def ended(self, project: str) -> list[Job]:
        """Return the jobs that have ended in a .blend and no other Blender lists. Call `claim_job` before changing one."""
        entries = self._find("project = ? AND state != ?", _as_key(project), _OPEN)
        return [entry.job for entry in entries if entry.job and entry.holder is not Holder.OTHER]

    def all(self) -> list[Entry]:
        """Return all jobs of all files, oldest first, including those that can't be read."""
        return self._find("true")

    def move(self, job_ids: Iterable[str], project: str) -> None:
        """Note that the .blend of these jobs, which this Blender owns, was saved under another name."""
        rows = [(_as_key(project), job_id, self.database.owner_id) for job_id in job_ids]
        with self.database.writing() as table:
            table.executemany("UPDATE jobs SET project = ? WHERE id = ? AND owner = ?", rows)

    def forget(self, job_id: str) -> bool:
        """Remove a job permanently: later calls of `save` have no effect. Return False if another Blender has it."""
        with self._lock:
            with self.database.writing() as table:
                if self._is_others(table, job_id):
                    return False
                table.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            self._forgotten.add(job_id)
            self._saved.pop(job_id, None)
        return True

    def _nobodys(self, condition: str, *values: object) -> list[Job]:
        return [entry.job for entry in self._find(condition, *values) if entry.job and entry.holder is Holder.NOBODY]

    def _find(self, condition: str, *values: object) -> list[Entry]:
        return self._entries(self.database.rows(f"SELECT {_COLUMNS} FROM jobs WHERE {condition} ORDER BY rowid", values))  # noqa: S608

    def _entries(self, rows: Iterable[Any]) -> list[Entry]:
        rows = list(rows)
        holders = {owner: self._holder(owner) for owner in {row[2] for row in rows}}
        return [_entry(job_id, project, holders[owner], record) for job_id, project, owner, record in rows]

    def _is_others(self, table: Any, job_id: str) -> bool:
        row = table.execute("SELECT owner FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return row is not None and self._holder(row[0]) is Holder.OTHER

    def _holder(self, owner_id: str) -> Holder:
        if owner_id == self.database.owner_id:
            return Holder.OURS
        return Holder.NOBODY if self.database.is_free(owner_id) else Holder.OTHER


def _entry(job_id: str, project: bytes, holder: Holder, record: bytes | None) -> Entry:
    name = ""
    try:
        name = project.decode("utf-8", "surrogatepass")
        if record is None:
            raise UnreadableError("too large")
        return Entry(job_id, name, holder, replace(from_bytes(record, job_id), project=name))
    except (UnreadableError, UnicodeDecodeError) as fault:
        reason = str(fault) if isinstance(fault, UnreadableError) else "the project is not text"
        log.warning("the record of job %s can't be read: %s", job_id, reason)
        return Entry(job_id, name, holder, None, reason)


def _as_key(project: str) -> bytes:
    return project.encode("utf-8", "surrogatepass")


def _state(job: Job) -> str:
    if not job.stage.ended:
        return _OPEN
    return _PAID if job.paid and job.stage is not Stage.DONE else _ENDED


def _drop_oldest(table: Any) -> None:
    """Delete all but the newest `ENDED_MAX` of the ended jobs. Unreadable ones stay, for a newer version."""
    oldest = "SELECT id FROM jobs WHERE state = ? ORDER BY saved DESC LIMIT -1 OFFSET ?"
    query = f"SELECT {_COLUMNS} FROM jobs WHERE id IN ({oldest})"  # noqa: S608
    for job_id, project, _, record in table.execute(query, (_ENDED, ENDED_MAX)).fetchall():
        if _entry(job_id, project, Holder.NOBODY, record).job:
            table.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
