# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees."""

import bpy

from ..preferences import page, storage_fields, storage_test
from . import menus, operators, panels, settings, ticker

# In the order in which they need one another; undone in reverse.
_CLASSES = (*page.CLASSES, *settings.CLASSES, *operators.CLASSES, *panels.CLASSES)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    settings.attach()
    menus.attach()
    ticker.attach()


def unregister() -> None:
    ticker.detach()
    storage_test.detach()
    storage_fields.detach()
    menus.detach()
    settings.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
