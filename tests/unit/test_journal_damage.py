# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a journal that can't be read, or can't be written."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from addon.failure import Failure
from addon.jobs.model.run import Run, Stage
from addon.jobs.store.database import VERSION
from addon.jobs.store.journal import Journal

from .parts import new_job
from .seats import POSIX, Seats, as_words, paid


@pytest.fixture
def seats(tmp_path: Path) -> Iterator[Seats]:
    with closing(Seats(tmp_path / "extension" / "jobs.sqlite")) as seats:
        yield seats


def damage(path: Path) -> None:
    """A page of the middle, as a bad block would."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))


def write_version(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={version}")


def make_another(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (id, wages)")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "a file").write_text("whose?")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "garbage": (lambda path: path.write_bytes(os.urandom(50_000)), "damaged"),
    "text": (lambda path: path.write_text("jobs"), "damaged"),
    "a bad page": (damage, "damaged"),
    "cut off": (cut, "damaged"),
    "a database of something else": (make_another, "another program"),
    "of an unknown version": (lambda path: write_version(path, -1), "another program"),
    "of a newer version": (lambda path: write_version(path, VERSION + 1), "newer version"),
    "a folder": (make_folder, "it is a folder"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_journal_that_cant_be_read_is_set_aside_with_a_word_and_a_new_one_begun(
    name: str, seats: Seats, tmp_path: Path
) -> None:
    do_damage, said = DAMAGES[name]
    path = seats.path
    for number in (1, 2):
        seats.leave(*(new_job(tmp_path, f"{strip}" * 200) for strip in range(30)))
        do_damage(path)
        before = path.read_bytes() if path.is_file() else None
        journal = seats.open()
        aside = path.with_name(f"jobs-set-aside-{number}.sqlite")
        assert said in journal.note
        assert str(aside) in journal.note
        assert (aside.read_bytes() if aside.is_file() else None) == before
        assert journal.all() == []
        job = new_job(tmp_path)
        journal.save(job)
        journal.close()
        again = seats.open()
        assert (again.note, again.claim("")) == ("", [job])
        again.close()


@pytest.mark.parametrize("head", [b"", b"this is no journal"])
def test_the_log_goes_with_it_in_which_a_killed_blenders_last_states_are(head: bytes, seats: Seats, tmp_path: Path) -> None:
    owner = seats.start()
    assert owner.ask("save", **as_words(new_job(tmp_path))) == ""
    owner.kill()
    path = seats.path
    parts = [path.with_name(path.name + part) for part in ("", "-wal", "-shm")]
    path.write_bytes(head)
    before = [part.read_bytes() for part in parts]
    assert b"Shot 1" in before[1]
    journal = seats.open()
    assert "damaged" in journal.note
    assert journal.all() == []
    assert [part.with_name(f"jobs-set-aside-1{part.name.removeprefix('jobs')}").read_bytes() for part in parts] == before


def test_a_journal_that_another_blender_works_with_is_left_where_it_is(seats: Seats, tmp_path: Path) -> None:
    other, job = seats.start(), new_job(tmp_path)
    assert other.ask("save", **as_words(job)) == ""
    write_version(seats.path, VERSION + 1)
    journal = seats.open()
    assert "newer version" in journal.note
    assert "another Blender uses it" in journal.note
    assert works_in_memory(journal, tmp_path)
    assert other.ask("save", **as_words(paid(job))) == ""
    other.kill()
    assert "jobs-set-aside-1.sqlite" in seats.open().note


def works_in_memory(journal: Journal, folder: Path) -> bool:
    job, ended = new_job(folder), replace(new_job(folder), stage=Stage.DONE)
    for state in (job, ended, paid(job)):
        journal.save(state)
    assert (journal.claim(""), journal.others("/a.blend"), journal.ended("")) == ([], [], [ended])
    assert [entry.job for entry in journal.all()] == [paid(job), ended]
    assert journal.claim_job(paid(job)) == paid(job)
    return journal.forget(job.id) and not journal.database.on_disk


def no_folder(path: Path) -> None:
    path.parent.write_text("a file")


def no_owners(path: Path) -> None:
    path.parent.mkdir()
    path.with_suffix(".owners").write_text("a file")


def no_log(path: Path) -> None:
    Journal.open(path).close()
    path.with_name(path.name + "-wal").mkdir()


@pytest.mark.parametrize("hinder", [no_folder, no_owners, no_log])
def test_where_nothing_can_be_kept_the_session_works_and_says_so(
    hinder: Callable[[Path], None], seats: Seats, tmp_path: Path
) -> None:
    hinder(seats.path)
    journal = seats.open()
    assert "can't be kept on disk" in journal.note
    assert str(seats.path) in journal.note
    assert works_in_memory(journal, tmp_path)


@POSIX
def test_a_disk_that_fills_up_is_told_and_what_was_saved_stays(seats: Seats, tmp_path: Path) -> None:
    owner, job = seats.start(), new_job(tmp_path)
    assert owner.ask("save", **as_words(job)) == ""
    *full, freed = owner.ask("save_on_a_full_disk", **as_words(paid(job)))
    for said in full:
        assert said.startswith(f"files: The list of jobs in {seats.path.parent} could not be written")
        assert "Free some space" in said
    assert freed == ""
    owner.kill()
    journal = seats.open()
    assert (journal.note, journal.claim("")) == ("", [paid(job)])


def test_a_job_beyond_all_bounds_is_refused(seats: Seats, tmp_path: Path) -> None:
    journal, job = seats.open(), new_job(tmp_path)
    run = Run(superseded_ids=("x" * 1024**2,) * 17)
    with pytest.raises(Failure) as caught:
        journal.save(job.with_take(0, runs=(run,)))
    assert caught.value.code == "too_large"
    journal.save(job)


def test_a_closed_journal_says_so(seats: Seats, tmp_path: Path) -> None:
    journal = seats.open()
    journal.close()
    with pytest.raises(Failure) as caught:
        journal.save(new_job(tmp_path))
    assert caught.value.code == "files"
