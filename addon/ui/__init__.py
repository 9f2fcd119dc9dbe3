# SPDX-License-Identifier: GPL-3.0-or-later
"""User interface in the Sequencer: sidebar, menus, operators, settings and the timer that drives the jobs."""

import bpy

from . import fade_operators, menus, operators, panels, settings, take_operators, ticker

# Dependencies first; unregistered in reverse.
_CLASSES = (
    *settings.CLASSES,
    *operators.CLASSES,
    *take_operators.CLASSES,
    *fade_operators.CLASSES,
    *panels.CLASSES,
)


def register() -> None:
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    settings.attach()
    menus.attach()
    ticker.attach()


def unregister() -> None:
    ticker.detach()
    menus.detach()
    settings.detach()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
