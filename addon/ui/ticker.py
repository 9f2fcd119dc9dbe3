# SPDX-License-Identifier: GPL-3.0-or-later
"""Timer on the main thread that drives the jobs while Blender's window is open; it runs only while there are jobs."""

import logging
import time

import bpy

from .. import generation, resuming, session
from ..failure import Failure
from ..preferences import page
from . import job_list

log = logging.getLogger(__name__)

_BUSY_SECONDS = 0.1
_REDRAW_SECONDS = 0.25
_LONG_SECONDS = 0.02
_RESUME_DELAY_SECONDS = 0.5
# Interval at which jobs that wait for an API key or online access are tried again.
_ACCESS_SECONDS = 2.0
# Time that closing Blender, or unregistering the add-on, waits for threads to stop.
_DETACH_SECONDS = 2.0


def start() -> None:
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=_BUSY_SECONDS, persistent=True)


def attach() -> None:
    bpy.app.handlers.load_post.append(_on_load)
    bpy.app.handlers.save_pre.append(_before_save)
    bpy.app.handlers.save_post.append(_on_save)
    bpy.app.handlers.undo_post.append(_on_undo)
    bpy.app.handlers.redo_post.append(_on_undo)
    _schedule_resume()


def detach() -> None:
    bpy.app.handlers.load_post.remove(_on_load)
    bpy.app.handlers.save_pre.remove(_before_save)
    bpy.app.handlers.save_post.remove(_on_save)
    bpy.app.handlers.undo_post.remove(_on_undo)
    bpy.app.handlers.redo_post.remove(_on_undo)
    for timer in (_tick, _resume, _retry_resume):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    session.current.close(_DETACH_SECONDS)


@bpy.app.handlers.persistent
def _on_load(*_: object) -> None:
    resuming.assign_jobs_to_files()
    _schedule_resume()


@bpy.app.handlers.persistent
def _before_save(file: str, *_: object) -> None:
    try:
        resuming.file_saving(file, page.config(bpy.context))
    except Exception:
        # A failure to copy sounds must not prevent the file from being saved.
        log.exception("copying sounds to the folder of the saved file")


@bpy.app.handlers.persistent
def _on_save(file: str, *_: object) -> None:
    before = {job.project for job in session.current.runner.jobs}
    resuming.file_saved(file, page.config(bpy.context))
    if file not in before:
        # Jobs may be waiting for a file of this name.
        _schedule_resume()


@bpy.app.handlers.persistent
def _on_undo(*_: object) -> None:
    try:
        resuming.mark_again()
    except Exception:
        log.exception("marking strips after an undo")


def _schedule_resume() -> None:
    """Resume jobs in half a second: while Blender starts, no file is open yet. In background, the command line resumes."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_resume):
        bpy.app.timers.register(_resume, first_interval=_RESUME_DELAY_SECONDS, persistent=True)


def _resume() -> None:
    """Resume the jobs of the file that was opened."""
    config = page.config(bpy.context)
    try:
        resuming.file_opened(config)
        resuming.remove_leftovers(config)
    except Failure as failure:
        log.info("%s", failure.message)
    except Exception:
        log.exception("resuming jobs")
    if session.current.waiting_for_access and not bpy.app.timers.is_registered(_retry_resume):
        bpy.app.timers.register(_retry_resume, first_interval=_ACCESS_SECONDS, persistent=True)
    start()
    redraw()


def _retry_resume() -> float | None:
    """Resume waiting jobs as soon as the service can be accessed; until then the panel shows what is missing."""
    try:
        resuming.resume_jobs(page.config(bpy.context))
    except Failure:
        return _ACCESS_SECONDS
    except Exception:
        log.exception("resuming jobs")
    start()
    redraw()
    return None


def redraw() -> None:
    """Redraw what shows the jobs, sidebars and headers, and nothing else: redrawing strips or preview is expensive."""
    job_list.update()
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                for region in area.regions:
                    if region.type in ("UI", "HEADER"):
                        region.tag_redraw()


def _tick() -> float | None:
    current = session.current
    try:
        start = time.monotonic()
        current.redraw_pending = bool(generation.advance()) or current.redraw_pending
        now = time.monotonic()
        # Not together with a sound that was placed, which takes as long as one that is added by hand.
        may_wait = now - start > _LONG_SECONDS
        is_due = now - current.redrawn_at > _REDRAW_SECONDS or not current.runner.busy
        if current.redraw_pending and is_due and not may_wait:
            current.redraw_pending, current.redrawn_at = False, time.monotonic()
            redraw()
    except Exception:
        # An exception would end the timer, and no job would be placed any more.
        log.exception("advancing jobs")
    return _BUSY_SECONDS if current.runner.busy or current.redraw_pending else None
