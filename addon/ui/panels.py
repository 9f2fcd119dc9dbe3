# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels of the sidebar tab. Each explains what is missing and offers the operator that fixes it."""

from collections.abc import Mapping
from typing import Any

import bpy

from .. import generation, plan
from ..failure import Failure, readable
from ..preferences import page, storage_given_url
from ..service.eachlabs import mmaudio
from ..service.storage.given_url import LENGTH_NOTE
from ..text import draw_text, fitting
from ..timeline import compat, own_prompt, strips, takes
from ..timeline.strip_types import SoundStrip
from . import failures, first_contact, order, prompts, settings, take_operators
from .generate import MMAUDIO_OT_generate

_BESIDE_TAKE = 60
"""Pixels beside the text of a take's button: icon, and the column of buttons."""


class Sidebar:
    """Mixin for panels of the add-on's tab, which is hidden where only the preview is shown."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "MMAudio"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        space: Any = context.space_data
        return space.view_type != "PREVIEW"


class MMAUDIO_PT_generate(Sidebar, bpy.types.Panel):
    bl_label = "Generate Sound"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        if compat.edited_scene(context) is not None and not first_contact.is_needed(context):
            prompts.MMAUDIO_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        if first_contact.is_needed(context):
            first_contact.draw(layout, context)
            return
        first_contact.draw_new_key(layout, context)
        scene = compat.edited_scene(context)
        if scene is not None:
            column = layout.column(align=True)
            _draw_prompts(column, settings.of(scene), context)
            column = layout.column(align=True)
            _draw_choice(column, settings.of(scene))
            if page.config(context).uses_clip_url:
                _draw_clip_url(layout, context)
        _draw_button(layout, context)
        _draw_failures(layout)


class MMAUDIO_PT_options(Sidebar, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "MMAUDIO_PT_generate"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return compat.edited_scene(context) is not None and not first_contact.is_needed(context)

    def draw(self, context: bpy.types.Context) -> None:
        scene = compat.edited_scene(context)
        assert scene is not None  # checked by poll
        scene_settings = settings.of(scene)
        layout: Any = self.layout
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        row = column.row()
        row.active = not scene_settings.randomize_seed
        row.prop(scene_settings, "seed")
        column.prop(scene_settings, "num_steps", text="Steps")
        column.prop(scene_settings, "cfg_strength", text="Guidance")
        column.separator()
        column.prop(scene_settings, "as_one")
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
        column.separator()
        column.prop(scene_settings, "scenes_as_they_are", text="3D Scenes as They Are")


class MMAUDIO_PT_takes(Sidebar, bpy.types.Panel):
    bl_label = "Takes"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return super().poll(context) and take_operators.active_sound(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        sound = take_operators.active_sound(context)
        assert sound is not None  # checked by poll
        _draw_takes(self.layout, sound, context)


class MMAUDIO_PT_made_with(Sidebar, bpy.types.Panel):
    bl_label = "Made With"
    bl_parent_id = "MMAUDIO_PT_takes"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        sound = take_operators.active_sound(context)
        if sound is None:
            return
        layout: Any = self.layout
        column = layout.column(align=True)
        for name, value in _made_with_rows(takes.current(sound)):
            split = column.split(factor=0.35)
            split.label(text=name)
            draw_text(split, value, context, share=0.65)
        layout.operator(take_operators.MMAUDIO_OT_reuse_settings.bl_idname, icon="COPYDOWN")


class MMAUDIO_MT_takes(bpy.types.Menu):
    bl_label = "Takes"

    def draw(self, context: Any) -> None:
        layout: Any = self.layout
        layout.operator(take_operators.MMAUDIO_OT_keep_take.bl_idname)
        layout.operator(take_operators.MMAUDIO_OT_unpack_takes.bl_idname)
        layout.separator()
        sound = take_operators.active_sound(context)
        if sound is not None:
            prompt = str(takes.current(sound).get("prompt", ""))
            shared = settings.shared_prompt(prompt, take_operators.strip_prompt(sound))
            prompts.draw_use(layout, shared, "Use Prompt", "PASTEDOWN")
        layout.operator(take_operators.MMAUDIO_OT_reuse_settings.bl_idname, icon="COPYDOWN")


CLASSES = (
    MMAUDIO_PT_generate,
    MMAUDIO_PT_options,
    MMAUDIO_PT_takes,
    MMAUDIO_PT_made_with,
    MMAUDIO_MT_takes,
)


def _draw_prompts(column: Any, scene_settings: settings.MMAUDIO_PG_settings, context: bpy.types.Context) -> None:
    row = column.row(align=True)
    row.prop(scene_settings, "prompt", text="", placeholder="Prompt for new sounds")
    row.menu(prompts.MMAUDIO_MT_prompts.__name__, text="", icon="TIME")
    column.prop(scene_settings, "negative_prompt", text="", icon="REMOVE", placeholder="What should not be heard")
    clips = settings.selected_clips(context)
    if clips:
        prompts_of_strips = {own_prompt.of(clip) for clip in clips}
        whose = clips[0].name if len(clips) == 1 else f"{len(clips)} strips"
        placeholder = f"Different for {whose}" if len(prompts_of_strips) > 1 else f"Only for {readable(whose)}"
        row = column.row(align=True)
        row.prop(scene_settings, "strip_prompt", text="", icon="SEQ_SEQUENCER", placeholder=placeholder)
        if any(prompts_of_strips):
            row.operator(prompts.MMAUDIO_OT_clear_strip_prompts.bl_idname, text="", icon="X")


def _draw_choice(column: Any, scene_settings: settings.MMAUDIO_PG_settings) -> None:
    """Draw which strips get a sound, and how many takes."""
    row = column.row(align=True)
    row.prop(scene_settings, "takes")
    row.prop(scene_settings, "randomize_seed", text="", icon="FILE_REFRESH")
    row = column.row(align=True)
    row.prop(scene_settings, "scope", text="")
    row.prop(scene_settings, "skip_done", text="", icon="FILTER")


def _draw_clip_url(layout: Any, context: bpy.types.Context) -> None:
    """Draw the URL of a clip that the artist has published; nothing is rendered then."""
    column = layout.column(align=True)
    preferences = page.of(context)
    column.label(text="Clip URL")
    column.prop(preferences, "clip_url", text="", placeholder="https://…/clip.mp4")
    draw_text(column, f"{LENGTH_NOTE} It is processed in one run, however long it is.", context)
    storage_given_url.draw_test(column, preferences, context)


def _draw_button(layout: Any, context: bpy.types.Context) -> None:
    """Draw Generate Sound, and the plan or what is missing."""
    reason: Failure | None = None
    planned: plan.Plan | None = None
    try:
        order.check(context)
        planned = order.current(context).plan()
    except Failure as failure:
        reason = failure
    if planned is not None and not planned.strips:
        reason = generation.NothingToOrder(planned.skipped)
    row = layout.row()
    row.scale_y = 1.5
    row.enabled = reason is None
    text = "Generate"
    if planned is not None and planned.strips:
        text = "Generate One Sound" if planned.as_one else f"Generate {planned.strips}"
    row.operator(MMAUDIO_OT_generate.bl_idname, text=text, icon="SOUND")
    if reason is not None:
        _draw_reason(layout, reason, planned, context)
    elif planned is not None:
        # The button has the number of strips.
        _draw_line(layout, fitting(context, *planned.texts))


def _draw_reason(layout: Any, reason: Failure, planned: plan.Plan | None, context: bpy.types.Context) -> None:
    """Draw why Generate Sound is disabled, and the button that fixes it."""
    if planned is not None:
        _draw_line(layout, fitting(context, *planned.texts))
        scene = compat.edited_scene(context)
        if scene is not None and any(skipped.reason == plan.DONE for skipped in planned.skipped):
            layout.prop(settings.of(scene), "skip_done", icon="FILTER")
    else:
        draw_text(layout, f"{reason.message} {reason.hint}", context, icon="INFO")
    if reason.code == "no_edit":
        layout.operator("scene.new_sequencer_scene", text="New Edit", icon="ADD")
    elif reason.code == "unsafe_url":
        layout.operator("preferences.addon_show", text="Set Service URL", icon="PREFERENCES").module = page.ADDON


def _draw_line(layout: Any, text: str) -> None:
    row = layout.row()
    row.active, row.alignment = False, "CENTER"
    row.label(text=text)


def _draw_failures(layout: Any) -> None:
    """Draw what went wrong in a line, with a way to what fixes it."""
    if summary := failures.summary():
        row = layout.row()
        row.alert = True
        row.popover(panel=failures.MMAUDIO_PT_failures.__name__, text=summary, icon="ERROR")
    elif failures.is_paused():
        layout.popover(panel=failures.MMAUDIO_PT_failures.__name__, text="Paused", icon="PAUSE")


def _draw_takes(layout: Any, sound: SoundStrip, context: bpy.types.Context) -> None:
    """Draw the takes of a sound, each as a button that plays it, and what can be done with them."""
    playing, fps = takes.current(sound), strips.fps(sound.id_data)
    row = layout.row()
    column = row.column(align=True)
    for take in takes.of(sound):
        seconds = float(take.get("length", 0) / fps)
        short = f"Take {take.get('take', 1)}   {seconds:.1f} s"
        text = fitting(context, f"{short}   seed {take.get('seed', '')}", short, beside=_BESIDE_TAKE)
        icon = "RADIOBUT_ON" if take == playing else "RADIOBUT_OFF"
        play = column.operator(take_operators.MMAUDIO_OT_play_take.bl_idname, text=text, icon=icon, depress=take == playing)
        play.take = take.get("take", 1)
    column = row.column(align=True)
    if len(takes.of(sound)) > 1:
        column.operator(take_operators.MMAUDIO_OT_previous_take.bl_idname, text="", icon="TRIA_UP")
        column.operator(take_operators.MMAUDIO_OT_next_take.bl_idname, text="", icon="TRIA_DOWN")
    column.menu(MMAUDIO_MT_takes.__name__, text="", icon="DOWNARROW_HLT")


def _made_with_rows(made_with: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings that a sound was generated with, as labels and values."""
    cost = made_with.get("cost_usd")
    return [
        ("Prompt", str(made_with.get("prompt") or "none")),
        ("Negative", str(made_with.get("negative_prompt") or "none")),
        ("Seed", str(made_with.get("seed", ""))),
        ("Steps", str(made_with.get("num_steps", ""))),
        ("Guidance", f"{made_with.get('cfg_strength', 0):g}"),
        ("Cost", "unknown" if cost is None else mmaudio.price_text(cost)),
    ]
