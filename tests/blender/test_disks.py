# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests with full and read-only disks: the error names the cause, and a retry places what has been paid for."""

import json
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits
from .disks import Disk, disk

FAULTS = {"full": Disk.fill, "read-only": Disk.make_read_only}
REPAIRS = {"full": Disk.empty, "read-only": Disk.make_writable}
MESSAGES = {"full": ("disk is full", "Free some space"), "read-only": ("read-only", "Make it writable")}
each_condition = pytest.mark.parametrize("condition", FAULTS)
# Blender warns when "//" is set in an add-on's preferences from Python.
pytestmark = pytest.mark.filterwarnings("ignore:.*blend relative:RuntimeWarning")


@pytest.fixture
def strip(project: Path) -> Any:
    clip = edits.movie(project, frames=24, at=(8,), size=(320, 180))
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    bpy.ops.wm.save_mainfile()
    return clip


@pytest.fixture
def runs(standin: StandIn) -> Callable[[], int]:
    """Function that returns the number of runs created since the start of the test."""
    before = len(standin.state()["runs"])
    return lambda: len(standin.state()["runs"]) - before


@pytest.fixture(autouse=True)
def _project_stays_unchanged(project: Path, strip: Any) -> Iterator[None]:
    before = (project / "project.blend").read_bytes()
    yield
    assert (project / "project.blend").read_bytes() == before


@pytest.fixture
def results(project: Path) -> Iterator[Disk]:
    with disk(project / "mmaudio") as mounted:
        yield mounted


@pytest.fixture
def extension_folder(
    addon: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Replacement for the extension's own folder, with its own journal."""
    own = tmp_path_factory.mktemp("own")
    preferences = addon.page
    config = preferences.config
    monkeypatch.setattr(preferences, "config", lambda context: replace(config(context), extension_folder=own))
    addon.session.current.close(5)
    yield own
    addon.session.current.close(5)


@contextmanager
def running(standin: StandIn, runs: Callable[[], int]) -> Generator[None]:
    """Report all runs as still processing for the duration of the block."""
    standin.inject("get", "status", status=200, body=json.dumps({"status": "processing"}), times=10**6)
    yield
    standin.clear_faults()


def retried(addon: Any, job: Any) -> Any:
    again = addon.retrying.retry(job, addon.page.config(bpy.context))
    (ended,) = edits.finish(addon, [again.id])
    return ended


def check_error(job: Any, folder: Path, condition: str) -> None:
    reason, remedy = MESSAGES[condition]
    assert (job.stage, job.error.code) == ("failed", "files")
    assert job.error.message.startswith(f"“{job.request.strip}”: ")
    assert reason in job.error.message and str(folder) in job.error.message
    assert remedy in job.error.hint


def check_placed(job: Any) -> None:
    assert (job.stage, job.error) == ("done", None)
    (sound,) = [strip for strip in edits.edit().strips if strip.get("mmaudio")]
    assert Path(bpy.path.abspath(sound.sound.filepath)).is_file()


def start_and_wait_for_the_run(addon: Any, strip: Any, runs: Callable[[], int]) -> Any:
    (job,) = edits.start(addon, strip)
    edits.wait_for_stage(addon, job.id, "predicting")
    edits.until(lambda: runs() == 1)
    # Deletes the copy of the edit, which would make room on a full disk.
    addon.generation.advance()
    return job


@each_condition
def test_results_that_cannot_be_written_are_kept_for_a_retry(
    *, condition: str, addon: Any, standin: StandIn, results: Disk, strip: Any, runs: Callable[[], int]
) -> None:
    with running(standin, runs):
        job = start_and_wait_for_the_run(addon, strip, runs)
        FAULTS[condition](results)
    (failed,) = edits.finish(addon, [job.id])

    check_error(failed, results.path, condition)
    assert results.files() == []
    again = retried(addon, failed)
    assert (again.stage, again.error) == (failed.stage, failed.error)
    REPAIRS[condition](results)
    check_placed(retried(addon, again))
    assert runs() == 1


@each_condition
def test_a_retry_writes_to_the_folder_that_is_set_by_then(
    *, condition: str, addon: Any, standin: StandIn, results: Disk, strip: Any, runs: Callable[[], int], project: Path
) -> None:
    with running(standin, runs):
        job = start_and_wait_for_the_run(addon, strip, runs)
        FAULTS[condition](results)
    (failed,) = edits.finish(addon, [job.id])
    assert "choose another Results Folder" in failed.error.hint

    addon.preferences.results = "//other sounds"
    try:
        done = retried(addon, failed)
    finally:
        addon.preferences.property_unset("results")

    check_placed(done)
    assert done.takes[0].file.parent == project / "other sounds"
    assert runs() == 1


@each_condition
def test_a_results_folder_that_is_not_writable_is_reported_before_anything_is_sent(
    condition: str, addon: Any, standin: StandIn, results: Disk, strip: Any
) -> None:
    FAULTS[condition](results)
    requests_before = len(standin.requests())
    addon.preferences.results = "//mmaudio/deeper/down"
    try:
        (job,) = edits.generate(addon, strip)
    finally:
        addon.preferences.property_unset("results")

    assert (job.stage, job.error.code) == ("failed", "files")
    assert MESSAGES[condition][0] in job.error.message and str(results.path / "deeper" / "down") in job.error.message
    assert MESSAGES[condition][1] in job.error.hint
    assert [part.name for part in results.path.iterdir() if part.name != "filler"] == []
    assert len(standin.requests()) == requests_before


@each_condition
def test_no_run_is_created_if_the_results_folder_is_no_longer_writable(
    *, condition: str, addon: Any, standin: StandIn, results: Disk, strip: Any, runs: Callable[[], int]
) -> None:
    (job,) = edits.start(addon, strip)
    FAULTS[condition](results)
    (failed,) = edits.finish(addon, [job.id])

    check_error(failed, results.path, condition)
    REPAIRS[condition](results)
    assert runs() == 0
    check_placed(retried(addon, failed))
    assert runs() == 1


@each_condition
def test_a_download_that_cannot_be_written_is_repeated_by_a_retry(
    *, condition: str, addon: Any, standin: StandIn, extension_folder: Path, strip: Any, runs: Callable[[], int]
) -> None:
    with disk(extension_folder / "work") as work:
        with running(standin, runs):
            job = start_and_wait_for_the_run(addon, strip, runs)
            FAULTS[condition](work)
        (failed,) = edits.finish(addon, [job.id])

        check_error(failed, work.path, condition)
        assert list(work.path.rglob("result*")) == []
        REPAIRS[condition](work)
        check_placed(retried(addon, failed))
        assert runs() == 1


@pytest.mark.version_dependent
@pytest.mark.parametrize("room_bytes", [0, 4096], ids=["none", "for a part of it"])
def test_a_clip_that_cannot_be_written_is_reported_and_no_run_is_created(
    *, room_bytes: int, addon: Any, standin: StandIn, extension_folder: Path, project: Path, runs: Callable[[], int]
) -> None:
    strip = edits.movie(project, frames=96, channel=6)
    with disk(extension_folder / "work") as work:
        (job,) = edits.start(addon, strip)
        work.fill(leave=room_bytes)
        (failed,) = edits.finish(addon, [job.id])

        check_error(failed, work.path, "full")
        assert runs() == 0
        work.empty()
        check_placed(retried(addon, failed))


@pytest.mark.version_dependent
@each_condition
def test_a_copy_of_the_edit_that_cannot_be_written_is_reported_at_once(
    condition: str, addon: Any, standin: StandIn, extension_folder: Path, strip: Any
) -> None:
    requests_before = len(standin.requests())
    with disk(extension_folder / "work") as work:
        FAULTS[condition](work)
        with pytest.raises(addon.failure.Failure) as caught:
            edits.start(addon, strip)

        assert caught.value.code == "files"
        assert MESSAGES[condition][0] in caught.value.message and str(work.path) in caught.value.message
        assert work.files() == []
        REPAIRS[condition](work)
    assert len(standin.requests()) == requests_before
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]


def test_no_run_is_created_if_the_disk_of_the_journal_is_full(
    addon: Any, standin: StandIn, extension_folder: Path, strip: Any, runs: Callable[[], int]
) -> None:
    with disk(extension_folder) as own, disk(extension_folder / "work"):
        addon.session.current.runner.open(extension_folder)
        own.fill()
        (failed,) = edits.generate(addon, strip)

        check_error(failed, own.path, "full")
        assert runs() == 0
        own.empty()
        check_placed(retried(addon, failed))
        assert runs() == 1
        addon.session.current.close(5)


def test_a_disk_of_the_journal_that_fills_up_during_a_run_does_not_lose_its_sound(
    addon: Any, standin: StandIn, extension_folder: Path, strip: Any, runs: Callable[[], int]
) -> None:
    with disk(extension_folder) as own, disk(extension_folder / "work"):
        with running(standin, runs):
            job = start_and_wait_for_the_run(addon, strip, runs)
            own.fill()
        (done,) = edits.finish(addon, [job.id])

        check_placed(done)
        assert runs() == 1
        addon.session.current.close(5)


@pytest.mark.version_dependent
def test_the_command_line_reports_that_the_edit_cannot_be_saved(
    *, addon: Any, standin: StandIn, strip: Any, project: Path, runs: Callable[[], int], capfd: pytest.CaptureFixture[str]
) -> None:
    with disk(project / "target") as target:
        target.make_read_only()
        status = addon.command.run(["generate", "--strip", "clip", "--output", str(target.path / "new.blend")])
        assert (status, runs()) == (2, 0)
        assert str(target.path) in capfd.readouterr().err

        target.make_writable()
        shutil.copy(project / "project.blend", target.path / "new.blend")
        target.fill()
        before = (target.path / "new.blend").read_bytes()
        status = addon.command.run(["generate", "--strip", "clip", "--output", str(target.path / "new.blend"), "--json"])

        captured = capfd.readouterr()
        assert (status, runs()) == (1, 1)
        (job,) = json.loads(captured.out.strip().splitlines()[-1])["jobs"]
        assert Path(job["sounds"][0]["file"]).is_file()
        assert "could not be saved" in captured.err and str(target.path) in captured.err
        assert (target.path / "new.blend").read_bytes() == before
        target.empty()
        # The sound is in no saved file, so it counts as not placed: `resume` places it without another run.
        bpy.ops.wm.open_mainfile(filepath=str(project / "project.blend"))
        assert addon.command.run(["resume", "--output", str(target.path / "new.blend")]) == 0
        assert runs() == 1
        bpy.ops.wm.open_mainfile(filepath=str(target.path / "new.blend"))
        assert [part.name for part in edits.edit().strips if part.get("mmaudio")]
