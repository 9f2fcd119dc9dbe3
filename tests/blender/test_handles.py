# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the handles of sounds: what is rendered and heard beyond both ends of a clip."""

import wave
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent

SIZE = (320, 180)
FLASHES = (8, 30, 50, 92)
"""The first and the last one are within half a second of the clip's ends, 18 and 82, but beyond them."""


def movie(addon: Any, project: Path) -> Any:
    return edits.movie(project, frames=100, at=FLASHES, start=1, channel=4, size=SIZE)


def image_sequence(addon: Any, project: Path) -> Any:
    files = footage.images(project / "frames", frames=100, at=list(FLASHES))
    return edits.image_strip(files, name="clip", channel=4, start=1, frames=len(files))


def meta(addon: Any, project: Path) -> Any:
    strip = edits.make_meta(movie(addon, project))
    strip.name = "clip"
    return strip


def edit_of_another_scene(addon: Any, project: Path) -> Any:
    other: Any = bpy.data.scenes.new("other")
    other.render.fps = bpy.context.scene.render.fps
    other.render.resolution_x, other.render.resolution_y = SIZE
    other.frame_start, other.frame_end = 1, 100
    clip = footage.flashes(project / "other.mp4", frames=100, at=FLASHES, size=SIZE)
    other.sequence_editor_create().strips.new_movie(name="inner", filepath=str(clip), channel=1, frame_start=1)
    strip = edits.edit().strips.new_scene(name="clip", scene=other, channel=4, frame_start=1)
    strip.scene_input = "SEQUENCER"
    return strip


def movie_in_a_meta(addon: Any, project: Path) -> Any:
    strip = movie(addon, project)
    meta = edits.make_meta(strip)
    addon.compat.set_handles(meta, 4, 99)
    return strip


@pytest.fixture(params=[movie, image_sequence, meta, edit_of_another_scene, movie_in_a_meta])
def clip(request: Any, addon: Any, project: Path) -> Any:
    """A clip with more picture beyond both ends, between neighbors that have other pictures."""
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = SIZE
    strip = request.param(addon, project)
    addon.compat.set_handles(strip, 18, 82)
    addon.compat.set_handles(strip, 18, 82)
    parent = addon.strips.isolate.container(strip)
    for start, end in ((5, 18), (82, 98)):
        if parent == edits.edit():
            neighbor = edits.effect("COLOR", channel=strip.channel, start=start, frames=end - start, name="neighbor")
            neighbor.color = (0.9, 0.9, 0.9)
    return strip


def test_the_picture_beyond_the_ends_is_scored_and_heard_there(
    clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    (job,) = edits.generate(addon, clip, prompt=project.name)

    assert job.error is None
    request = job.request
    assert (request.lead, request.tail) == (12, 12)
    (run,) = (run for run in standin.state()["runs"] if run["input"].get("prompt") == project.name)
    flashes = [round(time * 24) for time in run["clip"]["flashes"]]
    # The clip begins 12 frames before the strip, whose first frame is the movie's 17th.
    assert flashes == [flash - 17 + 12 for flash in FLASHES]
    assert run["clip"]["frames"] <= round(request.windows[0].duration * 24) + 1
    sound = bpy.context.scene.sequence_editor.strips_all[job.takes[0].sound.strip]
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (18, 82)
    assert sound["mmaudio"]["takes"][0]["lead"] == 12
    assert sound["mmaudio"]["takes"][0]["length"] == request.sound_frames >= 12 + 64 + 12
    # The strip was moved to no other channel in the artist's edit.
    assert (addon.compat.left_handle(clip), addon.compat.right_handle(clip)) == (18, 82)


def test_clicks_are_in_time_before_and_after_an_edge_is_dragged(
    clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    edits.generate(addon, clip)
    (sound,) = (strip for strip in bpy.context.scene.sequence_editor.strips_all if strip.get("mmaudio"))
    first = bpy.context.scene.frame_start = 1
    bpy.context.scene.frame_end = 110
    wanted = [(flash + 1 - first) / 24 for flash in FLASHES]
    # The neighbors have no sound.
    assert edits.click_times(project) == pytest.approx(wanted[1:3], abs=0.001)

    addon.compat.set_handles(sound, 7, 94)

    assert edits.click_times(project) == pytest.approx(wanted, abs=0.001)
    # A sound everywhere, no silence.
    samples = np.abs(file_samples(addon, sound).astype(float))[441:-441]
    blocks = samples[: len(samples) // 441 * 441].reshape(-1, 441)
    assert blocks.max(axis=1).min() > 100


def file_samples(addon: Any, sound: Any) -> "np.ndarray":
    with wave.open(bpy.path.abspath(sound.sound.filepath)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())[:, 0]


def test_missing_images_beyond_the_handles_are_not_noted_and_what_is_visible_is_held_there(
    addon: Any, standin: StandIn, project: Path
) -> None:
    clip = image_sequence(addon, project)
    addon.compat.set_handles(clip, 18, 82)
    for number in (8, 9):
        (project / "frames" / clip.elements[number].filename).unlink()

    (job,) = edits.generate(addon, clip, prompt=project.name)

    assert (job.error, job.note, job.request.lead) == (None, "", 12)
    (run,) = (run for run in standin.state()["runs"] if run["input"].get("prompt") == project.name)
    assert [round(time * 24) for time in run["clip"]["flashes"]] == [flash - 17 + 12 for flash in FLASHES[1:3]]
    motion = run["clip"]["motion"]
    assert max(motion[:12]) < 2 < max(motion[12:76])
    (sound,) = (strip for strip in edits.edit().strips if strip.get("mmaudio"))
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (18, 82)


def test_a_movie_at_another_rate_has_handles_in_frames_of_the_edit(addon: Any, standin: StandIn, project: Path) -> None:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = SIZE
    flashes = [start + frame for start in (40, 75, 110) for frame in range(5)]
    file = footage.flashes(project / "60.mp4", fps="60", frames=240, at=flashes, size=SIZE)
    clip = edits.add_movie(file, channel=4, start=1)
    assert addon.compat.right_handle(clip) == 97
    addon.compat.set_handles(clip, 25, 70)

    (job,) = edits.generate(addon, clip)

    assert (job.error, job.request.lead, job.request.tail) == (None, 12, 12)
    offsets = edits.offsets_ms(project, 25, 69)
    assert len(offsets) == 2 and max(map(abs, offsets)) < 1


def test_a_strip_without_more_picture_has_the_surplus_of_its_run(addon: Any, standin: StandIn, project: Path) -> None:
    clip = edits.effect("COLOR", channel=4, start=10, frames=26, name="clip")

    (job,) = edits.generate(addon, clip)

    request = job.request
    assert (request.lead, request.tail) == (0, 0)
    assert request.sound_frames == min(38, int(request.windows[0].duration * 24)) > 26


def test_a_sound_over_an_edge_of_its_file_has_no_click_there(addon: Any, standin: StandIn, project: Path) -> None:
    clip = movie(addon, project)

    edits.generate(addon, clip)

    (sound,) = (strip for strip in edits.edit().strips if strip.get("mmaudio"))
    samples = np.abs(file_samples(addon, sound).astype(float))
    assert samples[0] < 20 and samples[-1] < 20
