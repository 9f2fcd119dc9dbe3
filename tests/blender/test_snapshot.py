# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that the copy of the edit contains what its 3D scenes need to be rendered, and no objects that are never visible."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from . import edits

pytestmark = pytest.mark.version_dependent

HEAVY_BYTES = 200_000 * 12


@pytest.fixture
def scene(project: Path) -> Any:
    """3D scene with a camera, shown by the strip "shot"."""
    scene: Any = bpy.data.scenes.new("shot")
    scene.frame_end = 10
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    edits.edit().strips.new_scene(name="shot", scene=scene, channel=2, frame_start=1)
    return scene


def heavy() -> Any:
    mesh = bpy.data.meshes.new("heavy")
    mesh.vertices.add(HEAVY_BYTES // 12)
    return bpy.data.objects.new("heavy", mesh)


def in_a_hidden_collection(scene: Any, item: Any) -> None:
    hidden = bpy.data.collections.new("hidden")
    hidden.objects.link(item)
    hidden.hide_render = True
    scene.collection.children.link(hidden)


def in_an_excluded_collection(scene: Any, item: Any) -> None:
    hidden = bpy.data.collections.new("excluded")
    hidden.objects.link(item)
    scene.collection.children.link(hidden)
    scene.view_layers[0].update()
    scene.view_layers[0].layer_collection.children["excluded"].exclude = True


def hidden(scene: Any, item: Any) -> None:
    item.hide_render = True
    scene.collection.objects.link(item)


def visible(scene: Any, item: Any) -> None:
    scene.collection.objects.link(item)


def visible_later(scene: Any, item: Any) -> None:
    hidden(scene, item)
    item.keyframe_insert("hide_render", frame=1)


def hidden_but_a_force(scene: Any, item: Any) -> None:
    hidden(scene, item)
    with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0], object=item, active_object=item):
        bpy.ops.object.forcefield_toggle()


def hidden_but_referenced(scene: Any, item: Any) -> None:
    hidden(scene, item)
    other = bpy.data.objects.new("cut", bpy.data.meshes.new("cut"))
    boolean: Any = other.modifiers.new("Boolean", "BOOLEAN")
    boolean.object = item
    scene.collection.objects.link(other)


def hidden_in_a_scene_that_a_driver_reads(scene: Any, item: Any) -> None:
    """Hide the object and add a driver that reads the scene: in a copy of the scene, it would still read the original."""
    hidden(scene, item)
    target = scene.camera.driver_add("location", 0).driver.variables.new().targets[0]
    target.id_type, target.id, target.data_path = "SCENE", scene, "frame_current"


@pytest.mark.parametrize(
    ("place", "written"),
    [
        (hidden_in_a_scene_that_a_driver_reads, True),
        (in_a_hidden_collection, False),
        (in_an_excluded_collection, False),
        (hidden, False),
        (visible, True),
        (visible_later, True),
        (hidden_but_a_force, True),
        (hidden_but_referenced, True),
    ],
)
def test_objects_that_no_render_shows_are_not_written(
    place: Callable[[Any, Any], None], written: bool, addon: Any, scene: Any, project: Path
) -> None:
    place(scene, heavy())
    scenes = set(bpy.data.scenes)

    shown = {"shot": addon.strips.span(edits.edit().strips["shot"])}
    taken = addon.snapshot.write(bpy.context.scene, shown, project / "copy.blend")

    assert (taken.blend.stat().st_size > HEAVY_BYTES) is written
    assert set(bpy.data.scenes) == scenes
    assert edits.edit().strips["shot"].scene == scene
