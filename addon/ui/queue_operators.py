# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on all jobs. None is an undo step."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from collections.abc import Sequence
from typing import Any, cast

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import costs, retrying, session
from ..config import check_online
from ..failure import Failure
from ..jobs.model.job import Job
from ..jobs.model.run import Stage
from ..preferences import page
from ..service.eachlabs import mmaudio
from . import ticker
from .report import report_failure


class MMAUDIO_OT_cancel_all(bpy.types.Operator):
    bl_idname = "mmaudio.cancel_all"
    bl_label = "Cancel All Jobs"
    bl_description = "Stop all jobs that have not ended. Sounds that are placed stay"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if _unended():
            return True
        cls.poll_message_set("No job is under way")
        return False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        runs = [run for job in _unended() for run in job.runs if run.stage is Stage.PREDICTING]
        if not runs:
            return self.execute(context)
        question = f"{len(runs)} {'runs are' if len(runs) > 1 else 'run is'} under way and may be billed nevertheless"
        manager = context.window_manager
        return manager.invoke_confirm(self, event, title="Cancel All Jobs", message=question, confirm_text="Cancel All")

    def execute(self, context: bpy.types.Context) -> Any:
        for job in _unended():
            session.current.runner.cancel(job.id)
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_pause(bpy.types.Operator):
    bl_idname = "mmaudio.pause"
    bl_label = "Pause or Continue"
    bl_description = "Order nothing more until you continue. Runs that are under way are still fetched and placed"
    bl_options = {"REGISTER"}

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        held = session.current.runner.hold.active
        return "Go on with the jobs that are on hold" if held else cls.bl_description

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if _unended() or session.current.runner.hold.active:
            return True
        cls.poll_message_set("No job is under way")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        hold = session.current.runner.hold
        if not hold.active:
            hold.pause()
            ticker.redraw()
            return {"FINISHED"}
        try:
            retrying.go_on(page.config(context))
        except Failure as failure:
            return report_failure(self, failure)
        ticker.start()
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_retry_failed(bpy.types.Operator):
    bl_idname = "mmaudio.retry_failed"
    bl_label = "Retry Failed Jobs"
    bl_description = "Run the failed jobs again, and go on with those on hold. What has been paid for is not ordered again"
    bl_options = {"REGISTER"}

    code: StringProperty(
        name="Code",
        description="Code of the failure, such as “balance”. Empty: all failed jobs",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.current.runner.hold.active or any(job.stage is Stage.FAILED for job in session.current.runner.jobs):
            return True
        cls.poll_message_set("No job has failed")
        return False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        runner = session.current.runner
        code, reason = cast(str, self.code), runner.hold.reason
        released = reason is not None and code in ("", reason.code)
        held = [job for job in runner.jobs if released and runner.is_held(job.id)]
        jobs = [*retrying.with_failure(code), *held]
        runs = costs.runs_to_create(jobs)
        usd = runs * costs.run_usd()
        if not page.of(context).asks_before(usd, runs):
            return self.execute(context)
        question = f"{runs} runs, about {mmaudio.price_text(usd)}"
        manager = context.window_manager
        return manager.invoke_confirm(self, event, title="Retry Failed Jobs", message=question, confirm_text="Continue")

    def execute(self, context: bpy.types.Context) -> Any:
        try:
            failures = retrying.retry_failed(page.config(context), cast(str, self.code))
        except Failure as failure:
            return report_failure(self, failure)
        for failure in failures:
            self.report({"WARNING"}, failure.text)
        ticker.start()
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_clear_jobs(bpy.types.Operator):
    bl_idname = "mmaudio.clear_jobs"
    bl_label = "Clear Ended Jobs"
    bl_description = "Remove all jobs that have ended from the list. Their sounds are kept"
    bl_options = {"REGISTER"}

    paid: BoolProperty(
        name="Also Failed Jobs That Have Been Paid For",
        description="Remove failed jobs that a retry could still make something of without paying again",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if any(job.stage.ended for job in session.current.runner.jobs):
            return True
        cls.poll_message_set("No job has ended yet")
        return False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        if any(is_paid_failure(job) for job in session.current.runner.jobs):
            manager: Any = context.window_manager
            return manager.invoke_props_dialog(self, width=360, title="Clear Ended Jobs", confirm_text="Clear")
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> Any:
        ended = [job for job in session.current.runner.jobs if job.stage.ended]
        forget(self, [job for job in ended if self.paid or not is_paid_failure(job)])
        return {"FINISHED"}


def is_paid_failure(job: Job) -> bool:
    """Return whether the job has failed, but something of it was paid for."""
    return job.stage is Stage.FAILED and (job.paid or bool(job.cost))


def _unended() -> list[Job]:
    """Return the jobs that have not ended, but those whose sound is finished and only waits to be placed."""
    return [job for job in session.current.runner.jobs if not job.stage.ended and job.stage is not Stage.PLACING]


def forget(operator: bpy.types.Operator, jobs: Sequence[Job]) -> None:
    """Remove jobs from the list, but those whose clips can't be deleted from storage at the moment."""
    try:
        check_online()
    except Failure as failure:
        if any(job.uploads for job in jobs):
            text = f"Jobs stay in the list until their clips can be deleted from storage. {failure.hint}"
            operator.report({"WARNING"}, text)
        jobs = [job for job in jobs if not job.uploads]
    for job in jobs:
        session.current.forget(job)
    ticker.redraw()


CLASSES = (
    MMAUDIO_OT_cancel_all,
    MMAUDIO_OT_pause,
    MMAUDIO_OT_retry_failed,
    MMAUDIO_OT_clear_jobs,
)
