# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on one job. None is an undo step but the one that selects strips."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from collections.abc import Sequence
from typing import Any, cast

import bpy
from bpy.props import StringProperty

from .. import generation, retrying, session
from ..failure import Failure
from ..jobs.model.job import Job
from ..jobs.model.run import Stage
from ..preferences import page
from ..timeline import showing, strips
from ..timeline.strip_types import Strip
from . import job_list, ticker
from .copy_notice import CopyNotice
from .queue_operators import forget, is_paid_failure
from .report import report_failure


class _JobOperator:
    """Mixin for operators on one job."""

    job: StringProperty(
        name="Job",
        description="Id of the job. Empty: the job that is selected in the list",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    def find_job(self, context: bpy.types.Context) -> Job | None:
        return session.current.runner.job(self.job) if self.job else job_list.selected(context)

    @classmethod
    def applies(cls, job: Job) -> bool:
        """Return whether the operator does something with this job."""
        return True

    def execute(self, context: bpy.types.Context) -> Any:
        job, operator = self.find_job(context), cast(Any, self)
        if job is None or not self.applies(job):
            operator.report({"ERROR"}, f"{operator.bl_label}: there is no such job, or nothing to do for it")
            return {"CANCELLED"}
        return self.execute_for(job, context)

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        """Do it for one job and return the result of the operator."""
        raise NotImplementedError

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if any(cls.applies(job) for job in session.current.runner.jobs):
            return True
        operator: Any = cls
        operator.poll_message_set("There is no such job")
        return False


class MMAUDIO_OT_cancel_job(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.cancel_job"
    bl_label = "Cancel Job"
    bl_description = "Stop the render, the uploads and the runs of this job"
    bl_options = {"REGISTER"}

    @classmethod
    def applies(cls, job: Job) -> bool:
        # One whose sound is finished only waits to be placed.
        return not job.stage.ended and job.stage is not Stage.PLACING

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        session.current.runner.cancel(job.id)
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_retry_job(_JobOperator, CopyNotice, bpy.types.Operator):
    bl_idname = "mmaudio.retry_job"
    bl_label = "Retry Job"
    bl_description = "Run this job again. Results that have been paid for are downloaded, not generated again"
    bl_options = {"REGISTER"}

    @classmethod
    def applies(cls, job: Job) -> bool:
        return job.stage in (Stage.FAILED, Stage.CANCELLED)

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        job = session.current.runner.job(properties.job) if properties.job else job_list.selected(context)
        try:
            return cls.bl_description if job is None else retrying.next_step(job).sentence
        except Failure as failure:
            return failure.text.rstrip(".")

    def strips_to_copy(self, context: bpy.types.Context) -> Sequence[Strip]:
        job = self.find_job(context)
        clips = [] if job is None or job.paid else strips.find_marked(job.request)[1]
        return [clip for clip in clips if clip is not None]

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        try:
            job_list.select(retrying.retry(job, page.config(context)).id)
        except Failure as failure:
            return report_failure(self, failure)
        ticker.start()
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_insert_result(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.insert_result"
    bl_label = "Insert Result"
    bl_description = "Insert the finished sounds of this job into the edit again, next to their clip"
    bl_options = {"REGISTER"}

    @classmethod
    def applies(cls, job: Job) -> bool:
        return job.finished and job.stage.ended

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        generation.insert(job)
        ticker.start()
        return {"FINISHED"}


class MMAUDIO_OT_select_job_strip(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.select_job_strip"
    bl_label = "Show Strip"
    bl_description = "Select the strips of this job and frame them in the timeline"
    bl_options = {"REGISTER", "UNDO"}

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        scene, found = strips.find_marked(job.request)
        clips = [clip for clip in found if clip is not None]
        if scene is None or not clips or not session.current.belongs_to_open_file(job):
            self.report({"ERROR"}, f"The strip “{job.request.strip}” is not in the open file")
            return {"CANCELLED"}
        showing.show(context, scene, clips)
        job_list.select(job.id)
        return {"FINISHED"}


class MMAUDIO_OT_show_file(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.show_file"
    bl_label = "Show File"
    bl_description = "Open the folder of this job's sounds"
    bl_options = {"REGISTER"}

    @classmethod
    def applies(cls, job: Job) -> bool:
        return job.finished

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        file = next(take.file for take in job.takes if take.file is not None)
        bpy.ops.wm.path_open(filepath=str(file.parent))
        return {"FINISHED"}


class MMAUDIO_OT_copy_error(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.copy_error"
    bl_label = "Copy Error"
    bl_description = "Copy what went wrong with this job to the clipboard"
    bl_options = {"REGISTER"}

    @classmethod
    def applies(cls, job: Job) -> bool:
        return job.error is not None

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        assert job.error is not None  # it applies
        context.window_manager.clipboard = f"{job.error.message} {job.error.hint} ({job.error.code})"
        return {"FINISHED"}


class MMAUDIO_OT_remove_job(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.remove_job"
    bl_label = "Remove Job"
    bl_description = "Remove this job from the list. Sounds that are placed stay"
    bl_options = {"REGISTER"}

    @classmethod
    def applies(cls, job: Job) -> bool:
        return job.stage.ended

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        job, manager = self.find_job(context), context.window_manager
        if job is not None and is_paid_failure(job):
            question = "It has been paid for: a retry could still use what exists"
            return manager.invoke_confirm(self, event, title="Remove Job", message=question, confirm_text="Remove")
        return self.execute(context)

    def execute_for(self, job: Job, context: bpy.types.Context) -> set[str]:
        forget(self, [job])
        return {"FINISHED"}


CLASSES = (
    MMAUDIO_OT_cancel_job,
    MMAUDIO_OT_retry_job,
    MMAUDIO_OT_insert_result,
    MMAUDIO_OT_select_job_strip,
    MMAUDIO_OT_show_file,
    MMAUDIO_OT_copy_error,
    MMAUDIO_OT_remove_job,
)
