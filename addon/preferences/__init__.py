# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of the add-on: its page, its secrets, keys, the webhook, and a module for each storage."""

import bpy

from . import keymap, operators, page, redraw

_CLASSES = (*page.CLASSES, *operators.CLASSES)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    keymap.attach()


def unregister() -> None:
    redraw.detach()
    keymap.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
