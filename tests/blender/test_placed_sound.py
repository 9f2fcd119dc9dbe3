# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that the sound of each kind of strip has the handles of its strip and is in sync with its picture."""

from pathlib import Path
from typing import Any

import bpy
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent

CLICK_TOLERANCE_MS = 5.0


def trimmed_movie(addon: Any, folder: Path) -> Any:
    strip = edits.movie(folder)
    addon.compat.set_handles(strip, 18, 96)
    return strip


def image_sequence(addon: Any, folder: Path) -> Any:
    files = footage.images(folder / "frames", frames=40, at=[12, 30])
    return edits.image_strip(files, name="clip", channel=4, start=5, frames=len(files))


def meta_of_two(addon: Any, folder: Path) -> Any:
    first = edits.movie(folder, frames=40, at=(10, 25), channel=2, start=1)
    second = edits.movie(folder, frames=40, at=(15, 33), channel=3, start=41)
    meta = edits.edit().strips.new_meta(name="clip", channel=6, frame_start=1)
    for strip in (first, second):
        strip.move_to_meta(meta)
        addon.compat.set_right_handle(strip, addon.compat.right_handle(strip))
    addon.compat.set_handles(meta, 5, 78)
    return meta


def retimed_movie(addon: Any, folder: Path) -> Any:
    strip = edits.movie(folder, frames=48, at=(12, 36))
    end = addon.compat.right_handle(strip)
    edits.retime(addon, strip, percent=50)
    assert addon.compat.right_handle(strip) > end + 40
    return strip


def scene_through_its_camera(addon: Any, folder: Path) -> Any:
    """Add a scene strip with a plane that fills the view in two ranges of frames; the add-on renders it with Workbench."""
    shot: Any = bpy.data.scenes.new("shot")
    # Small, since 3D scenes are rendered in software here.
    for render in (bpy.context.scene.render, shot.render):
        render.resolution_x, render.resolution_y = 320, 180
    shot.render.engine = "CYCLES"
    shot.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    shot.camera.location = (0, 0, 5)
    shot.collection.objects.link(shot.camera)
    mesh = bpy.data.meshes.new("plane")
    mesh.from_pydata([(-9, -9, 0), (9, -9, 0), (9, 9, 0), (-9, 9, 0)], [], [(0, 1, 2, 3)])
    plane = bpy.data.objects.new("plane", mesh)
    shot.collection.objects.link(plane)
    for frame, hidden in ((1, True), (4, False), (5, True), (8, False), (9, True)):
        plane.hide_render = hidden
        plane.keyframe_insert("hide_render", frame=frame)
    shot.frame_start, shot.frame_end = 1, 10
    shot.render.film_transparent = True
    return edits.edit().strips.new_scene(name="clip", scene=shot, channel=3, frame_start=4)


CASES = [
    pytest.param(trimmed_movie, marks=pytest.mark.every_version),
    image_sequence,
    meta_of_two,
    retimed_movie,
    scene_through_its_camera,
]


@pytest.mark.parametrize("case", CASES)
def test_the_sound_has_the_handles_of_its_strip_and_clicks_where_the_picture_flashes(
    case: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    strip = case(addon, project)
    left, right = addon.compat.left_handle(strip), addon.compat.right_handle(strip)

    (job,) = edits.generate(addon, strip)

    assert job.error is None
    sound = edits.edit().strips[job.takes[0].sound.strip]
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (left, right)
    assert sound.channel == strip.channel - 1
    assert sound.show_waveform
    mute_other_sounds()
    use_workbench()
    offsets = edits.offsets_ms(project, left, right - 1)
    print(f"{case.__name__}: worst {max(offsets, key=abs):+.2f} ms of {len(offsets)} clicks")
    assert max(map(abs, offsets)) < CLICK_TOLERANCE_MS


def mute_other_sounds() -> None:
    """Mute all sounds except those that the add-on has placed."""
    for strip in edits.edit().strips_all:
        if strip.type == "SOUND":
            strip.mute = strip.get("mmaudio") is None


def use_workbench() -> None:
    """Assert that the add-on has not changed the engine of 3D scenes; then set Workbench, which renders faster."""
    for shot in bpy.data.scenes:
        if shot != bpy.context.scene:
            assert shot.render.engine == "CYCLES"
            shot.render.engine = "BLENDER_WORKBENCH"
