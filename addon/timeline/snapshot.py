# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the edit as small .blend files, for the background render. Main thread, milliseconds."""

import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import bpy

from ..jobs.model.request import Snapshot, Span
from . import compat, isolate, simulations
from .strip_types import Edit, PictureStrip

_TYPES_WITH_DATA = ("SCENE", "SOUND", "MASK", "MOVIECLIP")
"""Types of strips that refer to datablocks, which may take gigabytes. All other strips take next to nothing."""


def write(scene: bpy.types.Scene, shown: Mapping[str, Span] | None, blend: Path) -> Snapshot:
    """Write the scene's edit to `blend`: what the pictures of the named strips depend on in these frames, or everything.

    The scene stays unchanged. If simulations are baked in memory, the whole project is written.
    """
    # Scene strips refer to other scenes, and these to further ones.
    for other in bpy.data.scenes:
        compat.make_writable(other)
    copy: Any = scene.copy()
    try:
        _remove_unneeded(copy, shown)
        shows_scenes = any(strip.type == "SCENE" for strip in copy.sequence_editor.strips_all)
        bakes = simulations.find_bakes() if shows_scenes else simulations.Bakes()
        simulations.store(copy, bakes)
        blend.parent.mkdir(parents=True, exist_ok=True)
        if bakes.in_memory:
            _save_whole_project(copy, blend)
        else:
            with _without_hidden_objects(copy):
                # The copy is in another folder than the project, so paths of media files must be absolute.
                bpy.data.libraries.write(str(blend), {copy}, path_remap="ABSOLUTE")
        return Snapshot(blend, copy.name, bakes.in_memory)
    finally:
        bpy.data.scenes.remove(copy)


def delete(snapshot: Snapshot) -> None:
    """Delete the snapshot, with the caches that simulations in it have written."""
    # If that fails, `clear_leftovers` does so later.
    with suppress(OSError):
        snapshot.blend.unlink(missing_ok=True)
    shutil.rmtree(simulations.cache_folder(snapshot.blend), ignore_errors=True)


def scenes_in(strips: Iterable[PictureStrip]) -> list[bpy.types.Scene]:
    """Return the 3D scenes that the strips show, at any depth."""
    parts = [part for strip in strips for part, _, _ in isolate.dependencies(strip, *isolate.frame_range(strip))]
    found = [part.scene for part in parts if part.type == "SCENE" and part.scene and part.scene_input == "CAMERA"]
    return list(dict.fromkeys(found))


@contextmanager
def _without_hidden_objects(copy: Any) -> Generator[None]:
    """Let the copy's strips show scenes without the objects hidden in renders, which may be most of the scenes' data.

    Objects that a visible one refers to are written nevertheless.
    """
    reduced: dict[Any, Any] = {}
    edit: Edit = copy.sequence_editor
    for strip in edit.strips_all:
        if strip.type != "SCENE" or strip.scene_input != "CAMERA" or not strip.scene or not _is_copyable(strip.scene):
            continue
        scene = strip.scene
        if scene not in reduced and _removable(scene):
            reduced[scene] = scene.copy()
            compat.make_writable(reduced[scene])
            for unlink, item in _removable(reduced[scene]):
                unlink(item)
        strip.scene = reduced.get(scene, scene)
    try:
        yield
    finally:
        for scene in reduced.values():
            bpy.data.scenes.remove(scene)


def _is_copyable(scene: Any) -> bool:
    """Return whether a copy of the scene renders the same. It may not if anything refers to the scene, such as a driver."""
    if scene.library or scene.rigidbody_world or scene.animation_data or compat.has_compositor(scene):
        return False
    users = bpy.data.user_map(subset=[scene])[scene]
    return all(user.id_type in ("SCENE", "WORKSPACE", "WINDOWMANAGER", "SCREEN") for user in users)


def _removable(scene: Any) -> list[tuple[Callable[[Any], None], Any]]:
    """Return the top-level objects and collections that no render shows, each preceded by the function that unlinks it."""
    root = scene.collection
    layers = [layer.layer_collection for layer in scene.view_layers if layer.use]
    found = [(root.objects.unlink, item) for item in root.objects if item.hide_render and _is_inert(item)]
    for child in root.children:
        excluded = all(layer.children[child.name].exclude for layer in layers)
        animated = getattr(child, "animation_data", None)
        if (child.hide_render or excluded) and not animated and all(map(_is_inert, child.all_objects)):
            found.append((root.children.unlink, child))
    return found


def _is_inert(item: Any) -> bool:
    """Return whether a hidden object can't affect the render: it influences no other object, and isn't shown later."""
    is_active = item.modifiers or item.particle_systems or item.rigid_body or item.animation_data
    return not is_active and (item.field is None or item.field.type == "NONE")


def _save_whole_project(copy: Any, blend: Path) -> None:
    """Save a copy of the whole project, which includes the point caches that `libraries.write` loses."""
    copy.use_fake_user = True
    paths, data = bpy.context.preferences.filepaths, bpy.data
    preview, autopack = paths.file_preview_type, data.use_autopack
    # No preview image in the system's folder, and no media packed into the user's project.
    paths.file_preview_type, data.use_autopack = "NONE", False
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(blend), copy=True, relative_remap=True, check_existing=False)
    finally:
        paths.file_preview_type, data.use_autopack = preview, autopack


def _remove_unneeded(copy: Any, shown: Mapping[str, Span] | None) -> None:
    """Remove strips and objects from the copy that aren't shown, but refer to data."""
    edit: Edit = copy.sequence_editor
    if shown is None:
        needed = {strip.name for strip in edit.strips_all if strip.type != "SOUND"}
    else:
        ranges = [(strip, span) for name, span in shown.items() if (strip := edit.strips_all[name]).type != "SOUND"]
        parts = [part for strip, span in ranges for part in isolate.dependencies(strip, span.start, span.end)]
        needed = {part.name for part, _, _ in parts if part.id_data == copy}
    for name in [strip.name for strip in edit.strips_all if strip.type in _TYPES_WITH_DATA and strip.name not in needed]:
        strip = edit.strips_all.get(name)
        if strip is not None:
            isolate.container(strip).strips.remove(strip)
    for item in list(copy.collection.objects):
        copy.collection.objects.unlink(item)
    for item in list(copy.collection.children):
        copy.collection.children.unlink(item)
    copy.camera = None
    copy.world = None
