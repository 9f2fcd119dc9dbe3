# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the Sequencer. Starting a job is not an undo step; placing its sound is."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from collections.abc import Sequence
from typing import Any, cast

import bpy
from bpy.props import FloatProperty, StringProperty

from .. import generation, plan, session
from ..config import check_online
from ..failure import Failure
from ..jobs.model.job import Job
from ..jobs.model.run import Stage
from ..preferences import clip_url, page
from ..service.eachlabs import client
from ..service.net.addresses import check_url
from ..timeline import compat, shots, strips
from ..timeline.errors import NoPicture, NoStrip
from ..timeline.strip_types import PictureStrip, Strip
from . import settings, ticker
from .copy_notice import CopyNotice

_SKIPPED_SHOWN = 10


class NoEdit(Failure):
    code = "no_edit"
    default_hint = "Choose or add a scene in the Sequencer's header."


class NoClipUrl(Failure):
    code = "no_address"
    default_hint = "Paste the public https URL of its mp4 above."


def generate_failure(context: bpy.types.Context) -> Failure | None:
    """Return why Generate Sound is disabled in this context, or None if it is enabled."""
    scene = compat.edited_scene(context)
    if scene is None:
        return NoEdit("No edit is open in this workspace.")
    config = page.config(context)
    try:
        config.check_access()
    except Failure as failure:
        return failure
    chosen = strips.selected(context)
    if not chosen:
        return NoStrip("No strip is selected.", "Select the strips that should get a sound.")
    count = len(clips_with_picture(chosen))
    if not count:
        return NoPicture("The selected strip has no picture.")
    scene_settings = settings.of(scene)
    options, skip_done = settings.options(scene_settings), settings.skips_done(scene_settings, count)
    clips, skipped = plan.to_order(chosen, options, skip_done=skip_done)
    if not clips:
        return generation.NothingToOrder(skipped)
    return _clip_url_failure(clip_url.of(scene), count, config.base_url) if config.uses_clip_url else None


def clips_with_picture(chosen: Sequence[Strip]) -> list[PictureStrip]:
    """Return the clips that the chosen strips stand for, without those that have no picture."""
    return [clip for clip in shots.clips(chosen) if strips.has_picture(clip)]


def _clip_url_failure(clip_url: str, count: int, base_url: str) -> Failure | None:
    """Return what is wrong with the URL of a clip that the artist has published, or None."""
    if count > 1:
        return generation.OneClipUrl(count)
    if not clip_url:
        return NoClipUrl("The clip has no URL yet.")
    try:
        check_url(clip_url, loopback_allowed=client.is_local(base_url), hint=NoClipUrl.default_hint)
    except Failure as failure:
        return NoClipUrl(failure.message)
    return None


def report_failure(operator: bpy.types.Operator, failure: Failure) -> set[str]:
    """Report a failure in the status bar; return the result of the operator."""
    operator.report({"ERROR"}, f"{failure.message} {failure.hint}".rstrip())
    return {"CANCELLED"}


def current_plan(context: bpy.types.Context) -> plan.Plan | None:
    """Return what Generate Sound would order, or None if it is disabled."""
    scene = compat.edited_scene(context)
    chosen = clips_with_picture(strips.selected(context))
    if scene is None or not chosen:
        return None
    scene_settings, config = settings.of(scene), page.config(context)
    options = settings.options(scene_settings, clip_url.of(scene) if config.uses_clip_url else "")
    skip_done = settings.skips_done(scene_settings, len(chosen))
    return plan.make(scene, chosen, settings.of_run(scene_settings), options, config, skip_done=skip_done)


class MMAUDIO_OT_generate(CopyNotice, bpy.types.Operator):
    bl_idname = "mmaudio.generate"
    bl_label = "Generate Sound"
    bl_description = "Generate a sound for each selected strip from its picture. Runs in the background"
    bl_options = {"REGISTER"}

    max_cost: FloatProperty(
        name="Maximum Cost",
        description="Do nothing if the expected cost is higher, in US dollars. 0: no limit",
        min=0.0,
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        planned = current_plan(context)
        lines = [cls.bl_description, *([f"Skipped:\n{planned.skipped_text}"] if planned and planned.skipped else [])]
        return ".\n".join(lines)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        failure = generate_failure(context)
        if failure is not None:
            cls.poll_message_set(f"{failure.message} {failure.hint}".rstrip("."))
        return failure is None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        planned, preferences = current_plan(context), page.of(context)
        asks = planned and (planned.cost_usd > preferences.ask_above_usd or planned.runs > preferences.ask_above_runs)
        if not asks:
            return super().invoke(context, event)
        manager: Any = context.window_manager
        return manager.invoke_props_dialog(self, width=360, title="Generate Sound", confirm_text="Generate")

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the dialog that asks before a large order."""
        planned = current_plan(context)
        if planned is not None:
            column: Any = self.layout
            column.label(text=planned.text)
            for line in planned.skipped_text.splitlines()[:_SKIPPED_SHOWN]:
                column.label(text=line, icon="BLANK1")

    def execute(self, context: bpy.types.Context) -> Any:
        scene = compat.edited_scene(context)
        assert scene is not None  # checked by poll
        chosen = clips_with_picture(strips.selected(context))
        scene_settings = settings.of(scene)
        limit = cast(float, self.max_cost)
        planned = current_plan(context) if limit else None
        if planned is not None and planned.cost_usd > limit:
            self.report({"ERROR"}, f"{planned.text}: more than the maximum of ${limit:g}. Nothing was sent")
            return {"CANCELLED"}
        try:
            config = page.config(context)
            options = settings.options(scene_settings, clip_url.of(scene) if config.uses_clip_url else "")
            first, random_seeds = settings.for_first_run(scene_settings), scene_settings.randomize_seed
            skip_done = settings.skips_done(scene_settings, len(chosen))
            jobs = generation.start(scene, chosen, first, config, options, random_seeds=random_seeds, skip_done=skip_done)
        except Failure as failure:
            return report_failure(self, failure)
        ticker.start()
        ticker.redraw()
        errors = [job.error for job in jobs if job.error is not None]
        for error in errors:
            # Scripts get an exception for an error report, which would hide from them that other jobs have started.
            self.report({"ERROR" if len(errors) == len(jobs) else "WARNING"}, f"{error.message} {error.hint}")
        return {"FINISHED"} if len(errors) < len(jobs) else {"CANCELLED"}


class _JobOperator:
    """Mixin for operators on one job."""

    job: StringProperty(name="Job", description="Id of the job", options={"HIDDEN", "SKIP_SAVE"})

    def find_job(self) -> Job | None:
        return session.current.runner.job(self.job)


class MMAUDIO_OT_cancel_job(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.cancel_job"
    bl_label = "Cancel Job"
    bl_description = "Stop the render, the uploads and the runs of this job"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        if self.find_job() is None:
            return {"CANCELLED"}
        session.current.runner.cancel(self.job)
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_retry_job(_JobOperator, CopyNotice, bpy.types.Operator):
    bl_idname = "mmaudio.retry_job"
    bl_label = "Retry Job"
    bl_description = "Run this job again. Results that have been paid for are downloaded, not generated again"
    bl_options = {"REGISTER", "INTERNAL"}

    def strips_to_copy(self, context: bpy.types.Context) -> Sequence[Strip]:
        job = self.find_job()
        clips = [] if job is None or job.paid else strips.find_marked(job.request)[1]
        return [clip for clip in clips if clip is not None]

    def execute(self, context: bpy.types.Context) -> Any:
        job = self.find_job()
        if job is None or job.stage not in (Stage.FAILED, Stage.CANCELLED):
            return {"CANCELLED"}
        try:
            generation.retry(job, page.config(context))
        except Failure as failure:
            return report_failure(self, failure)
        ticker.start()
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_insert_result(_JobOperator, bpy.types.Operator):
    bl_idname = "mmaudio.insert_result"
    bl_label = "Insert Result"
    bl_description = "Insert the finished sounds of this job into the edit again, next to their clip"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        job = self.find_job()
        if job is None or not job.finished or not job.stage.ended:
            return {"CANCELLED"}
        generation.insert(job)
        ticker.start()
        return {"FINISHED"}


class MMAUDIO_OT_clear_jobs(bpy.types.Operator):
    bl_idname = "mmaudio.clear_jobs"
    bl_label = "Clear Ended Jobs"
    bl_description = "Remove all jobs that have ended from the list. Their sounds are kept"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if any(job.stage.ended for job in session.current.runner.jobs):
            return True
        cls.poll_message_set("No job has ended yet")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        kept: list[Job] = []
        try:
            check_online()
        except Failure as failure:
            kept = [job for job in session.current.runner.jobs if job.stage.ended and job.uploads]
            if kept:
                self.report(
                    {"WARNING"}, f"Jobs stay in the list until their clips can be deleted from storage. {failure.hint}"
                )
        for job in session.current.runner.jobs:
            if job not in kept:
                session.current.runner.forget(job.id)
        ticker.redraw()
        return {"FINISHED"}


CLASSES = (
    MMAUDIO_OT_generate,
    MMAUDIO_OT_cancel_job,
    MMAUDIO_OT_retry_job,
    MMAUDIO_OT_insert_result,
    MMAUDIO_OT_clear_jobs,
)
