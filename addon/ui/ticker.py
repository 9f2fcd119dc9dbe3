# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the work go on while Blender's window is open: a timer on the main thread, only while there are jobs."""

import logging

import bpy

from .. import generation

log = logging.getLogger(__name__)

_BUSY_SECONDS = 0.1
# How long a closing Blender, or the add-on's removal, waits for uploads to be deleted and runs to be cancelled.
_FAREWELL_SECONDS = 2.0


def start() -> None:
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_BUSY_SECONDS, persistent=True)


def stop() -> None:
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    generation.runner.stop(_FAREWELL_SECONDS)


def redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()


def _tick() -> float | None:
    try:
        if generation.advance():
            redraw()
    except Exception:
        # An exception would end the timer, and with it every job's way into the edit.
        log.exception("the timer")
    return _BUSY_SECONDS if generation.runner.busy else None
