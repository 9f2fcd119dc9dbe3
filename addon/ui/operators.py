# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done. Starting a job is no undo step; placing its sound is one."""

from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import StringProperty

from .. import generation
from ..failure import Failure
from ..jobs.job import Job, Stage
from ..timeline import compat, strips
from . import preferences, settings, ticker


def blocker(context: bpy.types.Context) -> Failure | None:
    """What keeps Generate Sound from running here, or None."""
    scene = compat.edited_scene(context)
    if scene is None:
        return Failure("no_edit", "No edit is open in this workspace.", "Choose or add a scene in the Sequencer's header.")
    setup = preferences.setup(context)
    try:
        generation.check_access(setup.key, setup.base_url)
    except Failure as failure:
        return failure
    chosen = strips.selected(context)
    if not chosen:
        return Failure("no_strip", "No strip is selected.", "Select the strips that should get a sound.")
    if not any(strips.has_picture(strip) for strip in chosen):
        return Failure("no_picture", "The selected strip has no picture.", "Select a movie, image, scene or effect strip.")
    return None


class MMAUDIO_OT_generate(bpy.types.Operator):
    bl_idname = "mmaudio.generate"
    bl_label = "Generate Sound"
    bl_description = "Give each selected strip a sound made from its picture. Goes on in the background"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = blocker(context)
        if reason is not None:
            cls.poll_message_set(f"{reason.message} {reason.hint}".rstrip("."))
        return reason is None

    def execute(self, context: bpy.types.Context) -> Any:
        scene = compat.edited_scene(context)
        assert scene is not None  # poll has seen to it
        chosen = [strip for strip in strips.selected(context) if strips.has_picture(strip)]
        asked = settings.of(scene)
        try:
            jobs = generation.start(
                scene,
                chosen,
                settings.for_run(asked),
                preferences.setup(context),
                scenes_as_they_are=asked.scenes_as_they_are,
            )
        except Failure as failure:
            return _refuse(self, failure)
        ticker.start()
        ticker.redraw()
        for job in jobs:
            if job.error is not None:
                self.report({"ERROR"}, f"{job.error.message} {job.error.hint}")
        return {"FINISHED"}


class _OfJob:
    """An operator on one job, named by its id."""

    if TYPE_CHECKING:
        job: str
    else:
        job: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def found(self) -> Job | None:
        return generation.runner.job(self.job)


class MMAUDIO_OT_cancel_job(_OfJob, bpy.types.Operator):
    bl_idname = "mmaudio.cancel_job"
    bl_label = "Cancel"
    bl_description = "Stop this job: its render, its upload and its run"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        if self.found() is None:
            return {"CANCELLED"}
        generation.runner.cancel(self.job)
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_retry_job(_OfJob, bpy.types.Operator):
    bl_idname = "mmaudio.retry_job"
    bl_label = "Retry"
    bl_description = "Try again. What has been paid for is fetched, not ordered again"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        job = self.found()
        if job is None or job.stage not in (Stage.FAILED, Stage.CANCELLED):
            return {"CANCELLED"}
        try:
            generation.retry(job, preferences.setup(context))
        except Failure as failure:
            return _refuse(self, failure)
        ticker.start()
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_insert_result(_OfJob, bpy.types.Operator):
    bl_idname = "mmaudio.insert_result"
    bl_label = "Insert Result"
    bl_description = "Put this job's finished sound into the edit once more, under its clip"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        job = self.found()
        if job is None or job.file is None or not job.stage.ended:
            return {"CANCELLED"}
        generation.insert(job)
        ticker.start()
        return {"FINISHED"}


class MMAUDIO_OT_clear_jobs(bpy.types.Operator):
    bl_idname = "mmaudio.clear_jobs"
    bl_label = "Clear Ended Jobs"
    bl_description = "Empty the list of jobs that have ended. Their sounds stay"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if any(job.stage.ended for job in generation.runner.jobs):
            return True
        cls.poll_message_set("No job has ended yet")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        for job in generation.runner.jobs:
            generation.runner.forget(job.id)
        ticker.redraw()
        return {"FINISHED"}


CLASSES = (
    MMAUDIO_OT_generate,
    MMAUDIO_OT_cancel_job,
    MMAUDIO_OT_retry_job,
    MMAUDIO_OT_insert_result,
    MMAUDIO_OT_clear_jobs,
)


def _refuse(operator: bpy.types.Operator, failure: Failure) -> set[str]:
    operator.report({"ERROR"}, f"{failure.message} {failure.hint}".rstrip())
    return {"CANCELLED"}
