# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries in Blender's own menus, which makes the operators available in F3 search."""

from typing import Any

import bpy

from . import fade_operators, take_operators
from .operators import MMAUDIO_OT_generate


def _draw_generate(self: Any, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator(MMAUDIO_OT_generate.bl_idname, icon="SOUND")


def _draw_all(self: Any, context: bpy.types.Context) -> None:
    _draw_generate(self, context)
    for operator in (*take_operators.CLASSES, *fade_operators.CLASSES):
        if "INTERNAL" not in operator.bl_options:
            self.layout.operator(operator.bl_idname)


_MENUS = {
    "SEQUENCER_MT_add": _draw_generate,
    "SEQUENCER_MT_strip": _draw_all,
    "SEQUENCER_MT_context_menu": _draw_all,
}


def attach() -> None:
    for name, draw in _MENUS.items():
        getattr(bpy.types, name).append(draw)


def detach() -> None:
    for name, draw in _MENUS.items():
        getattr(bpy.types, name).remove(draw)
