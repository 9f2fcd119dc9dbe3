# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong: one box for each kind of failure, with what mends it."""

from collections.abc import Sequence
from typing import Any

import bpy

from .. import costs, session
from ..jobs.model.job import Job
from ..jobs.model.run import Stage
from ..preferences import page
from ..service.eachlabs import client, mmaudio
from ..text import draw_text
from . import job_text
from .queue_operators import MMAUDIO_OT_pause, MMAUDIO_OT_retry_failed

_LINKS = {"balance": ("Add Credit", client.DASHBOARD_URL)}
"""Text and URL of a button by the failure's code."""
_IN_PREFERENCES = {
    "bad_key": "Set API Key",
    "unsafe_url": "Set Service URL",
    "not_found": "Set Service URL",
    "files": "Set Results Folder",
}


def summary() -> str:
    """Return what went wrong in a line, empty if nothing did."""
    kinds = _kinds()
    jobs = [job for kind in kinds for job in kind]
    if not jobs:
        return ""
    text = _headline(kinds[0][0]) if len(kinds) == 1 else f"{len(kinds)} reasons"
    return f"{len(jobs)} failed: {text}"


def _kinds() -> list[list[Job]]:
    """Return the failed jobs by kind of failure, the one that holds the others first."""
    kinds: dict[str, list[Job]] = {}
    for job in session.current.runner.jobs:
        if job.stage is Stage.FAILED and job.error is not None:
            kinds.setdefault(job.error.code, []).append(job)
    reason = session.current.runner.hold.reason
    return sorted(kinds.values(), key=lambda kind: reason is None or code_of(kind[0]) != reason.code)


def is_paused() -> bool:
    """Return whether the artist has paused."""
    return session.current.runner.hold.active and session.current.runner.hold.reason is None


def code_of(job: Job) -> str:
    """Return the code of the job's failure, empty if it has not failed."""
    return job.error.code if job.error is not None else ""


def _headline(job: Job) -> str:
    return job_text.headline(job, job.error) if job.error is not None else ""


def draw_boxes(layout: Any, context: bpy.types.Context) -> None:
    """Draw a box for what holds the jobs, and one for each kind of failure."""
    if is_paused():
        box = layout.box()
        draw_text(box, "Paused: nothing more is ordered.", context, icon="PAUSE")
        box.operator(MMAUDIO_OT_pause.bl_idname, text="Continue", icon="PLAY")
    for kind in _kinds():
        _draw_kind(layout.box(), kind, context)


def _draw_kind(box: Any, jobs: Sequence[Job], context: bpy.types.Context) -> None:
    error = jobs[0].error
    assert error is not None  # they have failed
    draw_text(box, _headline(jobs[0]), context, icon="ERROR")
    draw_text(box, error.hint, context, icon="BLANK1")
    column = box.column(align=True)
    if error.code in _LINKS:
        text, url = _LINKS[error.code]
        column.operator("wm.url_open", text=text, icon="URL").url = url
    elif error.code in _IN_PREFERENCES or error.code.startswith("storage"):
        text = _IN_PREFERENCES.get(error.code, "Set Storage")
        column.operator("preferences.addon_show", text=text, icon="PREFERENCES").module = page.ADDON
    held = sum(session.current.runner.is_held(job.id) for job in session.current.runner.jobs)
    reason = session.current.runner.hold.reason
    is_holding = reason is not None and reason.code == error.code
    if is_holding and held:
        draw_text(box, f"{held} {'jobs wait' if held > 1 else 'job waits'} until this is mended.", context, icon="PAUSE")
    text = f"Retry {len(jobs)} Failed"
    if is_holding and held:
        text = f"Continue with {held + len(jobs)}"
    usd = sum(costs.retry_usd(job) for job in jobs)
    column.operator(
        MMAUDIO_OT_retry_failed.bl_idname,
        text=f"{text}, {mmaudio.price_text(usd)}" if usd else text,
        icon="FILE_REFRESH",
    ).code = error.code


class MMAUDIO_PT_failures(bpy.types.Panel):
    bl_space_type = "SEQUENCE_EDITOR"
    # A popover.
    bl_region_type = "HEADER"
    bl_label = "What Went Wrong"
    bl_ui_units_x = 15

    def draw(self, context: bpy.types.Context) -> None:
        draw_boxes(self.layout, context)


CLASSES = (MMAUDIO_PT_failures,)
