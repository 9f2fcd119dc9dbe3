# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees."""

import bpy

from .. import generation
from . import menus, operators, panels, preferences, settings, ticker

# In the order in which they need one another; undone in reverse.
_CLASSES = (*preferences.CLASSES, *settings.CLASSES, *operators.CLASSES, *panels.CLASSES)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    settings.attach()
    menus.attach()
    bpy.app.handlers.load_post.append(generation.on_load)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(generation.on_load)
    ticker.stop()
    menus.detach()
    settings.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
