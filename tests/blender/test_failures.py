# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of failing jobs: the error names the strip, the edit stays unchanged, and other jobs continue."""

import os
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits
from .conftest import RUN_SECONDS


def names() -> list[str]:
    return sorted(strip.name for strip in edits.edit().strips_all)


def test_a_missing_file_is_reported_before_anything_is_sent(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    before, requests_before = names(), len(standin.requests())
    Path(bpy.path.abspath(strip.filepath)).unlink()

    (job,) = edits.generate(addon, strip)

    assert job.error.code == "missing_file"
    assert "“clip”" in job.error.message and strip.filepath in job.error.message and job.error.hint
    assert names() == before
    assert len(standin.requests()) == requests_before


def test_a_result_without_sound_is_reported(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    before = names()
    standin.inject("run", "silent")

    (job,) = edits.generate(addon, strip)

    assert (job.stage, job.error.code) == ("failed", "no_sound")
    assert job.error.message.startswith("“clip”")
    assert names() == before


def test_a_failed_job_does_not_stop_the_others_and_can_be_retried(addon: Any, standin: StandIn, project: Path) -> None:
    strips = [edits.movie(project, frames=30, channel=channel) for channel in (2, 4, 6)]
    standin.inject("run", "fail", reason="out of memory")

    jobs = edits.generate(addon, *strips)

    assert sorted(job.stage for job in jobs) == ["done", "done", "failed"]
    (failed,) = (job for job in jobs if job.stage == "failed")
    assert "out of memory" in failed.error.message and failed.request.strip in failed.error.message
    retried = addon.retrying.retry(failed, addon.page.config(bpy.context))
    (again,) = edits.finish(addon, [retried.id])
    assert (again.stage, again.error) == ("done", None)
    assert len([strip for strip in edits.edit().strips if strip.get("mmaudio")]) == 3


def test_a_result_that_could_not_be_downloaded_is_downloaded_by_a_retry_without_a_new_run(
    addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=30)
    runs = len(standin.state()["runs"])
    # Once for the first output URL, and once for the URL from a repeated get call.
    standin.inject("output", "status", status=410, times=2)

    (job,) = edits.generate(addon, strip)
    assert (job.stage, job.error.code) == ("failed", "result_gone")
    retried = addon.retrying.retry(job, addon.page.config(bpy.context))
    (again,) = edits.finish(addon, [retried.id])

    assert again.stage == "done"
    assert len(standin.state()["runs"]) == runs + 1


@pytest.mark.version_dependent
def test_cancel_stops_the_render_and_leaves_no_files(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=96)
    config = addon.page.config(bpy.context)
    (job,) = edits.start(addon, strip)
    edits.wait_for_stage(addon, job.id, "exporting")

    addon.session.current.runner.cancel(job.id)
    (ended,) = edits.finish(addon, [job.id], seconds=1.0)

    assert ended.stage == "cancelled"
    assert list((config.extension_folder / "work").iterdir()) == []
    assert not [strip for strip in edits.edit().strips if strip.get("mmaudio")]


@pytest.mark.version_dependent
def test_locked_muted_and_occupied_channels_are_skipped(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=4)
    for below in (1, 3):
        edits.movie(project, frames=30, channel=below, start=20)
    edits.edit().channels[5].lock = True
    edits.edit().channels[2].mute = True

    (job,) = edits.generate(addon, strip)

    assert job.takes[0].sound.channel == 6


@pytest.mark.version_dependent
@pytest.mark.parametrize("remember", [True, False])
def test_the_key_is_in_userpref_only_if_it_is_to_be_remembered(remember: bool, addon: Any) -> None:
    addon.preferences.remember = remember
    addon.preferences.key = "a-key-to-remember"
    bpy.ops.wm.save_userpref()

    saved = Path(os.environ["BLENDER_USER_RESOURCES"]) / "config" / "userpref.blend"
    content = saved.read_bytes()
    addon.preferences.key = ""
    assert content.startswith(b"BLENDER")
    assert (b"a-key-to-remember" in content) is remember


@pytest.mark.version_dependent
def test_a_sound_waits_for_its_own_file_and_is_never_placed_in_another(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    bpy.ops.wm.save_mainfile()
    (job,) = edits.start(addon, strip)

    bpy.ops.wm.read_homefile(use_empty=True)
    edits.wait_for_stage(addon, job.id, "placing")

    waiting = addon.session.current.runner.job(job.id)
    addon.generation.advance()
    assert addon.session.current.waits_for_its_file(waiting) and waiting.takes[0].file.is_file()
    assert list(edits.edit().strips) == []
    bpy.ops.wm.open_mainfile(filepath=str(project / "project.blend"))
    (placed,) = edits.finish(addon, [job.id])
    assert placed.stage == "done"
    assert placed.takes[0].sound.strip in [part.name for part in edits.edit().strips]


@pytest.mark.version_dependent
def test_undo_during_a_job_does_not_lose_its_sound(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    name = strip.name
    bpy.ops.ed.undo_push(message="Add Strip")
    strip.blend_alpha = 0.5
    bpy.ops.ed.undo_push(message="Fade")
    (job,) = edits.start(addon, strip)

    bpy.ops.ed.undo()
    (done,) = edits.finish(addon, [job.id])

    assert (done.stage, done.error) == ("done", None)
    assert {name, done.takes[0].sound.strip} <= {part.name for part in edits.edit().strips}


def test_the_sound_follows_a_clip_that_was_moved_during_the_job(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    (job,) = edits.start(addon, strip)

    addon.compat.move_content(strip, 100)
    (done,) = edits.finish(addon, [job.id])

    assert (done.takes[0].sound.start, done.takes[0].sound.end) == (110, 140)


def test_a_retry_right_after_a_cancel_is_placed(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=96)
    config = addon.page.config(bpy.context)
    (job,) = edits.start(addon, strip)
    edits.wait_for_stage(addon, job.id, "exporting")

    addon.session.current.runner.cancel(job.id)
    retried = addon.retrying.retry(addon.session.current.runner.job(job.id), config)
    (done,) = edits.finish(addon, [retried.id])

    assert (done.stage, done.error) == ("done", None)
    assert addon.session.current.runner.job(job.id) is None


def test_a_retry_while_a_run_is_being_cancelled_creates_a_new_run(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    runs = len(standin.state()["runs"])
    standin.set(run_seconds=30)
    (job,) = edits.start(addon, strip)
    runner = addon.session.current.runner
    edits.wait_for_stage(addon, job.id, "predicting")
    edits.until(lambda: len(standin.state()["runs"]) == runs + 1)
    standin.set(run_seconds=RUN_SECONDS)
    for route in ("cancel", "delete"):
        standin.inject(route, "stall", seconds=1.0)

    runner.cancel(job.id)
    retried = addon.retrying.retry(runner.job(job.id), addon.page.config(bpy.context))
    (done,) = edits.finish(addon, [retried.id])

    assert (done.stage, done.error) == ("done", None)
    assert [run["status"] for run in standin.state()["runs"][runs:]] == ["cancelled", "success"]
    assert not [upload for upload in standin.state()["uploads"] if upload["live"]]


@pytest.mark.version_dependent
def test_a_scene_strip_without_a_camera_is_rejected(addon: Any, standin: StandIn, project: Path) -> None:
    requests_before = len(standin.requests())
    strip = edits.edit().strips.new_scene(name="shot", scene=bpy.data.scenes.new("shot"), channel=2, frame_start=1)

    (job,) = edits.generate(addon, strip)

    assert job.error.code == "no_camera" and len(standin.requests()) == requests_before


def select(*strips: Any) -> None:
    for strip in edits.edit().strips:
        strip.select = strip in strips
    edits.edit().active_strip = strips[0]


def run_operator(**options: Any) -> set[str]:
    """Run Generate Sound, as from a script or a button."""
    operators: Any = bpy.ops
    with edits.sequencer():
        return set(operators.mmaudio.generate(**options))


@pytest.mark.version_dependent
def test_the_operator_raises_an_error_only_if_no_job_was_started(addon: Any, standin: StandIn, project: Path) -> None:
    good = edits.movie(project, frames=30, channel=2)
    no_camera: Any = bpy.data.scenes.new("no camera")
    bad = edits.edit().strips.new_scene(name="bad", scene=no_camera, channel=4, frame_start=10)

    select(good, bad)
    assert run_operator() == {"FINISHED"}
    jobs = edits.finish(addon, [job.id for job in addon.session.current.runner.jobs])
    assert sorted(job.stage for job in jobs) == ["done", "failed"]

    select(bad)
    with pytest.raises(RuntimeError, match="which has no camera"):
        run_operator()


@pytest.mark.version_dependent
def test_a_selected_sound_stands_for_its_clip(addon: Any, standin: StandIn, project: Path) -> None:
    clip = edits.movie(project, frames=30)
    (first,) = edits.generate(addon, clip)
    sound = edits.edit().strips[first.takes[0].sound.strip]

    select(sound)
    assert run_operator() == {"FINISHED"}
    again = edits.finish(addon, [addon.session.current.runner.jobs[-1].id])[0]
    assert (again.request.strip, again.stage) == (clip.name, "done")

    # Selected together, they are one clip.
    select(sound, clip)
    assert addon.shots.clips([sound, clip]) == [clip]


@pytest.mark.version_dependent
def test_each_strip_of_a_batch_has_a_different_seed_unless_one_is_given(addon: Any, standin: StandIn, project: Path) -> None:
    strips = [edits.movie(project, frames=30, channel=channel) for channel in (2, 4, 6)]
    select(*strips)
    settings = addon.settings.of(bpy.context.scene)

    settings.randomize_seed = True
    run_operator()
    seeds = [job.takes[0].settings.seed for job in addon.session.current.runner.jobs]
    assert len(set(seeds)) == 3 and seeds[0] == settings.seed

    edits.finish(addon, [job.id for job in addon.session.current.runner.jobs])

    with pytest.raises(RuntimeError, match="has its sound"):
        run_operator()
    settings.randomize_seed, settings.seed, settings.skip_done = False, 11, False
    with pytest.raises(RuntimeError, match="more than the maximum"):
        run_operator(max_cost=0.0001)
    run_operator()
    assert [job.takes[0].settings.seed for job in addon.session.current.runner.jobs[3:]] == [11, 11, 11]
    # The following tests use the same scene.
    settings.randomize_seed, settings.seed, settings.skip_done = True, 0, True
    edits.finish(addon, [job.id for job in addon.session.current.runner.jobs])
