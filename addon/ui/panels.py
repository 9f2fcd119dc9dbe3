# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels of the sidebar tab. Each explains what is missing and offers the operator that fixes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from .. import session
from ..failure import readable
from ..jobs.model.job import Job
from ..jobs.model.run import Progress, Stage
from ..preferences import page, storage_given_url
from ..service.eachlabs import client, mmaudio
from ..service.storage.given_url import LENGTH_NOTE
from ..text import draw_text
from ..timeline import compat, strips, takes
from ..timeline.strip_types import SoundStrip
from . import operators, settings, take_operators

_STAGE_ICONS = {Stage.DONE: "CHECKMARK", Stage.FAILED: "ERROR", Stage.CANCELLED: "X", Stage.QUEUED: "TIME"}


class _Sidebar:
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "MMAudio"


class MMAUDIO_PT_generate(_Sidebar, bpy.types.Panel):
    bl_label = "Generate Sound"

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        scene = compat.edited_scene(context)
        if scene is not None:
            _draw_settings(layout, settings.of(scene))
            if page.config(context).uses_clip_url:
                _draw_clip_url(layout, context)
        _draw_generate_failure(layout, context)
        count = len(operators.clips_with_picture(strips.selected(context)))
        as_one = False
        if scene is not None and count > 1:
            row = layout.row()
            row.prop(settings.of(scene), "as_one")
            row.prop(settings.of(scene), "generate_again")
            as_one = settings.of(scene).as_one
        row = layout.row()
        row.scale_y = 1.5
        text = f"Generate {'One ' if as_one else ''}Sound{f' for {count} Strips' if count > 1 else ''}"
        row.operator(operators.MMAUDIO_OT_generate.bl_idname, text=text, icon="SOUND")
        planned = operators.current_plan(context)
        if planned is not None:
            draw_text(layout, planned.text, context)


class MMAUDIO_PT_advanced(_Sidebar, bpy.types.Panel):
    bl_label = "Advanced"
    bl_parent_id = "MMAUDIO_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return compat.edited_scene(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        scene = compat.edited_scene(context)
        assert scene is not None  # checked by poll
        scene_settings = settings.of(scene)
        layout: Any = self.layout
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(scene_settings, "num_steps")
        column.prop(scene_settings, "cfg_strength")
        column.separator()
        column.prop(scene_settings, "source")
        column.prop(scene_settings, "long_clips")
        column.prop(scene_settings, "handle_seconds")
        column.separator()
        column.prop(scene_settings, "placement")
        column.prop(scene_settings, "sound_channel")
        column.prop(scene_settings, "level")
        column.prop(scene_settings, "own_sound")
        if scene_settings.own_sound == "LOWER":
            column.prop(scene_settings, "own_sound_db")
        layout.prop(scene_settings, "scenes_as_they_are")


class MMAUDIO_PT_sound(_Sidebar, bpy.types.Panel):
    bl_label = "Selected Sound"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return take_operators.active_sound(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        sound = take_operators.active_sound(context)
        assert sound is not None  # checked by poll
        layout: Any = self.layout
        made_with = takes.current(sound)
        if len(takes.of(sound)) > 1:
            _draw_takes(layout, sound)
        column = layout.column(align=True)
        for name, value in _made_with_rows(made_with):
            split = column.split(factor=0.35)
            split.label(text=name)
            draw_text(split, value, context, share=0.65)
        layout.operator(take_operators.MMAUDIO_OT_reuse_settings.bl_idname, icon="COPYDOWN")


class MMAUDIO_PT_jobs(_Sidebar, bpy.types.Panel):
    bl_label = "Jobs"

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        jobs = session.current.runner.jobs
        if session.current.runner.note:
            draw_text(layout, session.current.runner.note, context, icon="ERROR")
        for project in session.current.other_projects:
            draw_text(layout, f"Jobs are waiting for {Path(project).name}: open it to resume them", context, icon="INFO")
        for strip, reason in session.current.waiting_for_access.items():
            draw_text(
                layout, f"The job of “{strip}” was interrupted and is waiting to resume. {reason}", context, icon="INFO"
            )
        if not jobs:
            layout.label(text="No jobs yet")
            return
        for job in reversed(jobs):
            _draw_job(layout.box(), job, context)
        if any(job.stage.ended for job in jobs):
            layout.operator(operators.MMAUDIO_OT_clear_jobs.bl_idname, icon="TRASH")


CLASSES = (MMAUDIO_PT_generate, MMAUDIO_PT_advanced, MMAUDIO_PT_sound, MMAUDIO_PT_jobs)


def _draw_settings(layout: Any, scene_settings: settings.MMAUDIO_PG_settings) -> None:
    column = layout.column(align=True)
    column.label(text="Prompt")
    column.prop(scene_settings, "prompt", text="", placeholder="What should be heard")
    column.separator()
    column.label(text="Negative Prompt")
    column.prop(scene_settings, "negative_prompt", text="", placeholder="What should not be heard")
    row = layout.row(align=True)
    seed = row.row(align=True)
    seed.active = not scene_settings.randomize_seed
    seed.prop(scene_settings, "seed")
    row.prop(scene_settings, "randomize_seed", text="", icon="FILE_REFRESH")
    layout.prop(scene_settings, "takes")


def _draw_clip_url(layout: Any, context: bpy.types.Context) -> None:
    """Draw the URL of a clip that the artist has published; nothing is rendered then."""
    column = layout.column(align=True)
    preferences = page.of(context)
    column.label(text="Clip URL")
    column.prop(preferences, "clip_url", text="", placeholder="https://…/clip.mp4")
    draw_text(column, f"{LENGTH_NOTE} It is processed in one run, however long it is.", context)
    storage_given_url.draw_test(column, preferences, context)


def _draw_takes(layout: Any, sound: SoundStrip) -> None:
    """Draw the takes of a sound, each as a button that plays it, and what can be done with them."""
    playing, fps = takes.current(sound), strips.fps(sound.id_data)
    column = layout.column(align=True)
    for take in takes.of(sound):
        seconds = float((take["length"]) / fps)
        text = f"{take['take']}   {seconds:.1f} s   {take['seed']}   {take['prompt'] or 'no prompt'}"
        icon = "RADIOBUT_ON" if take == playing else "RADIOBUT_OFF"
        play = column.operator(take_operators.MMAUDIO_OT_play_take.bl_idname, text=text, icon=icon, depress=take == playing)
        play.take = take["take"]
    row = layout.row(align=True)
    row.operator(take_operators.MMAUDIO_OT_previous_take.bl_idname, text="Previous Take", icon="TRIA_UP")
    row.operator(take_operators.MMAUDIO_OT_next_take.bl_idname, text="Next Take", icon="TRIA_DOWN")
    row = layout.row(align=True)
    row.operator(take_operators.MMAUDIO_OT_keep_take.bl_idname, text="Keep This Take")
    row.operator(take_operators.MMAUDIO_OT_unpack_takes.bl_idname, text="Unpack Takes")


def _made_with_rows(made_with: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings that a sound was generated with, as labels and values."""
    cost = made_with.get("cost_usd")
    return [
        ("Prompt", str(made_with.get("prompt") or "none")),
        ("Negative Prompt", str(made_with.get("negative_prompt") or "none")),
        ("Seed", str(made_with.get("seed", ""))),
        ("Steps", str(made_with.get("num_steps", ""))),
        ("Guidance", f"{made_with.get('cfg_strength', 0):g}"),
        ("Cost", "unknown" if cost is None else f"${cost:.4f}"),
    ]


def _draw_generate_failure(layout: Any, context: bpy.types.Context) -> None:
    """Draw why Generate Sound is disabled, and the button that fixes it."""
    reason = operators.generate_failure(context)
    if reason is None:
        return
    box = layout.box()
    draw_text(box, reason.message, context, icon="INFO")
    if reason.code == "no_key":
        box.operator("wm.url_open", text="Get API Key", icon="URL").url = client.KEYS_URL
        box.operator("preferences.addon_show", text="Set API Key", icon="PREFERENCES").module = page.ADDON
    elif reason.code == "offline" and not bpy.app.online_access_override:
        box.prop(context.preferences.system, "use_online_access", text="Allow Online Access", toggle=True, icon="INTERNET")
    elif reason.code == "no_edit":
        box.operator("scene.new_sequencer_scene", text="New Edit", icon="ADD")
    elif reason.code == "unsafe_url":
        box.operator("preferences.addon_show", text="Set Service URL", icon="PREFERENCES").module = page.ADDON
    else:
        draw_text(box, reason.hint, context)


def _draw_job(box: Any, job: Job, context: bpy.types.Context) -> None:
    row = box.row()
    row.label(text=readable(job.request.name), icon=_STAGE_ICONS.get(job.stage, "RENDER_ANIMATION"))
    if not job.stage.ended:
        row.operator(operators.MMAUDIO_OT_cancel_job.bl_idname, text="", icon="X", emboss=False).job = job.id
        box.progress(factor=job.progress.fraction if job.progress else 0.0, text=stage_text(job))
        return
    if job.stage is Stage.DONE:
        draw_text(box, stage_text(job), context)
    if job.note:
        draw_text(box, job.note, context)
    if job.error is not None:
        draw_text(box, job.error.message, context)
        draw_text(box, job.error.hint, context)
    if job.stage is Stage.CANCELLED:
        box.label(text="Cancelled")
    was_uploaded = job.uploads and not job.request.options.clip_url
    if was_uploaded and not session.current.has_worker(job):
        draw_text(box, "The clip is still in storage. Clear Ended Jobs deletes it.", context, icon="INFO")
    if job.stage is not Stage.DONE:
        text = retry_text(job)
        box.operator(operators.MMAUDIO_OT_retry_job.bl_idname, text=text, icon="FILE_REFRESH").job = job.id
    # The edit of the job was never saved, or its scene is gone.
    has_lost_its_edit = not session.current.belongs_to_open_file(job) or (
        job.error is not None and job.error.code == "no_scene"
    )
    if job.finished and (job.stage is Stage.DONE or has_lost_its_edit):
        box.operator(operators.MMAUDIO_OT_insert_result.bl_idname, icon="IMPORT").job = job.id


def retry_text(job: Job) -> str:
    """Return the text of the Retry button, with the expected cost if it creates runs."""
    cost = job.retry_cost(cleaning_up=session.current.has_worker(job))
    return f"Retry, {mmaudio.price_text(cost)}" if cost else "Retry"


def stage_text(job: Job) -> str:
    """Return the stage of the job and its progress as a text."""
    progress = job.progress or Progress(0, 0, "")
    runs = ""
    if len(job.runs) > 1:
        runs = f"{sum(run.stage.ended for run in job.runs)} of {len(job.runs)} runs done"
    if progress.unit == "runs" and not job.stage.ended:
        return runs
    match job.stage:
        case Stage.QUEUED:
            return "Waiting"
        case Stage.EXPORTING:
            rendering = f"Rendering, {100 * progress.fraction:.0f} %"
            return f"{rendering}, {runs}" if runs else rendering
        case Stage.UPLOADING:
            return f"Uploading, {progress.done / 1e6:.1f} of {progress.total / 1e6:.1f} MB"
        case Stage.PREDICTING:
            return f"Generating, {progress.done:.0f} of about {progress.total:.0f} s"
        case Stage.DOWNLOADING:
            return f"Downloading, {progress.done / 1e6:.1f} MB"
        case Stage.PLACING if session.current.waits_for_its_file(job):
            return readable(f"Ready: open {Path(job.project).name} to place it")
        case Stage.PLACING:
            return "Waiting to place the sound"
        case Stage.DONE:
            cost = "" if job.cost is None else f", ${job.cost:.4f}"
            seeds = ", ".join(str(take.settings.seed) for take in job.takes)
            return f"Done{cost}, seed {seeds}"
        case _:
            return job.stage.capitalize()
