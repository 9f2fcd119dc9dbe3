# SPDX-License-Identifier: GPL-3.0-or-later
"""The address of the clip that the artist has published by hand: one a scene, until Blender closes.

Whoever has it can read the clip, so no file has it. What is typed into a field of a scene Blender tells in its crash text;
of a field of the preferences it says nothing.
"""

from typing import Any

import bpy
from bpy.props import StringProperty

from ..timeline import compat

_by_scene: dict[int, str] = {}


def of(scene: bpy.types.Scene) -> str:
    return _by_scene.get(scene.session_uid, "")


def give(scene: bpy.types.Scene, url: str) -> None:
    _by_scene[scene.session_uid] = url.strip()


def field() -> Any:
    """That of the scene that is being edited, as the artist sees it; a property of the preferences."""
    return StringProperty(
        name="Address of the Clip",
        description="The public https address of an mp4 that shows what the strip shows. It is kept until Blender closes",
        get=_shown,
        set=_typed,
    )


def _shown(_: Any) -> str:
    scene = compat.edited_scene(bpy.context)
    return "" if scene is None else of(scene)


def _typed(_: Any, value: str) -> None:
    scene = compat.edited_scene(bpy.context)
    if scene is not None:
        give(scene, value)
