# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs on disk, so that a crash loses nothing. No bpy.

All Blenders of a user share one journal. A job has one owner, the Blender that works on it, until that one has closed or
died; only then can another take it over. Addresses of published clips are kept, since a job goes on with them: the file
is private to its user. A key is never in it.
"""

import enum
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...failure import Failure
from ..model.job import Job, Stage
from .database import Database
from .job_json import UnreadableError, from_bytes, to_bytes

log = logging.getLogger(__name__)

ENDED_MAX = 200
"""Ended jobs that are kept for the list though nothing more can come of them: some weeks of an editor's work."""
RECORD_MAX = 16 * 1024**2
"""Bytes of one job. Eight takes of an hour in windows have less than 1 MB."""

# In the table: under way; ended, but with something paid for that isn't in the edit yet; ended.
_OPEN, _PAID, _OVER = "open", "paid", "over"

_COLUMNS = f"id, project, owner, CASE WHEN length(record) <= {RECORD_MAX} THEN record END"


class Holder(enum.StrEnum):
    """Who has a job: this Blender, another one that lives, or nobody."""

    OURS = "ours"
    OTHER = "other"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Entry:
    """A job as it stands in the journal; where its record can't be read, `job` is None and `fault` says why."""

    id: str
    project: str
    holder: Holder
    job: Job | None
    fault: str = ""


class Journal:
    """May be called from any thread. Each method raises Failure("files") where the disk does not do its part."""

    def __init__(self, file: Database) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._saved: dict[str, Job] = {}
        self._forgotten: set[str] = set()

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Raises nothing; see `note`. The folder is made where it is missing."""
        return cls(Database.open(path))

    @property
    def note(self) -> str:
        """What the artist should know: of a journal that was set aside, or can't be kept; empty as a rule."""
        return self.file.note

    def close(self) -> None:
        """Lets other Blenders have what is still under way here."""
        self.file.close()

    def save(self, job: Job) -> None:
        """Puts the job's state on disk, for good, before it returns; one that differs in its progress alone isn't written.

        The job is this Blender's from then on. Its project is taken from the first state only: a thread may still work
        with the job as it was before `move`. Raises Failure("other_blender") where another one has it.
        """
        kept = replace(job, progress=None)
        with self._lock:
            if job.id in self._forgotten or self._saved.get(job.id) == kept:
                return
            record = to_bytes(kept)
            if len(record) > RECORD_MAX:
                text = f"The job of “{job.request.strip}” is too large to be kept on disk."
                raise Failure("too_large", text, "Cut the strip in two, or ask for fewer takes.")
            with self.file.writing() as table:
                if self._is_others(table, job.id):
                    raise _others(job)
                table.execute(
                    """INSERT INTO jobs (id, project, owner, state, saved, record)
                    VALUES (?, ?, ?, ?, (SELECT coalesce(max(saved), 0) + 1 FROM jobs), ?)
                    ON CONFLICT (id) DO UPDATE
                    SET owner = excluded.owner, state = excluded.state, saved = excluded.saved, record = excluded.record""",
                    (job.id, _as_key(job.project), self.file.owner_id, _state(kept), record),
                )
                if kept.stage.ended:
                    _drop_oldest(table)
            self._saved[job.id] = kept

    def claim(self, project: str) -> list[Job]:
        """Takes over what is under way in a .blend ("" for never saved ones) and belongs to no Blender that lives.

        Of several Blenders that ask at the same moment, one gets a job.
        """
        with self.file.writing() as table:
            query = f"SELECT {_COLUMNS} FROM jobs WHERE project = ? AND state = ? ORDER BY rowid"  # noqa: S608
            entries = self._entries(table.execute(query, (_as_key(project), _OPEN)).fetchall())
            jobs = [entry.job for entry in entries if entry.job and entry.holder is Holder.NOBODY]
            table.executemany("UPDATE jobs SET owner = ? WHERE id = ?", [(self.file.owner_id, job.id) for job in jobs])
        return jobs

    def take(self, job: Job) -> Job:
        """Takes over one job, ended or not, before anything is done with it; returns how it stands by now.

        Raises Failure("other_blender") where another Blender has it.
        """
        with self.file.writing() as table:
            query = f"SELECT {_COLUMNS} FROM jobs WHERE id = ?"  # noqa: S608
            for entry in self._entries(table.execute(query, (job.id,)).fetchall()):
                if entry.holder is Holder.OTHER:
                    raise _others(job)
                table.execute("UPDATE jobs SET owner = ? WHERE id = ?", (self.file.owner_id, job.id))
                if entry.holder is Holder.NOBODY and entry.job:
                    return entry.job
        return job

    def interrupted(self, project: str) -> list[Job]:
        """What `claim` would take over."""
        return self._nobodys("project = ? AND state = ?", _as_key(project), _OPEN)

    def others(self, project: str) -> list[Job]:
        """What is under way in other .blend files and belongs to no Blender that lives: it waits for its file."""
        return self._nobodys("project != ? AND state = ?", _as_key(project), _OPEN)

    def ended(self, project: str) -> list[Job]:
        """What has ended in a .blend and no other Blender that lives shows; `take` it before anything is done with it."""
        entries = self._find("project = ? AND state != ?", _as_key(project), _OPEN)
        return [entry.job for entry in entries if entry.job and entry.holder is not Holder.OTHER]

    def all(self) -> list[Entry]:
        """Every job of every file, oldest first, also those that can't be read."""
        return self._find("true")

    def move(self, job_ids: Iterable[str], project: str) -> None:
        """The .blend of these jobs, which are this Blender's, was saved under another name."""
        rows = [(_as_key(project), job_id, self.file.owner_id) for job_id in job_ids]
        with self.file.writing() as table:
            table.executemany("UPDATE jobs SET project = ? WHERE id = ? AND owner = ?", rows)

    def forget(self, job_id: str) -> bool:
        """Removes a job, for good: what a thread says of it later isn't kept. False where another Blender has it."""
        with self._lock:
            with self.file.writing() as table:
                if self._is_others(table, job_id):
                    return False
                table.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            self._forgotten.add(job_id)
            self._saved.pop(job_id, None)
        return True

    def _nobodys(self, condition: str, *values: object) -> list[Job]:
        return [entry.job for entry in self._find(condition, *values) if entry.job and entry.holder is Holder.NOBODY]

    def _find(self, condition: str, *values: object) -> list[Entry]:
        return self._entries(self.file.rows(f"SELECT {_COLUMNS} FROM jobs WHERE {condition} ORDER BY rowid", values))  # noqa: S608

    def _entries(self, rows: Iterable[Any]) -> list[Entry]:
        rows = list(rows)
        holders = {owner: self._holder(owner) for owner in {row[2] for row in rows}}
        return [_entry(job_id, project, holders[owner], record) for job_id, project, owner, record in rows]

    def _is_others(self, table: Any, job_id: str) -> bool:
        row = table.execute("SELECT owner FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return row is not None and self._holder(row[0]) is Holder.OTHER

    def _holder(self, owner_id: str) -> Holder:
        if owner_id == self.file.owner_id:
            return Holder.OURS
        return Holder.NOBODY if self.file.is_free(owner_id) else Holder.OTHER


def _entry(job_id: str, project: bytes, holder: Holder, record: bytes | None) -> Entry:
    name = ""
    try:
        name = project.decode("utf-8", "surrogatepass")
        if record is None:
            raise UnreadableError("too large")
        return Entry(job_id, name, holder, replace(from_bytes(record, job_id), project=name))
    except (UnreadableError, UnicodeDecodeError) as fault:
        reason = str(fault) if isinstance(fault, UnreadableError) else "the project is no text"
        log.warning("the record of job %s can't be read: %s", job_id, reason)
        return Entry(job_id, name, holder, None, reason)


def _others(job: Job) -> Failure:
    text = f"Another Blender works on the sound of “{job.request.strip}”."
    return Failure("other_blender", text, "Go on there, or close that Blender and retry.")


def _as_key(project: str) -> bytes:
    return project.encode("utf-8", "surrogatepass")


def _state(job: Job) -> str:
    if not job.stage.ended:
        return _OPEN
    return _PAID if job.paid and job.stage is not Stage.DONE else _OVER


def _drop_oldest(table: Any) -> None:
    """Keeps the newest `ENDED_MAX` of what is over, and what can't be read: a newer version may be able to."""
    oldest = "SELECT id FROM jobs WHERE state = ? ORDER BY saved DESC LIMIT -1 OFFSET ?"
    query = f"SELECT {_COLUMNS} FROM jobs WHERE id IN ({oldest})"  # noqa: S608
    for job_id, project, _, record in table.execute(query, (_OVER, ENDED_MAX)).fetchall():
        if _entry(job_id, project, Holder.NOBODY, record).job:
            table.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
