# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the channel that the sounds of an edit share."""

from pathlib import Path
from typing import Any

import bpy
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent


def add(project: Path, channel: int, start: int, frames: int = 30) -> Any:
    clip = footage.flashes(project / "clip.mp4", frames=30, at=(12,), size=(320, 180))
    strip = edits.edit().strips.new_movie(name="clip", filepath=str(clip), channel=channel, frame_start=start)
    edits.set_end(strip, start + frames)
    return strip


def color(channel: int, start: int, frames: int = 30) -> Any:
    return edits.effect("COLOR", channel=channel, start=start, frames=frames, name="other")


def channels(*jobs: Any) -> list[int]:
    assert [job.error for job in jobs] == [None] * len(jobs)
    return [job.takes[0].sound.channel for job in jobs]


def test_a_batch_on_two_picture_channels_has_one_track_below_them(addon: Any, standin: StandIn, project: Path) -> None:
    clips = [add(project, 5 if number % 2 else 4, 1 + 30 * number) for number in range(12)]
    # In the way of one of them.
    color(3, 100, 5)

    jobs = edits.generate(addon, *clips)

    assert channels(*jobs) == [2] * 12
    assert {strip.channel for strip in edits.edit().strips if strip.type == "MOVIE"} == {4, 5}


def test_later_sounds_go_to_the_track_of_earlier_ones_wherever_that_is(addon: Any, standin: StandIn, project: Path) -> None:
    first, second = add(project, 5, 1), add(project, 7, 31)
    (job,) = edits.generate(addon, first)
    assert channels(job) == [4]
    edits.edit().strips[job.takes[0].sound.strip].channel = 9

    assert channels(*edits.generate(addon, second)) == [9]


def test_a_sound_leaves_the_track_only_where_something_lies_in_the_way(addon: Any, standin: StandIn, project: Path) -> None:
    clips = [add(project, 4, 1), add(project, 6, 31), add(project, 4, 61)]
    edits.generate(addon, clips[0])
    color(3, 45, 5)

    # Not on channel 5, between the pictures.
    assert channels(*edits.generate(addon, *clips[1:])) == [2, 3]


def test_sounds_are_above_the_highest_picture_where_nothing_below_is_free(
    addon: Any, standin: StandIn, project: Path
) -> None:
    clips = [add(project, 1, 1), add(project, 3, 31)]

    assert channels(*edits.generate(addon, *clips)) == [4, 4]


def test_above_is_asked_for(addon: Any, standin: StandIn, project: Path) -> None:
    clips = [add(project, 4, 1), add(project, 6, 31)]

    assert channels(*edits.generate(addon, *clips, options={"above": True})) == [7, 7]


def test_locked_and_muted_channels_are_left_alone(addon: Any, standin: StandIn, project: Path) -> None:
    clip = add(project, 5, 1)
    edits.edit().channels[4].lock = True
    edits.edit().channels[3].mute = True

    assert channels(*edits.generate(addon, clip)) == [2]


def test_a_setting_names_the_channel(addon: Any, standin: StandIn, project: Path) -> None:
    clips = [add(project, 2, 1), add(project, 2, 31)]
    color(9, 40, 5)

    assert channels(*edits.generate(addon, *clips, options={"sound_channel": 9})) == [9, 8]


def test_a_meta_strip_has_a_track_of_its_own(addon: Any, standin: StandIn, project: Path) -> None:
    parts = [add(project, 4, 1), add(project, 6, 31)]
    meta = edits.make_meta(*parts)
    outside = add(project, 9, 61)

    jobs = edits.generate(addon, *meta.strips, outside)

    inside = [strip for strip in meta.strips if strip.type == "SOUND"]
    assert {sound.channel for sound in inside} == {min(part.channel for part in parts) - 1}
    assert channels(jobs[2]) == [8]
    assert len(inside) == 2 and bpy.context.scene.sequence_editor.strips.get(jobs[0].takes[0].sound.strip) is None


def test_parts_of_a_clip_that_overlap_have_sounds_on_two_channels(addon: Any, standin: StandIn, project: Path) -> None:
    clip = add(project, 5, 1)
    (job,) = edits.start(addon, clip)
    with edits.sequencer():
        for other in edits.edit().strips:
            other.select = other == clip
        bpy.ops.sequencer.split(frame=16, type="SOFT", side="RIGHT")
    right = max(edits.edit().strips, key=addon.compat.left_handle)
    right.channel = 6
    addon.compat.move_content(right, -10)

    edits.finish(addon, [job.id])

    made = [strip for strip in edits.edit().strips if strip.type == "SOUND"]
    assert len(made) == 2 and len({sound.channel for sound in made}) == 2


def test_a_track_between_the_pictures_of_a_batch_is_not_used_for_it(addon: Any, standin: StandIn, project: Path) -> None:
    first = add(project, 5, 1)
    assert channels(*edits.generate(addon, first)) == [4]
    clips = [add(project, 3, 31), add(project, 6, 61)]

    assert channels(*edits.generate(addon, *clips)) == [2, 2]


def test_a_batch_leaves_a_locked_track_together(addon: Any, standin: StandIn, project: Path) -> None:
    assert channels(*edits.generate(addon, add(project, 5, 1))) == [4]
    edits.edit().channels[4].lock = True
    clips = [add(project, 5, 31), add(project, 5, 61), add(project, 5, 91)]
    color(3, 65, 5)

    assert channels(*edits.generate(addon, *clips)) == [2, 2, 2]


def test_with_pictures_on_the_lowest_and_the_highest_channel_sounds_are_between_them(
    addon: Any, standin: StandIn, project: Path
) -> None:
    clips = [add(project, 1, 1), add(project, 128, 31)]

    assert all(1 < channel < 128 for channel in channels(*edits.generate(addon, *clips)))
