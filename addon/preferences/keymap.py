# SPDX-License-Identifier: GPL-3.0-or-later
"""Default keys, free in Blender's own keymaps of 4.5 and 5.2 (also with right-click select, and Industry Compatible)."""

from typing import Any

import bpy
import rna_keymap_ui

_KEYMAP = "Sequencer"
_KEYS: dict[str, dict[str, Any]] = {
    "mmaudio.generate": {"type": "G", "ctrl": True, "shift": True},
    "mmaudio.next_take": {"type": "RIGHT_BRACKET", "alt": True},
    "mmaudio.previous_take": {"type": "LEFT_BRACKET", "alt": True},
}
_WITHOUT_KEY = (
    "mmaudio.keep_take",
    "mmaudio.unpack_takes",
    "mmaudio.reuse_settings",
    "mmaudio.crossfade_sounds",
    "mmaudio.fade_edges",
    "mmaudio.pause",
    "mmaudio.cancel_all",
    "mmaudio.retry_failed",
    "mmaudio.clear_jobs",
)
"""Operators for which the artist may set a key in the preferences."""


def attach() -> None:
    # Without a window there are no keymaps.
    keyconfig: Any = bpy.context.window_manager.keyconfigs.addon
    if keyconfig is not None:
        keymap = keyconfig.keymaps.new(name=_KEYMAP, space_type="SEQUENCE_EDITOR")
        for operator, key in _KEYS.items():
            keymap.keymap_items.new(operator, value="PRESS", **key)
        for operator in _WITHOUT_KEY:
            keymap.keymap_items.new(operator, type="NONE", value="PRESS")


def detach() -> None:
    keyconfig: Any = bpy.context.window_manager.keyconfigs.addon
    if keyconfig is not None:
        items: Any = keyconfig.keymaps[_KEYMAP].keymap_items
        for item in [item for item in items if item.idname in (*_KEYS, *_WITHOUT_KEY)]:
            items.remove(item)


def draw(layout: Any, context: bpy.types.Context) -> None:
    """Draw the keys, to be changed."""
    keyconfig: Any = context.window_manager.keyconfigs.user
    keymap = keyconfig.keymaps.get(_KEYMAP)
    for item in keymap.keymap_items if keymap is not None else ():
        if item.idname in (*_KEYS, *_WITHOUT_KEY):
            layout.context_pointer_set("keymap", keymap)
            rna_keymap_ui.draw_kmi([], keyconfig, keymap, item, layout, 0)
