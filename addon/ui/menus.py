# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate Sound in Blender's own menus, and so in F3 search."""

from typing import Any

import bpy

from .operators import MMAUDIO_OT_generate

_MENUS = ("SEQUENCER_MT_add", "SEQUENCER_MT_strip", "SEQUENCER_MT_context_menu")


def _draw(self: Any, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator(MMAUDIO_OT_generate.bl_idname, icon="SOUND")


def attach() -> None:
    for name in _MENUS:
        getattr(bpy.types, name).append(_draw)


def detach() -> None:
    for name in _MENUS:
        getattr(bpy.types, name).remove(_draw)
