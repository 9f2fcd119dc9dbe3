# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompts to choose from: the latest ones, and presets."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel
from bpy.props import StringProperty

from ..preferences import page
from ..timeline import compat, own_prompt
from . import settings

_REMEMBERED = 30
_LENGTH_SHOWN = 60
_SCENE = 'getattr(bpy.context, "sequencer_scene", bpy.context.scene)'
"""The edited scene, in the words of a preset, which must run in each version of Blender."""
_PRESETS = Path(__file__).parents[1]
"""Folder in which Blender finds `presets`."""


def remember(preferences: page.MMAUDIO_AP_preferences, used: Iterable[str]) -> None:
    """Put prompts at the top of those in the menu."""
    collection: Any = preferences.prompts
    known = [item.name for item in collection]
    latest = [prompt for prompt in dict.fromkeys(prompt.strip() for prompt in used) if prompt]
    wanted = [*latest, *(prompt for prompt in known if prompt not in latest)][:_REMEMBERED]
    if wanted != known:
        collection.clear()
        for prompt in wanted:
            collection.add().name = prompt
        # So that Blender saves them.
        bpy.context.preferences.is_dirty = True


class MMAUDIO_OT_use_prompt(bpy.types.Operator):
    bl_idname = "mmaudio.use_prompt"
    bl_label = "Use Prompt"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    prompt: StringProperty(name="Prompt", description="Prompt for the next sounds", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        return f"Use this prompt for the next sounds:\n{properties.prompt}"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return compat.edited_scene(context) is not None

    def execute(self, context: bpy.types.Context) -> Any:
        scene = compat.edited_scene(context)
        assert scene is not None  # checked by poll
        settings.of(scene).prompt = cast(str, self.prompt)
        return {"FINISHED"}


class MMAUDIO_OT_clear_strip_prompts(bpy.types.Operator):
    bl_idname = "mmaudio.clear_strip_prompts"
    bl_label = "Clear Strip Prompts"
    bl_description = "Remove the prompts that the selected strips have of their own"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> Any:
        for clip in settings.selected_clips(context):
            own_prompt.put(clip, "")
        return {"FINISHED"}


class MMAUDIO_MT_prompts(bpy.types.Menu):
    bl_label = "Recent Prompts"

    def draw(self, context: Any) -> None:
        layout: Any = self.layout
        prompts: Any = page.of(context).prompts
        for item in prompts:
            draw_use(layout, item.name, _cut(item.name))
        if not prompts:
            layout.label(text="The last 30 prompts will be here")


def _cut(text: str) -> str:
    # By characters: not all languages have spaces.
    return text if len(text) <= _LENGTH_SHOWN else f"{text[: _LENGTH_SHOWN - 1]}…"


def draw_use(layout: Any, prompt: str, text: str, icon: str = "NONE") -> None:
    """Draw a button that uses a prompt for the next sounds."""
    layout.operator(MMAUDIO_OT_use_prompt.bl_idname, text=text, icon=icon).prompt = prompt


class MMAUDIO_PT_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Prompt Presets"
    preset_subdir = "mmaudio"
    preset_operator = "script.execute_preset"
    preset_add_operator = "mmaudio.add_preset"


class MMAUDIO_OT_add_preset(AddPresetBase, bpy.types.Operator):  # pyright: ignore[reportIncompatibleMethodOverride]
    bl_idname = "mmaudio.add_preset"
    bl_label = "Add Prompt Preset"
    bl_description = "Add or remove a preset of the prompt and the negative prompt"
    preset_menu = "MMAUDIO_PT_presets"
    preset_subdir = MMAUDIO_PT_presets.preset_subdir
    preset_defines = (f"settings = {_SCENE}.mmaudio",)
    preset_values = ("settings.prompt", "settings.negative_prompt")


CLASSES = (
    MMAUDIO_OT_use_prompt,
    MMAUDIO_OT_clear_strip_prompts,
    MMAUDIO_MT_prompts,
    MMAUDIO_PT_presets,
    MMAUDIO_OT_add_preset,
)


def attach() -> None:
    bpy.utils.register_preset_path(str(_PRESETS))


def detach() -> None:
    bpy.utils.unregister_preset_path(str(_PRESETS))
