# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs on disk: what is kept, and who owns it."""

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

from .parts import new_job
from .seats import POSIX, Seats, as_words, paid


@pytest.fixture
def seats(tmp_path: Path) -> Iterator[Seats]:
    with closing(Seats(tmp_path / "extension" / "jobs.sqlite")) as seats:
        yield seats


# What is kept


def test_fields_that_a_later_release_has_added_do_no_harm(seats: Seats, tmp_path: Path) -> None:
    job = paid(new_job(tmp_path))
    seats.leave(job)

    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{name: grown(inner) for name, inner in value.items()}, "added": {"later": [1]}}
        return [grown(inner) for inner in value] if isinstance(value, list) else value

    write_record(seats.path, job.id, json.dumps(grown(json.loads(to_bytes(job)))).encode())
    assert seats.open().claim("") == [job]


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
def test_a_record_that_cant_be_read_stays_is_told_of_and_hides_no_other(
    name: str, seats: Seats, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, bad, after = (replace(new_job(tmp_path, strip), project="/a.blend") for strip in ("1", "2", "3"))
    seats.leave(before, bad, after)
    record = UNREADABLE[name](bad)
    assert record != to_bytes(bad)
    write_record(seats.path, bad.id, record)
    journal = seats.open()
    assert journal.note == ""
    assert journal.claim("/a.blend") == [before, after]
    entry = journal.all()[1]
    assert (entry.id, entry.project, entry.job) == (bad.id, "/a.blend", None)
    assert entry.fault
    assert SECRET not in entry.fault + caplog.text
    with closing(sqlite3.connect(seats.path)) as connection:
        assert connection.execute("SELECT record FROM jobs WHERE id = ?", (bad.id,)).fetchone()[0] == record


@pytest.mark.parametrize("job_id", ["../../work", "A" * 32, "0" * 31])
def test_an_id_that_is_none_is_unreadable_even_where_the_table_has_it_too(job_id: str, seats: Seats, tmp_path: Path) -> None:
    job = new_job(tmp_path)
    seats.leave(job)
    with closing(sqlite3.connect(seats.path)) as connection, connection:
        record = to_bytes(replace(job, id=job_id))
        connection.execute("UPDATE jobs SET id = ?, record = ? WHERE id = ?", (job_id, record, job.id))
    assert seats.open().claim("") == []


def test_what_is_over_is_kept_to_a_bound_and_what_is_open_paid_for_or_unreadable_for_good(
    seats: Seats, tmp_path: Path
) -> None:
    first, unreadable, running, failed, cancelled, refused = (new_job(tmp_path, str(number)) for number in range(6))
    error = JobError("network", "It failed.", "")
    kept = [
        unreadable,
        paid(running),
        replace(paid(failed), stage=Stage.FAILED, error=error),
        replace(cancelled, stage=Stage.CANCELLED).with_take(0, file=tmp_path / "sound.wav"),
    ]
    over = [replace(first, stage=Stage.DONE), replace(refused, stage=Stage.FAILED, error=error)]
    seats.leave(*over, *kept, replace(unreadable, stage=Stage.DONE))
    write_record(seats.path, unreadable.id, b"{")
    journal = seats.open()
    later = [replace(new_job(tmp_path, f"later {number}"), stage=Stage.DONE) for number in range(ENDED_MAX)]
    for job in later:
        journal.save(job)
    # Dropping looks at what is over: the unreadable one counts among them, and stays.
    assert [entry.id for entry in journal.all()] == [job.id for job in (*kept, *later)]


def test_progress_alone_is_not_written(seats: Seats, tmp_path: Path) -> None:
    journal, job = seats.open(), new_job(tmp_path)

    def size() -> int:
        return seats.path.with_name("jobs.sqlite-wal").stat().st_size

    journal.save(job)
    before = size()
    for frame in range(100):
        journal.save(replace(job, progress=Progress(frame, 100, "frames")))
    assert size() == before
    journal.save(paid(job))
    assert size() > before


@POSIX
def test_the_file_is_its_users_alone(seats: Seats, tmp_path: Path) -> None:
    path = seats.path
    path.parent.mkdir()
    before = os.umask(0)
    try:
        seats.open().save(replace(new_job(tmp_path), clips=(Published("id", SECRET),)))
    finally:
        os.umask(before)
    parts = [path.with_name(path.name + part) for part in ("", "-wal", "-shm")]
    assert [stat.filemode(part.stat().st_mode) for part in parts] == ["-rw-------"] * 3
    assert stat.filemode(path.with_suffix(".owners").stat().st_mode) == "drwx------"
    for part in parts:
        part.chmod(0o644)
    seats.open()
    assert [stat.filemode(part.stat().st_mode) for part in parts] == ["-rw-------"] * 3


def test_a_power_cut_takes_nothing_back(seats: Seats, tmp_path: Path) -> None:
    journal = seats.open()
    with journal.database.writing(durable=False):
        pass
    journal.save(new_job(tmp_path))
    full = 2
    assert (journal.database.rows("PRAGMA journal_mode"), journal.database.rows("PRAGMA synchronous")) == (
        [("wal",)],
        [(full,)],
    )


# Who owns a job


def test_a_job_is_its_blenders_until_that_one_closes(seats: Seats, tmp_path: Path) -> None:
    first, second, job = seats.open(), seats.open(), replace(new_job(tmp_path), project="/a.blend")
    first.save(job)
    assert (second.claim("/a.blend"), second.others(""), second.forget(job.id)) == ([], [], False)
    with pytest.raises(Failure, match="Another Blender"):
        second.claim_job(job)
    assert [entry.holder for entry in (*first.all(), *second.all())] == [Holder.OURS, Holder.OTHER]
    with pytest.raises(Failure, match="Another Blender") as caught:
        second.save(paid(job))
    assert caught.value.code == "other_blender"
    first.close()
    assert second.others("/b.blend") == [job]
    assert second.claim("/a.blend") == [job]
    second.save(paid(job))
    assert second.claim("/a.blend") == []


def test_a_file_under_another_name_takes_its_jobs_along_whatever_a_thread_still_says(seats: Seats, tmp_path: Path) -> None:
    journal, job = seats.open(), replace(new_job(tmp_path), project="/a.blend")
    journal.save(job)
    journal.move([job.id], "/b.blend")
    journal.save(paid(job))
    journal.close()
    later = seats.open()
    assert later.claim("/a.blend") == []
    assert later.claim("/b.blend") == [replace(paid(job), project="/b.blend")]


def test_a_forgotten_job_does_not_come_back_when_its_thread_speaks_once_more(seats: Seats, tmp_path: Path) -> None:
    journal, job = seats.open(), new_job(tmp_path)
    journal.save(job)
    assert journal.forget(job.id)
    journal.save(replace(job, stage=Stage.CANCELLED))
    assert journal.all() == []


def test_an_ended_job_is_shown_again_and_taken_before_a_retry(seats: Seats, tmp_path: Path) -> None:
    first, second = seats.open(), seats.open()
    job = replace(paid(new_job(tmp_path)), project="/a.blend", stage=Stage.FAILED)
    first.save(job)
    assert second.ended("/a.blend") == []
    first.close()
    assert (second.claim("/a.blend"), second.others("/b.blend"), second.ended("/b.blend")) == ([], [], [])
    assert second.ended("/a.blend") == [job]
    assert second.claim_job(replace(job, stage=Stage.CANCELLED)) == job, "as the journal has it"
    assert seats.open().ended("/a.blend") == []


@POSIX
def test_a_killed_blenders_jobs_are_free_at_once_though_its_children_live_on(seats: Seats, tmp_path: Path) -> None:
    owner, job, journal = seats.start(), new_job(tmp_path), seats.open()
    assert owner.ask("save", **as_words(job)) == ""
    children = owner.ask("have_children")
    try:
        # One that is merely stopped, as a machine that sleeps, is alive.
        owner.process.send_signal(signal.SIGSTOP)
        assert journal.claim("") == []
        owner.kill()
        assert journal.claim("") == [job]
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


@POSIX
def test_what_was_saved_before_a_kill_is_there_after_it(seats: Seats, tmp_path: Path) -> None:
    for lines in (1, 7, 40):
        job, owner = new_job(tmp_path), seats.start()
        owner.tell("save_without_end", **as_words(job))
        for _ in range(lines):
            owner.hear()
        said = owner.kill().split("\n")
        # The last line may have been cut.
        confirmed = max(lines, *(int(line) for line in said[:-1]), 0)
        journal = seats.open()
        assert journal.note == ""
        (found,) = journal.claim("")
        assert confirmed <= found.created <= confirmed + 1
        assert replace(found, created=job.created) == job
        assert journal.forget(job.id)


def test_an_owner_is_looked_for_in_the_folder_of_owners_alone(tmp_path: Path) -> None:
    for folder in ("owners", "elsewhere"):
        (tmp_path / folder).mkdir()
    with closing(ProcessLock(tmp_path / "elsewhere")) as owner:
        assert is_alive(tmp_path / "elsewhere", owner.id)
        assert not is_alive(tmp_path / "owners", f"../elsewhere/{owner.id}")
    assert not is_alive(tmp_path / "elsewhere", owner.id)


def test_two_blenders_that_ask_at_the_same_moment_never_both_get_a_job(seats: Seats, tmp_path: Path) -> None:
    projects = [f"/{number}.blend" for number in range(40)]
    jobs = [replace(new_job(tmp_path), project=project) for project in projects for _ in range(2)]
    seats.leave(*jobs)
    rivals = [seats.start(), seats.start()]
    assert [rival.ask("note") for rival in rivals] == ["", ""]
    got: list[list[str]] = [[], []]
    for project in projects:
        for rival in rivals:
            rival.tell("claim", project=project)
        for mine, rival in zip(got, rivals, strict=True):
            mine.extend(rival.hear())
    assert sorted(got[0] + got[1]) == sorted(job.id for job in jobs)
