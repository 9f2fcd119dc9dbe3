# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of jobs on disk: what is saved, and which Blender owns a job."""

import json
import os
import signal
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure
from addon.jobs.model.job import Job
from addon.jobs.model.run import JobError, Progress, Stage
from addon.jobs.store.job_json import to_bytes
from addon.jobs.store.journal import ENDED_MAX, RECORD_MAX, Holder
from addon.jobs.store.process_lock import ProcessLock, is_alive
from addon.service.storage import Published

from .blenders import POSIX, Blenders, as_message, with_prediction
from .helpers import new_job

pytestmark = pytest.mark.oldest


@pytest.fixture
def blenders(tmp_path: Path) -> Iterator[Blenders]:
    with closing(Blenders(tmp_path / "extension" / "jobs.sqlite")) as blenders:
        yield blenders


# Saved jobs


def test_fields_of_a_later_release_are_ignored(blenders: Blenders, tmp_path: Path) -> None:
    job = with_prediction(new_job(tmp_path))
    blenders.leave(job)

    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{name: grown(inner) for name, inner in value.items()}, "added": {"later": [1]}}
        return [grown(inner) for inner in value] if isinstance(value, list) else value

    write_record(blenders.path, job.id, json.dumps(grown(json.loads(to_bytes(job)))).encode())
    assert blenders.open().claim("") == [job]


def write_record(path: Path, job_id: str, record: bytes | str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE jobs SET record = CAST(? AS BLOB) WHERE id = ?", (record, job_id))


SECRET = "https://cdn.example/uploads/secret.mp4"
UNREADABLE: dict[str, Callable[[Job], bytes]] = {
    "nothing": lambda _: b"",
    "no text": lambda _: b"\xff\xfe\x00",
    "no JSON": lambda _: b'{"request": ',
    "a list": lambda _: b"[]",
    "ten thousand levels": lambda _: b"[" * 10_000 + b"]" * 10_000,
    "a number of a million digits": lambda job: to_bytes(job).replace(b'"seed": 7', b'"seed": ' + b"7" * 10**6),
    "a word for a number": lambda job: to_bytes(job).replace(b'"seed": 7', f'"seed": "{SECRET}"'.encode()),
    "a division by zero": lambda job: to_bytes(job).replace(b'"fps": "24"', b'"fps": "1/0"'),
    "an unknown stage": lambda job: to_bytes(job).replace(b'"queued"', f'"{SECRET}"'.encode()),
    "another job": lambda job: to_bytes(replace(job, id="0" * 32)),
    "a path for an id": lambda job: to_bytes(replace(job, id="../../work")),
    "too large": lambda _: b" " * (RECORD_MAX + 1),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_record_stays_is_logged_and_hides_no_other(
    name: str, blenders: Blenders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, bad, after = (replace(new_job(tmp_path, strip), project="/a.blend") for strip in ("1", "2", "3"))
    blenders.leave(before, bad, after)
    record = UNREADABLE[name](bad)
    assert record != to_bytes(bad)
    write_record(blenders.path, bad.id, record)
    journal = blenders.open()
    assert journal.note == ""
    assert journal.claim("/a.blend") == [before, after]
    entry = journal.all()[1]
    assert (entry.id, entry.project, entry.job) == (bad.id, "/a.blend", None)
    assert entry.fault
    assert SECRET not in entry.fault + caplog.text
    with closing(sqlite3.connect(blenders.path)) as connection:
        assert connection.execute("SELECT record FROM jobs WHERE id = ?", (bad.id,)).fetchone()[0] == record


@pytest.mark.parametrize("job_id", ["../../work", "A" * 32, "0" * 31])
def test_an_invalid_id_is_unreadable_even_if_the_table_has_it_too(job_id: str, blenders: Blenders, tmp_path: Path) -> None:
    job = new_job(tmp_path)
    blenders.leave(job)
    with closing(sqlite3.connect(blenders.path)) as connection, connection:
        record = to_bytes(replace(job, id=job_id))
        connection.execute("UPDATE jobs SET id = ?, record = ? WHERE id = ?", (job_id, record, job.id))
    assert blenders.open().claim("") == []


def test_ended_jobs_are_limited_in_number_but_open_paid_and_unreadable_ones_are_not(
    blenders: Blenders, tmp_path: Path
) -> None:
    first, unreadable, running, failed, cancelled, refused = (new_job(tmp_path, str(number)) for number in range(6))
    error = JobError("network", "It failed.", "")
    kept = [
        unreadable,
        with_prediction(running),
        replace(with_prediction(failed), stage=Stage.FAILED, error=error),
        replace(cancelled, stage=Stage.CANCELLED).with_take(0, file=tmp_path / "sound.wav"),
    ]
    over = [replace(first, stage=Stage.DONE), replace(refused, stage=Stage.FAILED, error=error)]
    blenders.leave(*over, *kept, replace(unreadable, stage=Stage.DONE))
    write_record(blenders.path, unreadable.id, b"{")
    journal = blenders.open()
    later = [replace(new_job(tmp_path, f"later {number}"), stage=Stage.DONE) for number in range(ENDED_MAX)]
    for job in later:
        journal.save(job)
    # The unreadable job counts as an ended one when old jobs are deleted, but stays.
    assert [entry.id for entry in journal.all()] == [job.id for job in (*kept, *later)]


def test_progress_alone_is_not_written(blenders: Blenders, tmp_path: Path) -> None:
    journal, job = blenders.open(), new_job(tmp_path)

    def size() -> int:
        return blenders.path.with_name("jobs.sqlite-wal").stat().st_size

    journal.save(job)
    before = size()
    for frame in range(100):
        journal.save(replace(job, progress=Progress(frame, 100, "frames")))
    assert size() == before
    journal.save(with_prediction(job))
    assert size() > before


@POSIX
def test_the_file_is_its_users_alone(blenders: Blenders, tmp_path: Path) -> None:
    path = blenders.path
    path.parent.mkdir()
    before = os.umask(0)
    try:
        blenders.open().save(replace(new_job(tmp_path), clips=(Published("id", SECRET),)))
    finally:
        os.umask(before)
    parts = [path.with_name(path.name + part) for part in ("", "-wal", "-shm")]
    assert [stat.filemode(part.stat().st_mode) for part in parts] == ["-rw-------"] * 3
    assert stat.filemode(path.with_suffix(".owners").stat().st_mode) == "drwx------"
    for part in parts:
        part.chmod(0o644)
    blenders.open()
    assert [stat.filemode(part.stat().st_mode) for part in parts] == ["-rw-------"] * 3


def test_a_power_cut_loses_nothing(blenders: Blenders, tmp_path: Path) -> None:
    journal = blenders.open()
    journal.save(new_job(tmp_path))
    full = 2
    assert (journal.database.rows("PRAGMA journal_mode"), journal.database.rows("PRAGMA synchronous")) == (
        [("wal",)],
        [(full,)],
    )


# Owners


def test_a_job_belongs_to_its_blender_until_that_closes(blenders: Blenders, tmp_path: Path) -> None:
    first, second, job = blenders.open(), blenders.open(), replace(new_job(tmp_path), project="/a.blend")
    first.save(job)
    assert (second.claim("/a.blend"), second.others(""), second.forget(job.id)) == ([], [], False)
    with pytest.raises(Failure, match="Another Blender"):
        second.claim_job(job)
    assert [entry.holder for entry in (*first.all(), *second.all())] == [Holder.OURS, Holder.OTHER]
    with pytest.raises(Failure, match="Another Blender") as caught:
        second.save(with_prediction(job))
    assert caught.value.code == "other_blender"
    first.close()
    assert second.others("/b.blend") == [job]
    assert second.claim("/a.blend") == [job]
    second.save(with_prediction(job))
    assert second.claim("/a.blend") == []


def test_a_file_saved_under_another_name_takes_its_jobs_along(blenders: Blenders, tmp_path: Path) -> None:
    journal, job = blenders.open(), replace(new_job(tmp_path), project="/a.blend")
    journal.save(job)
    journal.move([job.id], "/b.blend")
    journal.save(with_prediction(job))
    journal.close()
    later = blenders.open()
    assert later.claim("/a.blend") == []
    assert later.claim("/b.blend") == [replace(with_prediction(job), project="/b.blend")]


def test_a_removed_job_does_not_come_back_when_its_thread_saves_it(blenders: Blenders, tmp_path: Path) -> None:
    journal, job = blenders.open(), new_job(tmp_path)
    journal.save(job)
    assert journal.forget(job.id)
    journal.save(replace(job, stage=Stage.CANCELLED))
    assert journal.all() == []


def test_an_ended_job_is_shown_again_and_taken_before_a_retry(blenders: Blenders, tmp_path: Path) -> None:
    first, second = blenders.open(), blenders.open()
    job = replace(with_prediction(new_job(tmp_path)), project="/a.blend", stage=Stage.FAILED)
    first.save(job)
    assert second.ended("/a.blend") == []
    first.close()
    assert (second.claim("/a.blend"), second.others("/b.blend"), second.ended("/b.blend")) == ([], [], [])
    assert second.ended("/a.blend") == [job]
    assert second.claim_job(replace(job, stage=Stage.CANCELLED)) == job, "as the journal has it"
    assert blenders.open().ended("/a.blend") == []


@POSIX
def test_the_jobs_of_a_killed_blender_are_free_at_once_even_if_its_children_live(blenders: Blenders, tmp_path: Path) -> None:
    owner, job, journal = blenders.start(), new_job(tmp_path), blenders.open()
    assert owner.call("save", **as_message(job)) == ""
    children = owner.call("have_children")
    try:
        # A process that is only stopped, as on a sleeping machine, is alive.
        owner.process.send_signal(signal.SIGSTOP)
        assert journal.claim("") == []
        owner.kill()
        assert journal.claim("") == [job]
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


@POSIX
def test_jobs_saved_before_a_kill_are_there_after_it(blenders: Blenders, tmp_path: Path) -> None:
    for lines in (1, 7, 40):
        job, owner = new_job(tmp_path), blenders.start()
        owner.send("save_without_end", **as_message(job))
        for _ in range(lines):
            owner.receive()
        said = owner.kill().split("\n")
        # The last line may be truncated.
        confirmed = max(lines, *(int(line) for line in said[:-1]), 0)
        journal = blenders.open()
        assert journal.note == ""
        (found,) = journal.claim("")
        assert confirmed <= found.created <= confirmed + 1
        assert replace(found, created=job.created) == job
        assert journal.forget(job.id)


def test_an_owner_is_searched_in_the_owners_folder_only(tmp_path: Path) -> None:
    for folder in ("owners", "elsewhere"):
        (tmp_path / folder).mkdir()
    with closing(ProcessLock(tmp_path / "elsewhere")) as owner:
        assert is_alive(tmp_path / "elsewhere", owner.id)
        assert not is_alive(tmp_path / "owners", f"../elsewhere/{owner.id}")
    assert not is_alive(tmp_path / "elsewhere", owner.id)


def test_two_blenders_never_both_claim_a_job_at_the_same_time(blenders: Blenders, tmp_path: Path) -> None:
    projects = [f"/{number}.blend" for number in range(40)]
    jobs = [replace(new_job(tmp_path), project=project) for project in projects for _ in range(2)]
    blenders.leave(*jobs)
    rivals = [blenders.start(), blenders.start()]
    assert [rival.call("note") for rival in rivals] == ["", ""]
    got: list[list[str]] = [[], []]
    for project in projects:
        for rival in rivals:
            rival.send("claim", project=project)
        for mine, rival in zip(got, rivals, strict=True):
            mine.extend(rival.receive())
    assert sorted(got[0] + got[1]) == sorted(job.id for job in jobs)
