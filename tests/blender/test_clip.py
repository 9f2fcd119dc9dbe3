# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the clip that the service receives: the strip alone as it is displayed, small, silent, its last frame held."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent

GREY = 60
"""Brightness of the footage between its flashes, from 0 to 255."""


def sent(standin: StandIn, prompt: str) -> dict[str, Any]:
    """Return the properties of the clip, and the duration, of the run with this prompt."""
    (run,) = (run for run in standin.state()["runs"] if run["input"].get("prompt") == prompt)
    return {**run["clip"], "duration": run["input"]["duration"]}


def clip_of(addon: Any, standin: StandIn, project: Path, strip: Any) -> dict[str, Any]:
    prompt = project.name
    (job,) = edits.generate(addon, strip, prompt=prompt)
    assert job.error is None
    return sent(standin, prompt)


@pytest.mark.parametrize("size", [(1280, 720), (1998, 1080), (720, 1280), (3840, 2160), (640, 360), (333, 251)])
def test_the_clip_is_small_and_silent_and_holds_its_last_frame(
    size: tuple[int, int], addon: Any, standin: StandIn, project: Path
) -> None:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = size
    strip = edits.movie(project, frames=48, at=(20,))

    clip = clip_of(addon, standin, project, strip)

    assert clip["width"] % 2 == clip["height"] % 2 == 0
    assert min(size[0] * 0.8, 300) < min(clip["width"], clip["height"]) <= 384 or min(size) < 384
    assert clip["width"] <= size[0] and clip["height"] <= size[1]
    assert clip["width"] / clip["height"] == pytest.approx(size[0] / size[1], rel=0.02)
    assert (clip["codec"], clip["pixels"], clip["audio"]) == ("h264", "yuv420p", 0)
    assert (clip["first"], clip["fps"]) == (0.0, "24")
    # 48 frames are 2 s; the next duration that the model supports is 2.24 s, and the last frame within it is the 54th.
    assert clip["duration"] == 2.24
    assert clip["frames"] == 54
    assert max(clip["motion"][49:]) < 2.0 < max(clip["motion"][:48])
    assert clip["flashes"] == [pytest.approx(20 / 24)]


def test_only_the_strip_is_rendered_even_if_others_are_above_it_or_it_is_muted(
    addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=30, at=(10,), channel=2)
    above = edits.movie(project, frames=30, at=(20,), channel=5)
    strip.mute = True
    edits.edit().channels[2].mute = True

    clip = clip_of(addon, standin, project, strip)

    assert clip["flashes"] == [pytest.approx(10 / 24)]
    assert strip.mute and not above.mute


def test_crop_flip_and_opacity_are_rendered(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, at=(10,))
    strip.crop.max_y = 360
    strip.use_flip_x = True
    strip.color_multiply = 0.5

    clip = clip_of(addon, standin, project, strip)

    # Half of the picture is cropped and the rest is half as bright, so the flash is too dark to count as one.
    assert clip["flashes"] == []
    assert clip["means"][5] == pytest.approx(GREY / 4, abs=6)
    assert clip["means"][10] == pytest.approx(250 / 4, abs=8)


def test_effect_strip_shows_its_inputs(addon: Any, standin: StandIn, project: Path) -> None:
    first = edits.movie(project, frames=40, at=(20,), channel=1, start=1)
    second = edits.movie(project, frames=40, at=(20,), channel=2, start=11)
    cross = edits.effect("CROSS", first, second, channel=4, start=11, name="cross")
    assert (addon.compat.left_handle(cross), addon.compat.right_handle(cross)) == (11, 41)

    clip = clip_of(addon, standin, project, cross)

    # An input on its own shows its own picture, not the effect's.
    alone = clip_of(addon, standin, project / "input", first)
    assert alone["means"][38] == pytest.approx(alone["means"][2], abs=2) and alone["flashes"] == [pytest.approx(20 / 24)]
    # The first clip flashes ten frames into the cross, the second twenty, each at two thirds of its brightness.
    assert [frame for frame, mean in enumerate(clip["means"]) if mean > 2 * GREY] == [10, 20]


@pytest.mark.parametrize("kind", ["COLOR", "TEXT"])
def test_generated_strips_have_a_picture(kind: str, addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.effect(kind, channel=2, frames=24)
    if kind == "COLOR":
        strip.color = (1, 1, 1)
    else:
        strip.text, strip.font_size = "MMMM", 300

    clip = clip_of(addon, standin, project, strip)

    assert clip["means"][0] > (150 if kind == "COLOR" else 10)


def test_adjustment_strip_shows_the_strips_below_it(addon: Any, standin: StandIn, project: Path) -> None:
    edits.movie(project, frames=40, at=(20,), channel=1, start=1)
    strip = edits.effect("ADJUSTMENT", channel=4, start=11, name="grade")

    clip = clip_of(addon, standin, project, strip)

    assert clip["flashes"] == [pytest.approx(10 / 24)]


def test_strip_inside_a_meta_strip(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, at=(10,), channel=2, start=1)
    other = edits.movie(project, frames=30, at=(20,), channel=4, start=1)
    meta = edits.make_meta(strip, other)

    (job,) = edits.generate(addon, strip, prompt=project.name)

    assert job.error is None
    assert sent(standin, project.name)["flashes"] == [pytest.approx(10 / 24)]
    assert job.takes[0].sound.strip in [part.name for part in meta.strips]


def test_frames_per_second_are_exact(addon: Any, standin: StandIn, project: Path) -> None:
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 30, 1.001
    strip = edits.movie(project, frames=30, at=(10,))

    clip = clip_of(addon, standin, project, strip)

    assert Fraction(clip["fps"]) == Fraction(30000, 1001)
    assert addon.strips.fps(scene) == Fraction(30000, 1001)


def test_scene_strip_that_shows_another_edit_is_scaled_as_a_whole(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=24, at=(10,), start=1)
    other: Any = bpy.data.scenes.new("other edit")
    other.render.resolution_x, other.render.resolution_y, other.render.fps = 1280, 720, 24
    other.frame_start, other.frame_end = 1, 24
    nested = other.sequence_editor_create().strips.new_movie(
        name="clip", filepath=strip.filepath, channel=1, frame_start=1, fit_method="STRETCH"
    )
    # A quarter of the picture: if its scale were lost, it would fill a larger part of the smaller frame.
    nested.transform.scale_x = nested.transform.scale_y = 0.5
    scene_strip = edits.edit().strips.new_scene(name="nested", scene=other, channel=6, frame_start=1)
    scene_strip.scene_input = "SEQUENCER"

    clip = clip_of(addon, standin, project, scene_strip)

    whole = clip_of(addon, standin, project / "whole", _white(scene_strip, other))["means"][0]
    # A flash of 250 is nearly white.
    assert clip["means"][10] == pytest.approx(whole / 4, rel=0.08)
    assert other.render.resolution_percentage == 100


def _white(scene_strip: Any, other: Any) -> Any:
    """Replace the strips in the scene strip's edit by a white color strip; return the scene strip."""
    for strip in list(other.sequence_editor.strips):
        other.sequence_editor.strips.remove(strip)
    strip = edits.effect("COLOR", channel=1, frames=24, name="white", into=other)
    strip.color = (1, 1, 1)
    return scene_strip


def test_multicam_and_multiplied_strips_have_a_picture(addon: Any, standin: StandIn, project: Path) -> None:
    edits.movie(project, frames=40, at=(20,), channel=1, start=1)
    multicam = edits.effect("MULTICAM", channel=4, start=11, name="multicam")
    multicam.multicam_source = 1
    multiplied = edits.movie(project, frames=30, at=(5,), channel=6, start=11)
    multiplied.blend_type = "MULTIPLY"

    jobs = edits.generate(addon, multicam, multiplied)

    assert [job.error for job in jobs] == [None, None]
    clips = [run["clip"] for run in standin.state()["runs"][-2:]]
    assert sorted(clip["flashes"] for clip in clips) == [[pytest.approx(5 / 24)], [pytest.approx(10 / 24)]]


def test_the_picture_below_an_adjustment_strip_ends_with_it(addon: Any, standin: StandIn, project: Path) -> None:
    edits.movie(project, frames=96, at=(35,), channel=1, start=1)
    strip = edits.effect("ADJUSTMENT", channel=4, start=11, frames=24, name="grade")

    clip = clip_of(addon, standin, project, strip)

    # Its 24 frames are followed by seven held frames; in the second of those, the footage below has a flash.
    assert clip["frames"] == 31
    assert clip["flashes"] == []
