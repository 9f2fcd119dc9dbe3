# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done. Starting a job is no undo step; placing its sound is one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import StringProperty

from .. import generation
from ..config import check_online
from ..failure import Failure
from ..jobs.model.job import Job, Stage
from ..preferences import clip_url, page, storage_test
from ..service.eachlabs import client
from ..service.net.addresses import check_url
from ..service.storage.eachlabs import EachlabsConfig
from ..service.storage.given_url import GivenUrlConfig
from ..timeline import compat, place, shots, strips
from . import settings, ticker
from .announced import Announced


def blocker(context: bpy.types.Context) -> Failure | None:
    """What keeps Generate Sound from running here, or None."""
    scene = compat.edited_scene(context)
    if scene is None:
        return Failure("no_edit", "No edit is open in this workspace.", "Choose or add a scene in the Sequencer's header.")
    config = page.config(context)
    try:
        config.check_access()
    except Failure as failure:
        return failure
    chosen = strips.selected(context)
    if not chosen:
        return Failure("no_strip", "No strip is selected.", "Select the strips that should get a sound.")
    count = len(with_picture(chosen))
    if not count:
        return Failure("no_picture", "The selected strip has no picture.", "Select a movie, image, scene or effect strip.")
    return _address_blocker(clip_url.of(scene), count, config.base_url) if config.by_hand else None


def with_picture(chosen: Sequence[Any]) -> list[Any]:
    """What the chosen strips stand for, but for sounds of other kinds."""
    return [clip for clip in shots.clips(chosen) if strips.has_picture(clip)]


def _address_blocker(clip_url: str, count: int, base_url: str) -> Failure | None:
    """What is wrong with the address of a clip that was published by hand."""
    if count > 1:
        return generation.one_address(count)
    hint = "Paste the public https address of its mp4 above."
    if not clip_url:
        return Failure("no_address", "The clip has no address yet.", hint)
    try:
        check_url(clip_url, loopback_allowed=client.is_local(base_url), hint=hint)
    except Failure as failure:
        return Failure("no_address", failure.message, hint)
    return None


class MMAUDIO_OT_generate(Announced, bpy.types.Operator):
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
        chosen = with_picture(strips.selected(context))
        asked = settings.of(scene)
        try:
            config = page.config(context)
            options = settings.options(asked, clip_url.of(scene) if config.by_hand else "")
            first, random_seeds = settings.for_run(asked), asked.randomize_seed
            jobs = generation.start(scene, chosen, first, config, options, random_seeds=random_seeds)
        except Failure as failure:
            return report_failure(self, failure)
        ticker.start()
        ticker.redraw()
        refused = [job.error for job in jobs if job.error is not None]
        for error in refused:
            # An error is an exception for a script, which would not hear of the jobs that have begun.
            self.report({"ERROR" if len(refused) == len(jobs) else "WARNING"}, f"{error.message} {error.hint}")
        return {"FINISHED"} if len(refused) < len(jobs) else {"CANCELLED"}


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


class MMAUDIO_OT_retry_job(_OfJob, Announced, bpy.types.Operator):
    bl_idname = "mmaudio.retry_job"
    bl_label = "Retry"
    bl_description = "Try again. What has been paid for is fetched, not ordered again"
    bl_options = {"REGISTER", "INTERNAL"}

    def copied(self, context: bpy.types.Context) -> Sequence[Any]:
        job = self.found()
        clip = None if job is None or job.paid else strips.find_marked(job.request)[1]
        return [] if clip is None else [clip]

    def execute(self, context: bpy.types.Context) -> Any:
        job = self.found()
        if job is None or job.stage not in (Stage.FAILED, Stage.CANCELLED):
            return {"CANCELLED"}
        try:
            generation.retry(job, page.config(context))
        except Failure as failure:
            return report_failure(self, failure)
        ticker.start()
        ticker.redraw()
        return {"FINISHED"}


class MMAUDIO_OT_insert_result(_OfJob, bpy.types.Operator):
    bl_idname = "mmaudio.insert_result"
    bl_label = "Insert Result"
    bl_description = "Put this job's finished sounds into the edit once more, beside their clip"
    bl_options = {"REGISTER", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        job = self.found()
        if job is None or not job.finished or not job.stage.ended:
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
        kept: list[Job] = []
        try:
            check_online()
        except Failure as failure:
            kept = [job for job in generation.runner.jobs if job.stage.ended and job.uploads]
            if kept:
                self.report({"WARNING"}, f"What has a clip in storage stays until that can be deleted. {failure.hint}")
        for job in generation.runner.jobs:
            if job not in kept:
                generation.runner.forget(job.id)
        ticker.redraw()
        return {"FINISHED"}


def sound_of(context: bpy.types.Context) -> Any:
    """The sound of ours that is selected, or the one that is heard of the clip that is; None where there is none."""
    scene, strip = compat.edited_scene(context), context.active_strip
    if scene is None or strip is None:
        return None
    if strips.made_with(strip):
        return strip
    takes = strips.takes_of(scene, shots.clip_under(strip))
    return next((sound for sound in takes if not sound.mute), next(iter(takes), None))


def takes_of(context: bpy.types.Context) -> list[Any]:
    """All takes that the selected sound is one of."""
    scene, sound = compat.edited_scene(context), sound_of(context)
    if scene is None or sound is None:
        return []
    clip = strips.clip_of(sound)
    return [sound] if clip is None else strips.takes_of(scene, clip)


class MMAUDIO_OT_next_take(bpy.types.Operator):
    bl_idname = "mmaudio.next_take"
    bl_label = "Next Take"
    bl_description = "Hear the next take of the selected clip and mute the others"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        count = len(takes_of(context))
        if count < 2:
            cls.poll_message_set("Its sound has one take only" if count else "Select a clip or its generated sound")
        return count > 1

    def execute(self, context: bpy.types.Context) -> Any:
        place.hear_next(takes_of(context))
        return {"FINISHED"}


class MMAUDIO_OT_reuse_settings(bpy.types.Operator):
    bl_idname = "mmaudio.reuse_settings"
    bl_label = "Reuse Settings"
    bl_description = "Bring the prompt, the seed and the settings that this sound was made with back into the panel"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if sound_of(context) is not None:
            return True
        cls.poll_message_set("Select a clip or its generated sound")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        scene = compat.edited_scene(context)
        assert scene is not None  # poll has seen to it
        settings.reuse(settings.of(scene), strips.made_with(sound_of(context)))
        return {"FINISHED"}


class MMAUDIO_OT_test_storage(bpy.types.Operator):
    bl_idname = storage_test.TEST
    bl_label = "Test Connection"
    bl_description = "Upload a file of a kilobyte, read it back as the service would, and delete it"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        try:
            check_online()
        except Failure as failure:
            cls.poll_message_set(f"{failure.message} {failure.hint}".rstrip("."))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> Any:
        running = storage_test.latest()
        if running is not None and running.running and not running.cancelled:
            running.cancel()
            return {"FINISHED"}
        config = page.config(context)
        storage = config.storage
        scene = compat.edited_scene(context)
        if config.by_hand and scene is not None:
            storage = GivenUrlConfig(clip_url.of(scene))
        try:
            if isinstance(storage, EachlabsConfig):
                config.check_access()
        except Failure as failure:
            return report_failure(self, failure)
        storage_test.start(storage, config)
        return {"FINISHED"}


CLASSES = (
    MMAUDIO_OT_generate,
    MMAUDIO_OT_next_take,
    MMAUDIO_OT_reuse_settings,
    MMAUDIO_OT_cancel_job,
    MMAUDIO_OT_retry_job,
    MMAUDIO_OT_insert_result,
    MMAUDIO_OT_clear_jobs,
    MMAUDIO_OT_test_storage,
)


def report_failure(operator: bpy.types.Operator, failure: Failure) -> set[str]:
    operator.report({"ERROR"}, f"{failure.message} {failure.hint}".rstrip())
    return {"CANCELLED"}
