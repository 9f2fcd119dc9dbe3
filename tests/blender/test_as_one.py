# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of one sound over several clips, such as the ambience of a scene of several cuts."""

from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent

AS_ONE = {"as_one": True}
SIZE = (320, 180)


@pytest.fixture
def clips(addon: Any, project: Path) -> list[Any]:
    """Three clips with a gap, on two channels, each with a flash, and a strip that hides one of the flashes."""
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = SIZE
    found = [
        edits.movie(project, frames=30, at=(10,), channel=3 + number % 2, start=1 + 32 * number, size=SIZE)
        for number in range(3)
    ]
    edits.effect("COLOR", channel=7, start=40, frames=10, name="cover").color = (0, 0, 0)
    return found


def the_sound() -> Any:
    (sound,) = (strip for strip in edits.edit().strips if strip.get("mmaudio"))
    return sound


def handles(addon: Any, strip: Any) -> tuple[int, int]:
    return addon.compat.left_handle(strip), addon.compat.right_handle(strip)


def test_the_whole_range_is_scored_as_it_is_seen_and_gets_one_sound(
    clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    (job,) = edits.generate(addon, *clips[::-1], options={**AS_ONE, "takes": 2}, prompt=project.name)

    assert job.error is None
    sound = the_sound()
    assert handles(addon, sound) == (1, 95)
    assert (sound.channel, sound.name) == (2, "clip and 2 more (MMAudio)")
    kept = sound["mmaudio"].to_dict()
    assert kept["clips"] == [clip["mmaudio_clip"] for clip in clips] and "clip" not in kept
    assert [take["take"] for take in kept["takes"]] == [1, 2]
    assert (kept["takes"][0]["lead"], job.request.tail, kept["takes"][0]["source"]) == (0, 0, "timeline")
    assert 94 < job.request.sound_frames <= 94 + 12
    run = standin.state()["runs"][-1]
    assert [round(time * 24) for time in run["clip"]["flashes"]] == [10, 74]
    assert max(map(abs, edits.offsets_ms(project, 1, 94))) < 1
    assert set(addon.strips.clips_of(sound)) == set(clips)


def test_generating_again_adds_takes_to_the_sound(clips: list[Any], addon: Any, standin: StandIn, project: Path) -> None:
    edits.generate(addon, *clips, options=AS_ONE)
    # The sound stands for its clips.
    edits.generate(addon, the_sound(), options=AS_ONE, seed=99)

    assert [take["seed"] for take in addon.takes.of(the_sound())] == [7, 99]
    # A sound of one of them alone is another strip.
    edits.generate(addon, clips[0])
    assert len([strip for strip in edits.edit().strips if strip.get("mmaudio")]) == 2


def test_the_sound_follows_clips_that_have_all_moved_together(
    clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    (job,) = edits.start(addon, *clips, options=AS_ONE)
    for clip in clips[::-1]:
        addon.compat.move_content(clip, 50)

    (done,) = edits.finish(addon, [job.id])

    assert (done.error, done.note) == (None, "")
    assert handles(addon, the_sound()) == (51, 145)


@pytest.mark.parametrize("change", ["one moved", "one deleted", "all deleted"])
def test_otherwise_it_stays_where_they_were_with_a_note(
    change: str, clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    (job,) = edits.start(addon, *clips, options=AS_ONE)
    if change == "one moved":
        addon.compat.move_content(clips[2], 50)
    else:
        for clip in clips if change == "all deleted" else clips[:1]:
            edits.edit().strips.remove(clip)

    (done,) = edits.finish(addon, [job.id])

    assert done.error is None
    assert "placed where" in done.note
    assert handles(addon, the_sound()) == (1, 95)


def test_a_job_that_was_interrupted_is_started_over_as_one(
    clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    (job,) = edits.start(addon, *clips, options=AS_ONE)
    addon.session.current.runner.cancel(job.id)
    (cancelled,) = edits.finish(addon, [job.id])
    assert cancelled.stage == "cancelled"

    again = addon.retrying.retry(cancelled, addon.page.config(bpy.context))
    (done,) = edits.finish(addon, [again.id])

    assert done.error is None
    assert handles(addon, the_sound()) == (1, 95)


def test_one_clip_as_one_is_a_clip_alone(clips: list[Any], addon: Any, standin: StandIn, project: Path) -> None:
    edits.generate(addon, clips[0], options=AS_ONE)

    assert the_sound()["mmaudio"]["clip"] == clips[0]["mmaudio_clip"]
