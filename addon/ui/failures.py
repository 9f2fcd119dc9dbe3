# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong: one box for each kind of failure, with a button that fixes it."""

from dataclasses import dataclass
from typing import Any

import bpy

from .. import costs, retrying, session
from ..jobs.model.job import Job
from ..preferences import page
from ..service.eachlabs import client, mmaudio
from ..text import POPOVER_UNITS, draw_text
from . import job_text
from .queue_operators import MMAUDIO_OT_pause, MMAUDIO_OT_retry_failed


@dataclass(frozen=True)
class _Kind:
    """A kind of failure that everyone meets sooner or later."""

    title: str
    fix: str = ""
    """Text of the button that fixes it; it opens `url`, or without one the add-on's preferences."""
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
    codes = _codes()
    count = len(retrying.with_failure())
    if len(codes) == 1:
        return f"{title(codes[0])} ({count})" if count else title(codes[0])
    return f"{count} failed, {len(codes)} reasons" if codes else ""


def is_paused() -> bool:
    """Return whether the artist has paused."""
    return session.current.runner.hold.active and session.current.runner.hold.paused


def code_of(job: Job) -> str:
    """Return the code of the job's failure, empty if it has not failed."""
    return job.error.code if job.error is not None else ""


def title(code: str) -> str:
    """Return what went wrong in a few words."""
    if code in _KINDS:
        return _KINDS[code].title
    job = next(iter(retrying.with_failure(code)), None)
    return job_text.headline(job, job.error) if job is not None and job.error is not None else "Something went wrong"


def _codes() -> list[str]:
    """Return the codes of what went wrong: that of what holds the jobs first."""
    reason = session.current.runner.hold.reason
    holding = [reason.code] if reason is not None and session.current.runner.hold.active else []
    return list(dict.fromkeys([*holding, *(code_of(job) for job in retrying.with_failure())]))


def draw_boxes(layout: Any, context: bpy.types.Context) -> None:
    """Draw a box for a pause, and one for each kind of failure, the one that holds the jobs first."""
    if is_paused():
        box = layout.box()
        draw_text(box, "Paused: nothing more is ordered.", context, icon="PAUSE")
        box.operator(MMAUDIO_OT_pause.bl_idname, text="Continue", icon="PLAY")
    for code in _codes():
        _draw_kind(layout.box(), code, context)


def _draw_kind(box: Any, code: str, context: bpy.types.Context) -> None:
    failed, held, reason = retrying.with_failure(code), held_by(code), session.current.runner.hold.reason
    hints = [job.error.hint for job in failed if job.error is not None]
    draw_text(box, title(code), context, icon="ERROR")
    draw_text(box, hints[0] if hints else reason.hint if reason is not None else "", context, icon="BLANK1")
    column = box.column(align=True)
    kind = _KINDS.get(code, _Kind(""))
    if kind.url:
        column.operator("wm.url_open", text=kind.fix, icon="URL").url = kind.url
    elif kind.fix:
        column.operator("preferences.addon_show", text=kind.fix, icon="PREFERENCES").module = page.ADDON
    text = f"Retry {len(failed)} Failed"
    if held:
        draw_text(box, f"{len(held)} job{'s' * (len(held) > 1)} on hold", context, icon="PAUSE")
        column = box.column(align=True)
        text = f"Continue with {len(held) + len(failed)}"
    if runs := costs.runs_to_create([*failed, *held]):
        text = f"{text}, {mmaudio.price_text(runs * costs.run_usd())}"
    column.operator(MMAUDIO_OT_retry_failed.bl_idname, text=text, icon="FILE_REFRESH").code = code


def held_by(code: str) -> list[Job]:
    """Return the jobs that are held by a failure with this code."""
    runner = session.current.runner
    if runner.hold.reason is None or runner.hold.reason.code != code:
        return []
    return [job for job in runner.jobs if runner.is_held(job.id)]


class MMAUDIO_PT_failures(bpy.types.Panel):
    bl_space_type = "SEQUENCE_EDITOR"
    # A popover.
    bl_region_type = "HEADER"
    bl_label = "What Went Wrong"
    bl_ui_units_x = POPOVER_UNITS

    def draw(self, context: bpy.types.Context) -> None:
        draw_boxes(self.layout, context)


CLASSES = (MMAUDIO_PT_failures,)
