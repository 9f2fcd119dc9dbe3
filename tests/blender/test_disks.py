# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are full or read-only: it is said, in words, and what was paid for is kept and placed by a Retry."""

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

HINDER = {"full": Disk.fill, "read-only": Disk.lock}
MEND = {"full": Disk.empty, "read-only": Disk.unlock}
SAID = {"full": ("disk is full", "Free some space"), "read-only": ("read-only", "Make it writable")}
all_ways = pytest.mark.parametrize("way", HINDER)
# Set from Python, Blender warns of "//" in an add-on's preferences.
pytestmark = pytest.mark.filterwarnings("ignore:.*blend relative:RuntimeWarning")


@pytest.fixture
def strip(project: Path) -> Any:
    clip = edits.movie(project, frames=24, at=(8,), size=(320, 180))
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    bpy.ops.wm.save_mainfile()
    return clip


@pytest.fixture
def runs(standin: StandIn) -> Callable[[], int]:
    """Counts the runs that were created since the test began."""
    before = len(standin.state()["runs"])
    return lambda: len(standin.state()["runs"]) - before


@pytest.fixture(autouse=True)
def _the_project_is_not_harmed(project: Path, strip: Any) -> Iterator[None]:
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
    """Another folder of the extension's own, with its journal, while the test lasts."""
    own = tmp_path_factory.mktemp("own")
    preferences = addon.page
    config = preferences.config
    monkeypatch.setattr(preferences, "setup", lambda context: replace(config(context), own=own))
    addon.generation.leave(5)
    yield own
    addon.generation.leave(5)


@contextmanager
def running(standin: StandIn, runs: Callable[[], int]) -> Generator[None]:
    """Keeps a run from ending for as long as the block takes; it has begun at its start."""
    standin.order("get", "status", status=200, body=json.dumps({"status": "processing"}), times=10**6)
    yield
    standin.clear()


def retried(addon: Any, job: Any) -> Any:
    again = addon.generation.retry(job, addon.page.config(bpy.context))
    (ended,) = edits.finish(addon, [again.id])
    return ended


def check_said(job: Any, folder: Path, way: str) -> None:
    what, way_out = SAID[way]
    assert (job.stage, job.error.code) == ("failed", "files")
    assert job.error.message.startswith(f"“{job.request.strip}”: ")
    assert what in job.error.message and str(folder) in job.error.message
    assert way_out in job.error.hint


def check_placed(job: Any) -> None:
    assert (job.stage, job.error) == ("done", None)
    (sound,) = [strip for strip in edits.edit().strips if strip.get("mmaudio")]
    assert Path(bpy.path.abspath(sound.sound.filepath)).is_file()


def start_and_wait_for_the_run(addon: Any, strip: Any, runs: Callable[[], int]) -> Any:
    (job,) = edits.start(addon, strip)
    edits.wait_for_stage(addon, job.id, "predicting")
    edits.until(lambda: runs() == 1)
    return job


@all_ways
def test_results_that_find_no_place_are_kept_for_a_retry(
    *, way: str, addon: Any, standin: StandIn, results: Disk, strip: Any, runs: Callable[[], int]
) -> None:
    with running(standin, runs):
        job = start_and_wait_for_the_run(addon, strip, runs)
        HINDER[way](results)
    (failed,) = edits.finish(addon, [job.id])

    check_said(failed, results.path, way)
    assert results.files() == []
    again = retried(addon, failed)
    assert (again.stage, again.error) == (failed.stage, failed.error)
    MEND[way](results)
    check_placed(retried(addon, again))
    assert runs() == 1


@all_ways
def test_a_retry_goes_to_the_folder_that_is_chosen_by_then(
    *, way: str, addon: Any, standin: StandIn, results: Disk, strip: Any, runs: Callable[[], int], project: Path
) -> None:
    with running(standin, runs):
        job = start_and_wait_for_the_run(addon, strip, runs)
        HINDER[way](results)
    (failed,) = edits.finish(addon, [job.id])
    assert "choose another folder" in failed.error.hint

    addon.preferences.results = "//other sounds"
    try:
        done = retried(addon, failed)
    finally:
        addon.preferences.property_unset("results")

    check_placed(done)
    assert done.takes[0].file.parent == project / "other sounds"
    assert runs() == 1


@all_ways
def test_a_folder_that_takes_no_sounds_is_told_before_anything_is_sent(
    way: str, addon: Any, standin: StandIn, results: Disk, strip: Any
) -> None:
    HINDER[way](results)
    asked = len(standin.requests())
    addon.preferences.results = "//mmaudio/deeper/down"
    try:
        with pytest.raises(addon.failure.Failure) as told:
            edits.start(addon, strip)
    finally:
        addon.preferences.property_unset("results")

    assert told.value.code == "files"
    assert SAID[way][0] in told.value.message and str(results.path / "deeper" / "down") in told.value.message
    assert SAID[way][1] in told.value.hint
    assert [part.name for part in results.path.iterdir() if part.name != "filler"] == []
    assert addon.generation.runner.jobs == []
    assert len(standin.requests()) == asked


@all_ways
def test_no_run_is_ordered_for_a_folder_that_takes_no_sounds_any_more(
    *, way: str, addon: Any, standin: StandIn, results: Disk, strip: Any, runs: Callable[[], int]
) -> None:
    (job,) = edits.start(addon, strip)
    HINDER[way](results)
    (failed,) = edits.finish(addon, [job.id])

    check_said(failed, results.path, way)
    MEND[way](results)
    assert runs() == 0
    check_placed(retried(addon, failed))
    assert runs() == 1


@all_ways
def test_a_download_that_finds_no_place_is_fetched_by_a_retry(
    *, way: str, addon: Any, standin: StandIn, extension_folder: Path, strip: Any, runs: Callable[[], int]
) -> None:
    with disk(extension_folder / "work") as work:
        with running(standin, runs):
            job = start_and_wait_for_the_run(addon, strip, runs)
            HINDER[way](work)
        (failed,) = edits.finish(addon, [job.id])

        check_said(failed, work.path, way)
        assert list(work.path.rglob("result*")) == []
        MEND[way](work)
        check_placed(retried(addon, failed))
        assert runs() == 1


@pytest.mark.parametrize("room", [0, 16 * 1024], ids=["none", "for a part of it"])
def test_a_clip_that_finds_no_place_is_told_and_nothing_is_ordered(
    *, room: int, addon: Any, standin: StandIn, extension_folder: Path, project: Path, runs: Callable[[], int]
) -> None:
    strip = edits.movie(project, frames=96, channel=6)
    with disk(extension_folder / "work") as work:
        (job,) = edits.start(addon, strip)
        work.fill(but=room)
        (failed,) = edits.finish(addon, [job.id])

        check_said(failed, work.path, "full")
        assert runs() == 0
        work.empty()
        check_placed(retried(addon, failed))


@all_ways
def test_an_edit_that_cannot_be_written_for_the_render_is_told_at_once(
    way: str, addon: Any, standin: StandIn, extension_folder: Path, strip: Any
) -> None:
    asked = len(standin.requests())
    with disk(extension_folder / "work") as work:
        HINDER[way](work)
        with pytest.raises(addon.failure.Failure) as told:
            edits.start(addon, strip)

        assert told.value.code == "files"
        assert SAID[way][0] in told.value.message and str(work.path) in told.value.message
        assert work.files() == []
        MEND[way](work)
    assert len(standin.requests()) == asked
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]


def test_no_run_is_ordered_that_the_journal_has_no_room_for(
    addon: Any, standin: StandIn, extension_folder: Path, strip: Any, runs: Callable[[], int]
) -> None:
    with disk(extension_folder) as own, disk(extension_folder / "work"):
        addon.generation.runner.open(extension_folder)
        own.fill()
        (failed,) = edits.generate(addon, strip)

        check_said(failed, own.path, "full")
        assert runs() == 0
        own.empty()
        check_placed(retried(addon, failed))
        assert runs() == 1
        addon.generation.leave(5)


def test_a_journal_that_fills_up_during_a_run_does_not_cost_its_sound(
    addon: Any, standin: StandIn, extension_folder: Path, strip: Any, runs: Callable[[], int]
) -> None:
    with disk(extension_folder) as own, disk(extension_folder / "work"):
        with running(standin, runs):
            job = start_and_wait_for_the_run(addon, strip, runs)
            own.fill()
        (done,) = edits.finish(addon, [job.id])

        check_placed(done)
        assert runs() == 1
        addon.generation.leave(5)


def test_the_command_line_says_when_the_edit_cannot_be_saved(
    *, addon: Any, standin: StandIn, strip: Any, project: Path, runs: Callable[[], int], capfd: pytest.CaptureFixture[str]
) -> None:
    with disk(project / "target") as target:
        target.lock()
        status = addon.command.run(["generate", "--strip", "clip", "--output", str(target.path / "new.blend")])
        assert (status, runs()) == (2, 0)
        assert str(target.path) in capfd.readouterr().err

        target.unlock()
        shutil.copy(project / "project.blend", target.path / "new.blend")
        target.fill()
        before = (target.path / "new.blend").read_bytes()
        status = addon.command.run(["generate", "--strip", "clip", "--output", str(target.path / "new.blend"), "--json"])

        said = capfd.readouterr()
        assert (status, runs()) == (1, 1)
        (job,) = json.loads(said.out.strip().splitlines()[-1])["jobs"]
        assert Path(job["sounds"][0]["file"]).is_file()
        assert "could not be saved" in said.err and str(target.path) in said.err
        assert (target.path / "new.blend").read_bytes() == before
        target.empty()
        # Not in a saved file, it counts as not placed, and is, without another run.
        bpy.ops.wm.open_mainfile(filepath=str(project / "project.blend"))
        assert addon.command.run(["resume", "--output", str(target.path / "new.blend")]) == 0
        assert runs() == 1
        bpy.ops.wm.open_mainfile(filepath=str(target.path / "new.blend"))
        assert [part.name for part in edits.edit().strips if part.get("mmaudio")]
