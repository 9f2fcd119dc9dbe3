# SPDX-License-Identifier: GPL-3.0-or-later
"""Submenu in Blender's own menus, from which F3 search finds the operators."""

from typing import Any

import bpy

from ..preferences import page
from . import fade_operators, generate, job_operators, queue_operators, take_operators

_MENUS = (
    "SEQUENCER_MT_add",
    "SEQUENCER_MT_strip",
    "SEQUENCER_MT_context_menu",
    "SEQUENCER_MT_preview_context_menu",
)
_BUTTON_MENU = "UI_MT_button_context_menu"
_GROUPS = (
    generate.CLASSES,
    take_operators.CLASSES,
    fade_operators.CLASSES,
    queue_operators.CLASSES,
    job_operators.CLASSES,
)


class MMAUDIO_MT_mmaudio(bpy.types.Menu):
    bl_label = "MMAudio"

    def draw(self, context: Any) -> None:
        layout: Any = self.layout
        # The dialogs of operators, where they ask.
        layout.operator_context = "INVOKE_REGION_WIN"
        for number, group in enumerate(_GROUPS):
            if number:
                layout.separator()
            for operator in group:
                if "INTERNAL" not in operator.bl_options:
                    layout.operator(operator.bl_idname, icon="SOUND" if number == 0 else "NONE")


def _draw(self: Any, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(MMAUDIO_MT_mmaudio.__name__, icon="SOUND")


def _draw_shortcut(self: Any, context: Any) -> None:
    """Lead to the keys for buttons of operators that have none; for those that have one, Blender offers to change it."""
    operator = getattr(context, "button_operator", None)
    if operator is not None and operator.bl_rna.identifier.startswith("MMAUDIO_OT_"):
        self.layout.separator()
        self.layout.operator("preferences.addon_show", text="Set Shortcuts of MMAudio", icon="KEYINGSET").module = page.ADDON


CLASSES = (MMAUDIO_MT_mmaudio,)


def attach() -> None:
    for name in _MENUS:
        getattr(bpy.types, name).append(_draw)
    getattr(bpy.types, _BUTTON_MENU).append(_draw_shortcut)


def detach() -> None:
    getattr(bpy.types, _BUTTON_MENU).remove(_draw_shortcut)
    for name in _MENUS:
        getattr(bpy.types, name).remove(_draw)
