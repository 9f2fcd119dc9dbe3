# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strips can be given a sound, and which frames of them are seen."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..failure import Failure
from ..jobs.job import Span
from . import compat, isolate

PROPERTY = "mmaudio"
"""Where a sound strip that the add-on made keeps what it was made with."""


def has_picture(strip: Any) -> bool:
    return strip.type != "SOUND"


def selected(context: bpy.types.Context) -> Sequence[Any]:
    """The selected strips of the Sequencer's level, those without a picture too."""
    if compat.edited_scene(context) is None:
        return ()
    return context.selected_strips or ()


def every(scene: bpy.types.Scene) -> list[Any]:
    """All strips of the edit's top level that have a picture of their own, muted ones left out."""
    edit = scene.sequence_editor
    return [strip for strip in edit.strips if has_picture(strip) and not strip.mute] if edit else []


def find(scene_name: str, strip_name: str) -> tuple[bpy.types.Scene | None, Any]:
    """The scene and the strip as they are now, each None where it is gone. Names are what survives an undo."""
    scene = bpy.data.scenes.get(scene_name)
    if scene is None or scene.sequence_editor is None:
        return scene, None
    return scene, scene.sequence_editor.strips_all.get(strip_name)


def span(strip: Any) -> Span:
    return Span(compat.left_handle(strip), compat.right_handle(strip))


def fps(scene: bpy.types.Scene) -> Fraction:
    """Frames per second, exact: 29.97 is 30000/1001, which Blender keeps as 30 over a base of about 1.001."""
    # fps_base is a 32-bit float; the real bases (1, 1.001, 1.0/…) have small denominators.
    base = Fraction(scene.render.fps_base).limit_denominator(1001)
    return Fraction(scene.render.fps) / base


def check(scene: bpy.types.Scene | None, strip: Any) -> None:
    """Raises Failure where the strip can't be rendered, before anything is sent."""
    if scene is None or strip is None:
        raise Failure("no_strip", "The strip is gone.", "Select a strip and generate again.")
    if not has_picture(strip):
        raise Failure("no_picture", f"“{strip.name}” has no picture.", "Select a movie, image, scene or effect strip.")
    for part in isolate.made_of(scene, strip):
        for path in _files(part):
            if not path.exists():
                raise Failure(
                    "missing_file",
                    f"“{strip.name}”: its file is missing: {path}",
                    "Find it with File > External Data > Find Missing Files, or choose it in the strip's properties.",
                )
        if part.type == "SCENE" and part.scene is None:
            raise Failure("missing_scene", f"“{strip.name}” shows a scene that no longer exists.", "Choose another scene.")
        if part.type == "SCENE" and part.scene_input == "CAMERA" and not (part.scene_camera or part.scene.camera):
            text = f"“{strip.name}” shows the scene “{part.scene.name}”, which has no camera."
            raise Failure("no_camera", text, "Give the scene a camera, or choose one in the strip's properties.")


def _files(strip: Any) -> Iterator[Path]:
    """The media files that a strip plays, as absolute paths."""
    if strip.type == "MOVIE":
        yield Path(bpy.path.abspath(strip.filepath))
    elif strip.type == "IMAGE":
        folder = Path(bpy.path.abspath(strip.directory))
        for element in strip.elements:
            yield folder / element.filename
