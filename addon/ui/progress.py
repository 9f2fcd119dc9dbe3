# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of all jobs in the Sequencer's header and in the status bar, which are seen without the sidebar."""

from collections.abc import Sequence
from typing import Any

import bpy

from .. import session
from ..jobs.model.job import Job
from ..jobs.model.run import Stage
from . import job_text
from .failures import MMAUDIO_PT_failures
from .queue_operators import MMAUDIO_OT_cancel_all, MMAUDIO_OT_pause

_WIDTH = 8


class MMAUDIO_OT_dismiss(bpy.types.Operator):
    bl_idname = "mmaudio.dismiss"
    bl_label = "Dismiss"
    bl_description = "Remove this message. The jobs stay in the list"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        dismiss()
        return {"FINISHED"}


def dismiss() -> None:
    """Report no longer how jobs have ended that have by now."""
    session.current.ended_seen |= {job.id for job in session.current.runner.jobs if job.stage.ended}


def fraction(jobs: Sequence[Job]) -> float:
    """Return how far all jobs are: those that have ended, and the parts of those under way."""
    parts = [1.0 if job.stage.ended else job_text.fraction(job) for job in jobs]
    return sum(parts) / len(parts) if parts else 0.0


def result(jobs: Sequence[Job]) -> str:
    """Return how these jobs have ended, such as "44 sounds placed, 6 failed"."""
    placed = sum(job.stage is Stage.DONE for job in jobs)
    failed = sum(job.stage is Stage.FAILED for job in jobs)
    parts = [f"{placed} sound{'s' * (placed != 1)} placed"] if placed else []
    return ", ".join([*parts, *([f"{failed} failed"] if failed else [])])


def _news() -> list[Job]:
    """Return the jobs that the artist hasn't been told the end of."""
    seen = session.current.ended_seen
    return [job for job in session.current.runner.jobs if job.id not in seen or not job.stage.ended]


def _draw_header(self: Any, context: bpy.types.Context) -> None:
    space: Any = context.space_data
    if space.view_type != "PREVIEW":
        _draw(self.layout, with_operators=True)


def _draw_status_bar(self: Any, context: bpy.types.Context) -> None:
    _draw(self.layout, with_operators=False)


def _draw(layout: Any, *, with_operators: bool) -> None:
    news, hold = _news(), session.current.runner.hold
    at_work = [job for job in news if not job.stage.ended and not session.current.waits_for_its_file(job)]
    row = layout.row(align=True)
    if at_work:
        text = f"{len(news) - len(at_work)} of {len(news)}"
        bar = row.row(align=True)
        bar.ui_units_x = _WIDTH
        bar.progress(factor=fraction(news), text=f"{text} on hold" if hold.active else f"{text} sounds")
        if with_operators:
            if hold.active:
                row.operator(MMAUDIO_OT_pause.bl_idname, text="", icon="PLAY")
            if any(job.stage is Stage.FAILED for job in news):
                row.popover(panel=MMAUDIO_PT_failures.__name__, text="", icon="ERROR")
            row.operator(MMAUDIO_OT_cancel_all.bl_idname, text="", icon="X")
    elif text := result(news):
        failed = any(job.stage is Stage.FAILED for job in news)
        if not with_operators:
            row.label(text=text, icon="ERROR" if failed else "CHECKMARK")
            return
        if failed:
            row.popover(panel=MMAUDIO_PT_failures.__name__, text=text, icon="ERROR")
            row.operator(MMAUDIO_OT_dismiss.bl_idname, text="", icon="X")
        else:
            row.operator(MMAUDIO_OT_dismiss.bl_idname, text=text, icon="CHECKMARK", emboss=False)


CLASSES = (MMAUDIO_OT_dismiss,)


_HEADERS: dict[str, Any] = {"SEQUENCER_HT_header": _draw_header, "STATUSBAR_HT_header": _draw_status_bar}


def attach() -> None:
    for name, draw in _HEADERS.items():
        getattr(bpy.types, name).append(draw)


def detach() -> None:
    for name, draw in _HEADERS.items():
        getattr(bpy.types, name).remove(draw)
