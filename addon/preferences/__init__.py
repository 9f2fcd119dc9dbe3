# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of the add-on: its page, its secrets, the webhook, and a module for each storage."""

import bpy

from . import operators, page, storage_test

_CLASSES = (*page.CLASSES, *operators.CLASSES)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    storage_test.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
