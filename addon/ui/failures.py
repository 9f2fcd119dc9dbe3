# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong: one box for each kind of failure, with what mends it."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Kind:
    """A kind of failure that everyone meets sooner or later."""

    title: str
    mend: str = ""
    """Text of the button that mends it; it opens `url`, or without one the add-on's preferences."""
    url: str = ""


_KINDS = {
    "balance": _Kind("Balance too low", "Add Credit", client.DASHBOARD_URL),
    "bad_key": _Kind("API key rejected", "Set API Key"),
    "connection": _Kind("No connection"),
    "timeout": _Kind("No response"),
    "service_down": _Kind("Eachlabs has a problem"),
    "run_failed": _Kind("Run failed at Eachlabs"),
    "missing_file": _Kind("File missing"),
    "undecodable": _Kind("File can't be decoded"),
    "render_failed": _Kind("Render failed"),
    "files": _Kind("Folder can't be written", "Set Results Folder"),
    "unsafe_url": _Kind("Service URL is unsafe", "Set Service URL"),
    "storage_setup": _Kind("Storage is not set up", "Set Storage"),
    "storage_key": _Kind("Storage key rejected", "Set Storage"),
    "storage_login": _Kind("Storage login rejected", "Set Storage"),
    "storage_denied": _Kind("Storage denies access", "Set Storage"),
    "storage_full": _Kind("Storage is full"),
    "no_bucket": _Kind("Bucket not found", "Set Storage"),
}
"""By the code of the failure."""


def summary() -> str:
    """Return what went wrong in a line, empty if nothing did."""
    kinds = _kinds()
    jobs = [job for kind in kinds for job in kind]
    if not jobs:
        return ""
    return f"{title(jobs[0])} ({len(jobs)})" if len(kinds) == 1 else f"{len(jobs)} failed, {len(kinds)} reasons"


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


def title(job: Job) -> str:
    """Return what went wrong with the job in a few words."""
    if job.error is None:
        return ""
    kind = _KINDS.get(job.error.code)
    return kind.title if kind is not None else job_text.headline(job, job.error)


def held_by(code: str) -> int:
    """Return the number of jobs that are held by failures with this code."""
    runner = session.current.runner
    if runner.hold.reason is None or runner.hold.reason.code != code:
        return 0
    return sum(runner.is_held(job.id) for job in runner.jobs)


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
    draw_text(box, title(jobs[0]), context, icon="ERROR")
    draw_text(box, error.hint, context, icon="BLANK1")
    column = box.column(align=True)
    kind = _KINDS.get(error.code, _Kind(""))
    if kind.url:
        column.operator("wm.url_open", text=kind.mend, icon="URL").url = kind.url
    elif kind.mend:
        column.operator("preferences.addon_show", text=kind.mend, icon="PREFERENCES").module = page.ADDON
    text = f"Retry {len(jobs)} Failed"
    if held := held_by(error.code):
        draw_text(box, f"{held} more {'wait' if held > 1 else 'waits'} for this.", context, icon="PAUSE")
        column = box.column(align=True)
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
