# SPDX-License-Identifier: GPL-3.0-or-later
"""Panel with the list of jobs, the selected one, and what went wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from .. import costs, retrying, session
from ..failure import Failure, readable
from ..jobs.model.job import Job
from ..jobs.model.run import Stage
from ..service.eachlabs import mmaudio
from ..text import draw_text
from ..timeline import takes
from . import failures, first_contact, job_list, job_text, progress
from .job_operators import (
    MMAUDIO_OT_cancel_job,
    MMAUDIO_OT_copy_error,
    MMAUDIO_OT_insert_result,
    MMAUDIO_OT_remove_job,
    MMAUDIO_OT_retry_job,
    MMAUDIO_OT_select_job_strip,
    MMAUDIO_OT_show_file,
)
from .panels import Sidebar
from .queue_operators import MMAUDIO_OT_cancel_all, MMAUDIO_OT_clear_jobs, MMAUDIO_OT_pause

_ROWS = (3, 8)
"""Rows of the list, at least and at most."""


class MMAUDIO_PT_jobs(Sidebar, bpy.types.Panel):
    bl_label = "Jobs"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return super().poll(context) and (bool(session.current.runner.jobs) or not first_contact.is_needed(context))

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        if session.current.runner.jobs:
            layout: Any = self.layout
            row = layout.row(align=True)
            row.emboss = "NONE"
            held = session.current.runner.hold.active
            row.operator(MMAUDIO_OT_pause.bl_idname, text="", icon="PLAY" if held else "PAUSE")
            row.operator(MMAUDIO_OT_cancel_all.bl_idname, text="", icon="CANCEL")

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        jobs = session.current.runner.jobs
        _draw_notes(layout, context)
        if not jobs:
            layout.label(text="No jobs yet")
            return
        layout.progress(factor=progress.fraction(jobs), text=totals(jobs))
        manager = context.window_manager
        rows = max(_ROWS[0], min(_ROWS[1], len(jobs)))
        layout.template_list(
            job_list.MMAUDIO_UL_jobs.__name__, "", manager, "mmaudio_jobs", manager, "mmaudio_active_job", rows=rows
        )
        draw_selected(layout, job_list.selected(context), context)
        failures.draw_boxes(layout, context)


class MMAUDIO_MT_job(bpy.types.Menu):
    bl_label = "Jobs"

    def draw(self, context: Any) -> None:
        layout: Any = self.layout
        job = job_list.selected(context)
        if job is not None:
            if job.finished:
                layout.operator(MMAUDIO_OT_show_file.bl_idname, icon="FILE_FOLDER")
                if job.stage.ended and not takes.is_in_file(job.id):
                    layout.operator(MMAUDIO_OT_insert_result.bl_idname, icon="IMPORT")
            if job.error is not None:
                layout.operator(MMAUDIO_OT_copy_error.bl_idname, icon="COPYDOWN")
            if session.current.runner.is_held(job.id):
                layout.operator(MMAUDIO_OT_cancel_job.bl_idname, icon="X")
            if job.stage.ended:
                layout.operator(MMAUDIO_OT_remove_job.bl_idname, icon="X")
            layout.separator()
        layout.operator(MMAUDIO_OT_clear_jobs.bl_idname, icon="TRASH")
        layout.separator()
        layout.label(text=f"Cost in this session: {mmaudio.price_text(costs.session_usd())}")
        layout.label(text=f"Cost of the sounds in this file: {mmaudio.price_text(costs.file_usd())}")


CLASSES = (MMAUDIO_PT_jobs, MMAUDIO_MT_job)


def totals(jobs: Sequence[Job]) -> str:
    """Return how far the jobs are and what they have cost, such as "21 of 50 · 2 failed · $0.12"."""
    failed = sum(job.stage is Stage.FAILED for job in jobs)
    usd = sum(job.cost or 0.0 for job in jobs)
    parts = [
        f"{sum(job.stage.ended for job in jobs)} of {len(jobs)}",
        *([f"{failed} failed"] if failed else []),
        *([mmaudio.price_text(usd)] if usd else []),
    ]
    return " · ".join(parts)


def _draw_notes(layout: Any, context: bpy.types.Context) -> None:
    current = session.current
    if current.runner.note:
        draw_text(layout, current.runner.note, context, icon="ERROR")
    if waiting := [Path(project).name for project in current.other_projects]:
        others = f" and {len(waiting) - 1} other files" if len(waiting) > 1 else ""
        draw_text(layout, f"Jobs are waiting for {waiting[0]}{others}, to be opened again", context, icon="INFO")
    for strip, reason in current.waiting_for_access.items():
        text = f"The job of “{strip}” was interrupted and is waiting to resume. {reason}"
        draw_text(layout, text, context, icon="INFO")


def draw_selected(layout: Any, job: Job | None, context: bpy.types.Context) -> None:
    """Draw what can be done with the selected job, and its state in two lines."""
    row = layout.row(align=True)
    show = row.row(align=True)
    show.enabled = job is not None
    show.operator(MMAUDIO_OT_select_job_strip.bl_idname, text="Show", icon="RESTRICT_SELECT_OFF")
    lines = ["Select a job for details", ""]
    if job is not None:
        action, second = _next_action(job)
        if action is not None:
            operator, text, icon = action
            button = row.operator(operator, text=text, icon=icon)
            if operator != MMAUDIO_OT_pause.bl_idname:
                button.job = job.id
        lines = [_first_line(job), second]
    row.menu(MMAUDIO_MT_job.__name__, text="", icon="DOWNARROW_HLT")
    column = layout.column(align=True)
    for line in lines:
        draw_text(column, line or " ", context)
    if job is not None and _has_clip_in_storage(job):
        draw_text(layout, "The clip is still in storage. Removing the job deletes it.", context, icon="INFO")


def _has_clip_in_storage(job: Job) -> bool:
    """Return whether an upload of the ended job could not be deleted."""
    was_uploaded = bool(job.uploads) and not job.request.options.clip_url
    return was_uploaded and job.stage.ended and not session.current.has_worker(job)


def _first_line(job: Job) -> str:
    if job.error is not None and job.stage is Stage.FAILED:
        return f"{job_text.reason(job, job.error)} {job.error.hint}"
    return job_text.state(job)


def _next_action(job: Job) -> tuple[tuple[str, str, str] | None, str]:
    """Return the operator that goes on with the job, its text and icon, and what it will do or else the job's name."""
    name = readable(job.request.name)
    if session.current.runner.is_held(job.id):
        return (MMAUDIO_OT_pause.bl_idname, "Continue", "PLAY"), name
    if job.stage is Stage.PLACING:
        return None, name
    if not job.stage.ended:
        return (MMAUDIO_OT_cancel_job.bl_idname, "Cancel", "X"), name
    if job.stage is Stage.DONE:
        return None, job.note or name
    # The edit of the job was never saved, or its scene is gone.
    if job.finished and (not session.current.belongs_to_open_file(job) or failures.code_of(job) == "no_scene"):
        return (MMAUDIO_OT_insert_result.bl_idname, "Insert", "IMPORT"), "Insert places the sound in the edit that is open."
    try:
        step = retrying.next_step(job)
    except Failure as failure:
        return (MMAUDIO_OT_remove_job.bl_idname, "Remove", "X"), failure.message
    return (MMAUDIO_OT_retry_job.bl_idname, step.label, "FILE_REFRESH"), f"Retry: {step.sentence}."
