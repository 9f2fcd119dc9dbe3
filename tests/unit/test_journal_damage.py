# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of journals that can't be read or written."""

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

from .blenders import POSIX, Blenders, as_message, with_prediction
from .helpers import new_job

pytestmark = pytest.mark.oldest


@pytest.fixture
def blenders(tmp_path: Path) -> Iterator[Blenders]:
    with closing(Blenders(tmp_path / "extension" / "jobs.sqlite")) as blenders:
        yield blenders


def damage(path: Path) -> None:
    """Overwrite a page in the middle, as a bad block would."""
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
def test_an_unreadable_journal_is_set_aside_with_a_note_and_a_new_one_created(
    name: str, blenders: Blenders, tmp_path: Path
) -> None:
    do_damage, said = DAMAGES[name]
    path = blenders.path
    for number in (1, 2):
        blenders.leave(*(new_job(tmp_path, f"{strip}" * 200) for strip in range(30)))
        do_damage(path)
        before = path.read_bytes() if path.is_file() else None
        journal = blenders.open()
        aside = path.with_name(f"jobs-set-aside-{number}.sqlite")
        assert said in journal.note
        assert str(aside) in journal.note
        assert (aside.read_bytes() if aside.is_file() else None) == before
        assert journal.all() == []
        job = new_job(tmp_path)
        journal.save(job)
        journal.close()
        again = blenders.open()
        assert (again.note, again.claim("")) == ("", [job])
        again.close()


@pytest.mark.parametrize("head", [b"", b"this is no journal"])
def test_the_wal_with_the_last_states_of_a_killed_blender_is_set_aside_too(
    head: bytes, blenders: Blenders, tmp_path: Path
) -> None:
    owner = blenders.start()
    assert owner.call("save", **as_message(new_job(tmp_path))) == ""
    owner.kill()
    path = blenders.path
    parts = [path.with_name(path.name + part) for part in ("", "-wal", "-shm")]
    path.write_bytes(head)
    before = [part.read_bytes() for part in parts]
    assert b"Shot 1" in before[1]
    journal = blenders.open()
    assert "damaged" in journal.note
    assert journal.all() == []
    assert [part.with_name(f"jobs-set-aside-1{part.name.removeprefix('jobs')}").read_bytes() for part in parts] == before


def test_a_journal_in_use_by_another_blender_stays_in_place(blenders: Blenders, tmp_path: Path) -> None:
    other, job = blenders.start(), new_job(tmp_path)
    assert other.call("save", **as_message(job)) == ""
    write_version(blenders.path, VERSION + 1)
    journal = blenders.open()
    assert "newer version" in journal.note
    assert "another Blender uses it" in journal.note
    assert works_in_memory(journal, tmp_path)
    assert other.call("save", **as_message(with_prediction(job))) == ""
    other.kill()
    assert "jobs-set-aside-1.sqlite" in blenders.open().note


def works_in_memory(journal: Journal, folder: Path) -> bool:
    job, ended = new_job(folder), replace(new_job(folder), stage=Stage.DONE)
    for state in (job, ended, with_prediction(job)):
        journal.save(state)
    assert (journal.claim(""), journal.others("/a.blend"), journal.ended("")) == ([], [], [ended])
    assert [entry.job for entry in journal.all()] == [with_prediction(job), ended]
    assert journal.claim_job(with_prediction(job)) == with_prediction(job)
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
def test_a_session_without_a_journal_on_disk_works_and_says_so(
    hinder: Callable[[Path], None], blenders: Blenders, tmp_path: Path
) -> None:
    hinder(blenders.path)
    journal = blenders.open()
    assert "can't be kept on disk" in journal.note
    assert str(blenders.path) in journal.note
    assert works_in_memory(journal, tmp_path)


@POSIX
def test_a_full_disk_is_reported_and_saved_jobs_stay(blenders: Blenders, tmp_path: Path) -> None:
    owner, job = blenders.start(), new_job(tmp_path)
    assert owner.call("save", **as_message(job)) == ""
    *full, freed = owner.call("save_on_a_full_disk", **as_message(with_prediction(job)))
    for said in full:
        assert said.startswith(f"files: The list of jobs in {blenders.path.parent} could not be written")
        assert "Free some space" in said
    assert freed == ""
    owner.kill()
    journal = blenders.open()
    assert (journal.note, journal.claim("")) == ("", [with_prediction(job)])


def test_a_job_that_is_too_large_is_rejected(blenders: Blenders, tmp_path: Path) -> None:
    journal, job = blenders.open(), new_job(tmp_path)
    run = Run(superseded_ids=("x" * 1024**2,) * 17)
    with pytest.raises(Failure) as caught:
        journal.save(job.with_take(0, runs=(run,)))
    assert caught.value.code == "too_large"
    journal.save(job)


def test_a_closed_journal_says_so(blenders: Blenders, tmp_path: Path) -> None:
    journal = blenders.open()
    journal.close()
    with pytest.raises(Failure) as caught:
        journal.save(new_job(tmp_path))
    assert caught.value.code == "files"
