# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of the edit as a small .blend, for the background render. Main thread, milliseconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ..jobs.request import Snapshot
from . import compat, isolate

# Strips that bring datablocks along, which may weigh gigabytes. Every other strip weighs next to nothing.
_HEAVY = ("SCENE", "SOUND", "MASK", "MOVIECLIP")


def take(scene: bpy.types.Scene, names: Sequence[str] | None, blend: Path) -> Snapshot:
    """Writes `scene`'s edit to `blend`, with all that the named strips' pictures need, or, without names, the whole of it.

    The scene stays as it is.
    """
    # Scene strips bring their scenes along, and those may bring others.
    for other in bpy.data.scenes:
        compat.make_writable(other)
    copy: Any = scene.copy()
    try:
        _leave_behind(copy, names)
        blend.parent.mkdir(parents=True, exist_ok=True)
        # A media file that lies beside the project is named by its whole path, since the copy lies elsewhere.
        bpy.data.libraries.write(str(blend), {copy}, path_remap="ABSOLUTE")
        return Snapshot(blend, copy.name)
    finally:
        bpy.data.scenes.remove(copy)


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
