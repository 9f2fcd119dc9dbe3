# SPDX-License-Identifier: GPL-3.0-or-later
"""URL of the clip that the artist has published: one for each scene, kept until Blender closes.

Anyone who has the URL can read the clip, so it is saved in no file. Its property belongs to the preferences, not to the
scene: Blender writes values that are typed into properties of a scene to its crash text, but not those of the preferences.
"""

from typing import Any

import bpy
from bpy.props import StringProperty

from .. import session
from ..timeline import compat


def of(scene: bpy.types.Scene) -> str:
    return session.current.clip_urls.get(scene.session_uid, "")


def set_url(scene: bpy.types.Scene, url: str) -> None:
    session.current.clip_urls[scene.session_uid] = url.strip()


def field() -> Any:
    """Return a property of the preferences for the URL of the edited scene."""
    return StringProperty(
        name="Clip URL",
        description="Public https URL of an mp4 that shows what the strip shows. It is kept until Blender closes",
        get=_get,
        set=_set,
    )


def _get(_: Any) -> str:
    scene = compat.edited_scene(bpy.context)
    return "" if scene is None else of(scene)


def _set(_: Any, value: str) -> None:
    scene = compat.edited_scene(bpy.context)
    if scene is not None:
        set_url(scene, value)
