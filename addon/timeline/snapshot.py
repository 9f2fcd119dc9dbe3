# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the edit as a small .blend, for the background render. Main thread, milliseconds."""

import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import bpy

from ..jobs.model.request import Snapshot
from . import compat, isolate, simulations

# Strips that bring datablocks along, which may weigh gigabytes. Every other strip weighs next to nothing.
_HEAVY = ("SCENE", "SOUND", "MASK", "MOVIECLIP")


def take(scene: bpy.types.Scene, names: Sequence[str] | None, blend: Path) -> Snapshot:
    """Writes `scene`'s edit to `blend`, with all that the named strips' pictures need, or, without names, the whole of it.

    The scene stays as it is. Where simulations are baked in memory, the whole project is written.
    """
    # Scene strips bring their scenes along, and those may bring others.
    for other in bpy.data.scenes:
        compat.make_writable(other)
    copy: Any = scene.copy()
    try:
        _leave_behind(copy, names)
        shows_scenes = any(strip.type == "SCENE" for strip in copy.sequence_editor.strips_all)
        bakes = simulations.find() if shows_scenes else simulations.Bakes()
        simulations.keep(copy, bakes)
        blend.parent.mkdir(parents=True, exist_ok=True)
        if bakes.in_memory:
            _save_whole_project(copy, blend)
        else:
            with _without_hidden(copy):
                # A media file that lies beside the project is named by its whole path, since the copy lies elsewhere.
                bpy.data.libraries.write(str(blend), {copy}, path_remap="ABSOLUTE")
        return Snapshot(blend, copy.name, bakes.in_memory)
    finally:
        bpy.data.scenes.remove(copy)


def drop(taken: Snapshot) -> None:
    """Removes the copy, with what the simulations in it have written."""
    # Where it can't be removed, `clear_leftovers` finds it later.
    with suppress(OSError):
        taken.blend.unlink(missing_ok=True)
    shutil.rmtree(simulations.folder_beside(taken.blend), ignore_errors=True)


def scenes_in(strips: Iterable[Any]) -> list[Any]:
    """The 3D scenes that the strips show, at any depth."""
    parts = [part for strip in strips for part, _, _ in isolate.made_of(strip, *isolate.handles(strip))]
    found = [part.scene for part in parts if part.type == "SCENE" and part.scene and part.scene_input == "CAMERA"]
    return list(dict.fromkeys(found))


@contextmanager
def _without_hidden(copy: Any) -> Generator[None]:
    """Lets the copy's strips show scenes without what is hidden in renders, which may be most of their data.

    What a visible object refers to is written all the same.
    """
    slim: dict[Any, Any] = {}
    for strip in copy.sequence_editor.strips_all:
        scene = strip.scene if strip.type == "SCENE" and strip.scene_input == "CAMERA" else None
        if scene is None or not _may_be_copied(scene):
            continue
        if scene not in slim and _hidden(scene):
            slim[scene] = scene.copy()
            compat.make_writable(slim[scene])
            for unlink, item in _hidden(slim[scene]):
                unlink(item)
        strip.scene = slim.get(scene, scene)
    try:
        yield
    finally:
        for scene in slim.values():
            bpy.data.scenes.remove(scene)


def _may_be_copied(scene: Any) -> bool:
    """Whether a copy of the scene shows the same: nothing refers to the scene itself, as drivers of its objects may."""
    if scene.library or scene.rigidbody_world or scene.animation_data or compat.has_compositor(scene):
        return False
    users = bpy.data.user_map(subset=[scene])[scene]
    return all(user.id_type in ("SCENE", "WORKSPACE", "WINDOWMANAGER", "SCREEN") for user in users)


def _hidden(scene: Any) -> list[tuple[Callable[[Any], None], Any]]:
    """Objects and collections at the top of the scene that no render shows, each with what takes it out of there."""
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
    """Whether an object that isn't seen has no part in what is: it moves nothing, and isn't shown later."""
    acts = item.modifiers or item.particle_systems or item.rigid_body or item.animation_data
    return not acts and (item.field is None or item.field.type == "NONE")


def _save_whole_project(copy: Any, blend: Path) -> None:
    """Saves a copy of the project, which keeps point caches; `libraries.write` loses them."""
    copy.use_fake_user = True
    paths, data = bpy.context.preferences.filepaths, bpy.data
    preview, autopack = paths.file_preview_type, data.use_autopack
    # Neither a picture of the window in the system's folder, nor the artist's media in the project.
    paths.file_preview_type, data.use_autopack = "NONE", False
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(blend), copy=True, relative_remap=True, check_existing=False)
    finally:
        paths.file_preview_type, data.use_autopack = preview, autopack


def _leave_behind(copy: Any, names: Sequence[str] | None) -> None:
    """Takes out of the copy what drags data along that isn't shown."""
    edit = copy.sequence_editor
    if names is None:
        shown = {strip.name for strip in edit.strips_all if strip.type != "SOUND"}
    else:
        strips = [edit.strips_all[name] for name in names]
        parts = [part for strip in strips for part in isolate.made_of(strip, *isolate.handles(strip))]
        shown = {part.name for part, _, _ in parts if part.id_data == copy}
    for name in [strip.name for strip in edit.strips_all if strip.type in _HEAVY and strip.name not in shown]:
        strip = edit.strips_all.get(name)
        if strip is not None:
            isolate.level(strip).strips.remove(strip)
    for item in list(copy.collection.objects):
        copy.collection.objects.unlink(item)
    for item in list(copy.collection.children):
        copy.collection.children.unlink(item)
    copy.camera = None
    copy.world = None
