# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of `--all-strips`, which selects what a viewer would call shots; a clip and effects on it alone are one shot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent


@pytest.fixture
def clip(project: Path) -> Path:
    return footage.flashes(project / "clip.mp4", frames=60, at=(20,))


def add(clip: Path, name: str, *, channel: int, start: int = 1, frames: int = 60) -> Any:
    strip = edits.edit().strips.new_movie(
        name=name, filepath=str(clip), channel=channel, frame_start=start, fit_method="STRETCH"
    )
    edits.set_end(strip, start + frames)
    return strip


def found(addon: Any) -> list[str]:
    return [strip.name for strip in addon.scope.in_edit(bpy.context.scene)[0]]


def left_out(addon: Any) -> dict[str, str]:
    return {other.strip: other.reason for other in addon.scope.in_edit(bpy.context.scene)[1]}


def test_strips_that_are_not_shots_are_skipped_with_a_reason(addon: Any, clip: Path) -> None:
    first, second = add(clip, "first", channel=1), add(clip, "second", channel=2, start=51)
    edits.effect("CROSS", first, second, channel=3, name="cross")
    edits.effect("TEXT", channel=4, name="title")
    edits.effect("ADJUSTMENT", channel=5, name="grade")
    edits.effect("COLOR", channel=1, start=200, name="black")
    add(clip, "off", channel=6).mute = True
    add(clip, "on a muted channel", channel=7)
    edits.edit().channels[7].mute = True

    assert found(addon) == ["first", "second"]
    assert left_out(addon) == {
        "cross": "a transition",
        "title": "a title",
        "grade": "an adjustment layer",
        "black": "a plain color",
        "off": "muted or transparent",
        "on a muted channel": "muted or transparent",
    }


def test_a_clip_under_effects_is_one_shot(addon: Any, clip: Path) -> None:
    strip = add(clip, "fast", channel=1)
    speed = edits.effect("SPEED", strip, channel=2)
    glow = edits.effect("GLOW", speed, channel=3)

    assert found(addon) == ["fast"]
    assert left_out(addon) == {}
    assert addon.shots.clips([glow, speed, strip]) == [strip]
    assert addon.shots.topmost_effects([strip]) == [glow]
    glow.mute = True
    assert addon.shots.topmost_effects([strip]) == [speed]


def test_a_composite_of_two_strips_is_a_shot_in_place_of_them(addon: Any, clip: Path) -> None:
    actor, background = add(clip, "actor", channel=1), add(clip, "background", channel=2)
    edits.effect("ALPHA_OVER", background, actor, channel=3, name="both")
    assert found(addon) == ["both"]
    assert left_out(addon) == dict.fromkeys(("actor", "background"), "hidden by other strips")


def scaled(strip: Any) -> None:
    strip.transform.scale_x *= 0.5


def moved(strip: Any) -> None:
    strip.transform.offset_x = 20


def turned(strip: Any) -> None:
    strip.transform.rotation = 0.1


def cropped(strip: Any) -> None:
    strip.crop.max_y = 10


def faint(strip: Any) -> None:
    strip.blend_alpha = 0.9


def fading(strip: Any) -> None:
    strip.blend_alpha = 0.0
    strip.keyframe_insert("blend_alpha", frame=1)
    strip.blend_alpha = 1.0
    strip.keyframe_insert("blend_alpha", frame=10)


def added(strip: Any) -> None:
    strip.blend_type = "ADD"


def muted(strip: Any) -> None:
    strip.mute = True


def larger(strip: Any) -> None:
    strip.transform.scale_x *= 1.5
    strip.transform.scale_y *= 1.5
    strip.transform.rotation = 0.05


def replacing(strip: Any) -> None:
    strip.transform.scale_x *= 0.5
    strip.blend_type = "REPLACE"


@pytest.mark.parametrize("change", [scaled, moved, turned, cropped, faint, fading, added, muted])
def test_a_strip_is_visible_through_or_beside_one_above_it(change: Callable[[Any], None], addon: Any, clip: Path) -> None:
    add(clip, "below", channel=1)
    change(add(clip, "above", channel=2))
    assert "below" in found(addon)


@pytest.mark.parametrize("change", [larger, replacing, lambda strip: None], ids=["larger", "replacing", "as it is"])
def test_a_strip_is_hidden_below_an_opaque_one_that_fills_the_frame(
    change: Callable[[Any], None], addon: Any, clip: Path
) -> None:
    add(clip, "below", channel=1, start=5, frames=50)
    change(add(clip, "above", channel=2))
    assert found(addon) == ["above"]
    assert left_out(addon) == {"below": "hidden by other strips"}


def test_several_strips_hide_one_together_but_not_with_a_gap(addon: Any, clip: Path) -> None:
    add(clip, "below", channel=1)
    add(clip, "left", channel=2, frames=30)
    right = add(clip, "right", channel=3, start=31, frames=30)
    assert found(addon) == ["left", "right"]
    addon.compat.set_handles(right, 32, 61)
    assert found(addon) == ["below", "left", "right"]


def image(path: Path, *, alpha: float) -> Path:
    made: Any = bpy.data.images.new("made", 1280, 720, alpha=True)
    made.pixels.foreach_set(np.tile(np.array([0.2, 0.2, 0.2, alpha], np.float32), 1280 * 720))
    made.filepath_raw, made.file_format = str(path), "PNG"
    made.save()
    bpy.data.images.remove(made)
    return path


@pytest.mark.parametrize(("alpha", "shots"), [(0.5, ["below", "above"]), (1.0, ["above"])])
def test_an_image_hides_what_is_below_if_no_pixel_of_it_is_transparent(
    alpha: float, shots: list[str], addon: Any, clip: Path, project: Path
) -> None:
    add(clip, "below", channel=1)
    picture = image(project / f"alpha {alpha}.png", alpha=alpha)
    above = edits.edit().strips.new_image(
        name="above", filepath=str(picture), channel=2, frame_start=1, fit_method="STRETCH"
    )
    addon.compat.set_right_handle(above, 61)
    assert found(addon) == shots


def test_a_clip_is_rendered_with_its_speed_effect_whichever_is_selected(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=60, at=(40,), channel=2, start=1)
    speed = edits.effect("SPEED", strip, channel=3)
    speed.speed_control = "MULTIPLY"
    speed.speed_factor = 2.0

    jobs = edits.generate(addon, speed, strip, prompt=project.name)

    (job,) = jobs
    assert job.error is None
    (run,) = (run for run in standin.state()["runs"] if run["input"].get("prompt") == project.name)
    assert run["clip"]["flashes"] == [pytest.approx(20 / 24, abs=1 / 24)]
    sound = edits.edit().strips[job.takes[0].sound.strip]
    assert sound["mmaudio"]["clip"] == strip["mmaudio_clip"] and "mmaudio_clip" not in speed
    assert sound.name.startswith(strip.name)


def glow_in_a_corner(clip: Path) -> None:
    glow = edits.effect("GLOW", add(clip, "above", channel=2), channel=3)
    glow.transform.scale_x = glow.transform.scale_y = 0.4


def cross_in_a_corner(clip: Path) -> None:
    cross = edits.effect("CROSS", add(clip, "above", channel=2), add(clip, "other", channel=3), channel=4)
    cross.transform.scale_x = cross.transform.scale_y = 0.4


def multicam_of_nothing(clip: Path) -> None:
    edits.effect("MULTICAM", channel=5, frames=60).multicam_source = 3


def multicam_of_a_small_picture(clip: Path) -> None:
    scaled(add(clip, "small", channel=2))
    edits.effect("MULTICAM", channel=5, frames=60).multicam_source = 2


def title_added_to_a_clip(clip: Path) -> None:
    edits.effect("ADD", edits.effect("TEXT", channel=2, frames=60), add(clip, "above", channel=3), channel=4)


def edit_that_ends_early(clip: Path) -> None:
    other: Any = bpy.data.scenes.new("other edit")
    other.render.resolution_x, other.render.resolution_y = 1280, 720
    other.frame_start, other.frame_end = 1, 60
    inner = other.sequence_editor_create().strips.new_movie(
        name="inner", filepath=str(clip), channel=1, frame_start=1, fit_method="STRETCH"
    )
    edits.set_end(inner, 31)
    edits.edit().strips.new_scene(name="above", scene=other, channel=2, frame_start=1).scene_input = "SEQUENCER"


@pytest.mark.parametrize(
    "put_above",
    [
        glow_in_a_corner,
        cross_in_a_corner,
        multicam_of_nothing,
        multicam_of_a_small_picture,
        title_added_to_a_clip,
        edit_that_ends_early,
    ],
)
def test_a_strip_above_is_not_considered_opaque(put_above: Callable[[Path], None], addon: Any, clip: Path) -> None:
    add(clip, "below", channel=1)
    put_above(clip)
    assert "below" in found(addon)


def test_the_cameras_of_a_multicam_are_hidden_by_it(addon: Any, clip: Path) -> None:
    add(clip, "first camera", channel=1)
    add(clip, "second camera", channel=2)
    edits.effect("MULTICAM", channel=5, frames=60, name="cut").multicam_source = 1
    assert found(addon) == ["cut"]


@pytest.mark.parametrize("kind", ["TEXT", "COLOR", "SOUND", "muted movie"])
def test_a_meta_strip_without_a_shot_is_none(kind: str, addon: Any, clip: Path) -> None:
    if kind == "SOUND":
        part = edits.edit().strips.new_sound(name="sound", filepath=str(clip), channel=2, frame_start=1)
    elif kind == "muted movie":
        part = add(clip, "off", channel=2)
        part.mute = True
    else:
        part = edits.effect(kind, channel=2)
    meta = edits.make_meta(part)
    assert found(addon) == []
    assert left_out(addon) == {meta.name: "a meta strip without a shot"}


def test_a_title_above_a_part_of_a_clip_does_not_add_a_shot(addon: Any, clip: Path) -> None:
    shot, title = add(clip, "shot", channel=1), edits.effect("TEXT", channel=2, start=15, frames=10)
    edits.effect("ALPHA_OVER", shot, title, channel=3, name="over")
    assert found(addon) == ["shot"]
    assert left_out(addon) == {"TEXT": "a title", "over": "a part of “shot”"}
