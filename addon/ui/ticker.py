# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the work go on while Blender's window is open: a timer on the main thread, only while there are jobs."""

import logging
import time

import bpy

from .. import generation

log = logging.getLogger(__name__)

_BUSY_SECONDS = 0.1
_REDRAW_SECONDS = 0.25
# How long a closing Blender, or the add-on's removal, waits for uploads to be deleted and runs to be cancelled.
_FAREWELL_SECONDS = 2.0

# Whether something changed that the sidebars don't show yet, and when they were last drawn anew.
_unseen = False
_redrawn = 0.0


def start() -> None:
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_BUSY_SECONDS, persistent=True)


def stop() -> None:
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    generation.runner.stop(_FAREWELL_SECONDS)


def redraw() -> None:
    """Draws the sidebars anew, where the jobs are shown, and nothing else: a redraw of strips or preview is dear."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def _tick() -> float | None:
    global _unseen, _redrawn
    try:
        _unseen = bool(generation.advance()) or _unseen
        if _unseen and (time.monotonic() - _redrawn > _REDRAW_SECONDS or not generation.runner.busy):
            _unseen, _redrawn = False, time.monotonic()
            redraw()
    except Exception:
        # An exception would end the timer, and with it every job's way into the edit.
        log.exception("the timer")
    return _BUSY_SECONDS if generation.runner.busy else None
