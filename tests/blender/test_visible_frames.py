# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that the clip shows what is displayed: within meta strips, for an ordinary screen, with a still end, at any rate."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits
from .test_clip import GREY, clip_of, sent


@pytest.mark.version_dependent
def test_a_strip_is_rendered_within_its_meta_strip(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=60, at=(20,), start=1)
    other = edits.movie(project, frames=60, at=(30,), channel=5, start=1)
    meta = edits.make_meta(strip, other)
    # The meta strip is scaled down, half as bright, and trimmed.
    meta.transform.scale_x = meta.transform.scale_y = 0.5
    meta.color_multiply = 0.5
    addon.compat.set_handles(meta, 11, 51)

    (job,) = edits.generate(addon, strip, prompt=project.name)

    assert job.error is None
    clip = sent(standin, project.name)
    # 40 frames are 1.67 s. The tenth visible frame is a flash, at an eighth of its brightness.
    assert clip["duration"] == pytest.approx(1.92)
    assert clip["means"][5] == pytest.approx(GREY / 8, abs=3)
    assert clip["means"][10] == pytest.approx(250 / 8, abs=5)
    assert clip["means"][20] == pytest.approx(GREY / 8, abs=3)
    sound = meta.strips[job.takes[0].sound.strip]
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (11, 51)


@pytest.mark.version_dependent
def test_a_strip_that_its_meta_strip_does_not_show_is_rejected(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, start=1)
    later = edits.movie(project, frames=30, channel=5, start=41)
    meta = edits.make_meta(strip, later)
    addon.compat.set_handles(meta, 41, 71)

    (job,) = edits.generate(addon, strip)

    assert job.error.code == "not_seen" and "“clip”" in job.error.message


@pytest.mark.version_dependent
@pytest.mark.parametrize("kind", ["ADJUSTMENT", "MULTICAM"])
def test_the_picture_below_an_input_of_a_transition_is_rendered(
    kind: str, addon: Any, standin: StandIn, project: Path
) -> None:
    edits.movie(project, frames=60, at=(20,), channel=1, start=1)
    through = edits.effect(kind, channel=2, start=1, frames=60)
    if kind == "MULTICAM":
        through.multicam_source = 1
    black = edits.effect("COLOR", channel=3, start=11, frames=50)
    black.color = (0, 0, 0)
    cross = edits.effect("CROSS", through, black, channel=4)

    clip = clip_of(addon, standin, project, cross)

    # The cross starts at frame 11; a fifth of the way through, most of the flash is still visible.
    assert [frame for frame, mean in enumerate(clip["means"]) if mean > 2 * GREY] == [10]
    assert clip["means"][2] == pytest.approx(GREY * 0.95, abs=6)


DISPLAYS = ["Display P3", "Rec.2100-PQ", "Rec.2100-HLG"]


@pytest.mark.version_dependent
@pytest.mark.parametrize("display", DISPLAYS)
def test_a_clip_is_for_an_ordinary_screen_whatever_the_project_is_for(
    display: str, addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=24, at=(10,), start=1)
    scene = bpy.context.scene
    # Anything but the factory settings: the view transform is kept then, as it is for other displays.
    scene.view_settings.use_curve_mapping = True
    plain = clip_of(addon, standin, project, strip)
    try:
        scene.display_settings.display_device = display
    except TypeError:
        pytest.skip(f"Blender {bpy.app.version_string} has no {display}")
    scene.render.image_settings.color_management = "OVERRIDE"
    scene.render.image_settings.display_settings.display_device = display

    clip = clip_of(addon, standin, project / f"{project.name}-{display}", strip)

    assert (clip["pixels"], clip["color_range"]) == ("yuv420p", "limited")
    assert clip["means"][:24] == pytest.approx(plain["means"][:24], abs=2)


@pytest.mark.parametrize("size", [(12_000, 100), (100, 12_000), (4000, 8)])
def test_no_side_is_longer_than_the_model_can_use(
    size: tuple[int, int], addon: Any, standin: StandIn, project: Path
) -> None:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = size
    strip = edits.effect("COLOR", channel=2, frames=24)

    clip = clip_of(addon, standin, project, strip)

    assert max(clip["width"], clip["height"]) <= 1536
    assert clip["width"] % 2 == clip["height"] % 2 == 0
    assert (clip["width"] > clip["height"]) == (size[0] > size[1])


@pytest.mark.version_dependent
@pytest.mark.parametrize("by", ["keys", "a driver"])
def test_held_frames_are_still(by: str, addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=24, at=(), start=1)
    if by == "keys":
        for frame, brightness in ((1, 0.0), (40, 4.0)):
            strip.color_multiply = brightness
            strip.keyframe_insert("color_multiply", frame=frame)
    else:
        strip.driver_add("color_multiply").driver.expression = "frame / 25"

    clip = clip_of(addon, standin, project, strip)

    assert clip["means"][23] > clip["means"][10] + 10 > clip["means"][2] + 15
    assert clip["means"][24:] == pytest.approx([clip["means"][23]] * len(clip["means"][24:]), abs=1)


def see_through(strip: Any) -> Any:
    strip.blend_alpha = 0.5
    return strip


def fade_out(strip: Any) -> Any:
    for frame, alpha in ((1, 1.0), (24, 0.1)):
        strip.blend_alpha = alpha
        strip.keyframe_insert("blend_alpha", frame=frame)
    return strip


def in_a_faint_meta_strip(strip: Any) -> Any:
    meta = edits.make_meta(strip)
    meta.blend_alpha = 0.4
    return meta


def title(strip: Any) -> Any:
    text = edits.effect("TEXT", channel=7, frames=24)
    text.text, text.font_size, text.use_shadow = "MMMM", 300, True
    return text


@pytest.mark.version_dependent
@pytest.mark.parametrize("change", [see_through, fade_out, in_a_faint_meta_strip, title])
def test_the_last_frame_is_held_transparent_or_not(
    change: Callable[[Any], Any], addon: Any, standin: StandIn, project: Path
) -> None:
    strip = change(edits.movie(project, frames=24, at=(12,), start=1))

    clip = clip_of(addon, standin, project, strip)

    assert clip["means"][24:] == pytest.approx([clip["means"][23]] * len(clip["means"][24:]), abs=1)


@pytest.mark.version_dependent
def test_a_strip_is_rendered_with_the_effect_on_its_meta_strip(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=60, at=(40,), start=1)
    meta = edits.make_meta(strip)
    speed = edits.effect("SPEED", meta, channel=meta.channel + 1)
    speed.speed_control, speed.speed_factor = "MULTIPLY", 2.0

    clip = clip_of(addon, standin, project, strip)

    assert clip["flashes"] == [pytest.approx(20 / 24, abs=1 / 24)]


@pytest.mark.parametrize("fps", ["23.976", "12", "7.5", "15", "29.97", "48", "59.94", "120"])
def test_at_any_rate_a_clip_fills_its_run(fps: str, addon: Any, standin: StandIn, project: Path) -> None:
    scene = bpy.context.scene
    rate = Fraction(fps)
    scene.render.fps = max(round(rate), 1)
    scene.render.fps_base = float(Fraction(1001, 1000) if fps in ("23.976", "29.97", "59.94") else scene.render.fps / rate)
    scene.render.resolution_x, scene.render.resolution_y = 160, 90
    frames = [round(seconds * rate) for seconds in (2.5, 4.48, 7)]
    strips = [edits.effect("COLOR", channel=channel, frames=length) for channel, length in enumerate(frames, 2)]

    jobs = edits.generate(addon, *strips, prompt=project.name)

    # The double records a violation if a clip fills fewer motion segments than the duration of its run requires.
    assert [job.error for job in jobs] == [None] * 3
    runs = [run for run in standin.state()["runs"] if run["input"].get("prompt") == project.name]
    assert sorted(run["input"]["duration"] for run in runs) == [
        pytest.approx(float(job.request.windows[0].duration)) for job in jobs
    ]


@pytest.mark.version_dependent
def test_only_the_sound_of_the_clips_own_file_is_muted(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, start=1)
    other = footage.flashes(project / "narration.mp4", frames=30, at=())
    own, narration = (
        edits.edit().strips.new_sound(name=name, filepath=str(path), channel=channel, frame_start=1)
        for channel, (name, path) in enumerate((("own", strip.filepath), ("narration", other)), 5)
    )
    for chosen in edits.edit().strips:
        chosen.select = True
    edits.edit().active_strip = strip
    if bpy.app.version >= (5, 0):
        with edits.sequencer():
            bpy.ops.sequencer.connect(toggle=False)
        assert set(addon.compat.connected_strips(strip)) == {own, narration}

    (job,) = edits.generate(addon, strip, options={"mute_own_sound": True})

    assert job.error is None
    assert (own.mute, narration.mute) == (True, False)
