# SPDX-License-Identifier: GPL-3.0-or-later
"""User interface in the Sequencer: sidebar, menus, operators, settings and the timer that drives the jobs."""

import bpy

from . import (
    fade_operators,
    failures,
    generate,
    job_list,
    job_operators,
    job_panel,
    menus,
    panels,
    progress,
    prompts,
    queue_operators,
    settings,
    take_operators,
    ticker,
)

_MODULES = (
    settings,
    prompts,
    generate,
    take_operators,
    fade_operators,
    queue_operators,
    job_operators,
    job_list,
    failures,
    panels,
    job_panel,
    progress,
    menus,
)
"""Modules with classes, dependencies first; unregistered in reverse."""
_ATTACHED = (settings, prompts, job_list, progress, menus, ticker)
"""Modules that attach something to Blender's own classes, after the classes are registered."""


def register() -> None:
    for module in _MODULES:
        for cls in module.CLASSES:
            bpy.utils.register_class(cls)
    for module in _ATTACHED:
        module.attach()


def unregister() -> None:
    for module in reversed(_ATTACHED):
        module.detach()
    for module in reversed(_MODULES):
        for cls in reversed(module.CLASSES):
            bpy.utils.unregister_class(cls)
