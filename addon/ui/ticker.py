# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the work go on while Blender's window is open: a timer on the main thread, only while there are jobs."""

import logging
import time

import bpy

from .. import generation, resuming
from ..failure import Failure
from ..preferences import page

log = logging.getLogger(__name__)

_BUSY_SECONDS = 0.1
_REDRAW_SECONDS = 0.25
_LOOK_SECONDS = 0.5
# How often it is looked whether there are a key and online access by now, for jobs that wait for them.
_ACCESS_SECONDS = 2.0
# How long a closing Blender, or the add-on's removal, waits for threads to see that they are to end.
_FAREWELL_SECONDS = 2.0

# Whether something changed that the sidebars don't show yet, and when they were last drawn anew.
_unseen = False
_redrawn = 0.0


def start() -> None:
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_BUSY_SECONDS, persistent=True)


def attach() -> None:
    bpy.app.handlers.load_post.append(_on_load)
    bpy.app.handlers.save_pre.append(_before_save)
    bpy.app.handlers.save_post.append(_on_save)
    _look_soon()


def detach() -> None:
    bpy.app.handlers.load_post.remove(_on_load)
    bpy.app.handlers.save_pre.remove(_before_save)
    bpy.app.handlers.save_post.remove(_on_save)
    for timer in (_tick, _look, _look_again):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    generation.leave(_FAREWELL_SECONDS)


@bpy.app.handlers.persistent
def _on_load(*_: object) -> None:
    resuming.mark_left_behind()
    _look_soon()


@bpy.app.handlers.persistent
def _before_save(file: str, *_: object) -> None:
    try:
        resuming.saving(file, page.config(bpy.context))
    except Exception:
        # Whatever is wrong with sounds, the artist's file is saved.
        log.exception("bringing sounds along")


@bpy.app.handlers.persistent
def _on_save(file: str, *_: object) -> None:
    before = {job.project for job in generation.runner.jobs}
    resuming.saved(file, page.config(bpy.context))
    if file not in before:
        # Under this name there may be jobs that wait.
        _look_soon()


def _look_soon() -> None:
    """Not at once: while Blender starts, its file isn't there yet. In background, the command line looks by itself."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=_LOOK_SECONDS, persistent=True)


def _look() -> None:
    """Goes on with the jobs of the file that was opened."""
    config = page.config(bpy.context)
    try:
        resuming.opened(config)
        resuming.clear_leftovers(config)
    except Failure as failure:
        log.info("%s", failure.message)
    except Exception:
        log.exception("going on with jobs")
    if resuming.held_up and not bpy.app.timers.is_registered(_look_again):
        bpy.app.timers.register(_look_again, first_interval=_ACCESS_SECONDS, persistent=True)
    start()
    redraw()


def _look_again() -> float | None:
    """Goes on with the jobs that wait, once something can be sent; the panel says what is missing."""
    try:
        resuming.go_on(page.config(bpy.context))
    except Failure:
        return _ACCESS_SECONDS
    except Exception:
        log.exception("going on with jobs")
    start()
    redraw()
    return None


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
