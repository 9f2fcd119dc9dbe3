# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators on the takes of generated sounds. Each is one undo step."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from collections.abc import Mapping, Sequence
from typing import Any, cast

import bpy
from bpy.props import IntProperty

from ..failure import Failure
from ..timeline import compat, isolate, own_prompt, shots, strips, takes
from ..timeline.strip_types import SoundStrip, Strip
from . import settings
from .report import report_failure


def sound_at(strip: Strip, sounds: Mapping[str, Sequence[SoundStrip]] | None = None) -> SoundStrip | None:
    """Return the strip itself if it is a generated sound, or else the generated sound of the clip; None if there is none.

    `sounds` may pass the `strips.sounds_by_mark` of the strip's container, if known.
    """
    if strip.type == "SOUND":
        return strip if strips.METADATA_PROPERTY in strip else None
    found = strips.sounds_over(shots.base_strip(strip), sounds)
    # The clip's own sound before one over several clips, and one that is heard before a muted one.
    return min(found, key=lambda sound: (len(strips.marks_of(sound)) > 1, sound.mute), default=None)


def active_sound(context: bpy.types.Context) -> SoundStrip | None:
    """Return the active generated sound, or that of the active clip."""
    strip = compat.active_strip(context) if compat.edited_scene(context) is not None else None
    return None if strip is None else sound_at(strip)


def chosen_sounds(context: bpy.types.Context) -> list[SoundStrip]:
    """Return the generated sounds of the selected strips, or of the active strip if none is selected."""
    selected = strips.selected(context)
    if not selected:
        return [sound for sound in [active_sound(context)] if sound is not None]
    # All selected strips are on one level of the edit.
    sounds = strips.sounds_by_mark(isolate.container(selected[0]))
    found = (sound_at(strip, sounds) for strip in selected)
    return list(dict.fromkeys(sound for sound in found if sound is not None))


def strip_prompt(sound: SoundStrip) -> str:
    """Return the own prompt of the sound's clip; empty for a sound over several."""
    clips = strips.clips_of(sound)
    return own_prompt.of(clips[0]) if len(clips) == 1 else ""


class _TakesOperator:
    """Mixin for operators on sounds that have several takes."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        sounds = chosen_sounds(context)
        if any(len(takes.of(sound)) > 1 for sound in sounds):
            return True
        operator: Any = cls
        operator.poll_message_set("The sound has only one take" if sounds else "Select a clip or its generated sound")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        operator: Any = self
        failures: list[Failure] = []
        chosen = [sound for sound in chosen_sounds(context) if len(takes.of(sound)) > 1]
        for sound in chosen:
            try:
                self.change(sound)
            except Failure as failure:
                failures.append(failure)
        for failure in failures:
            report_failure(operator, failure)
        return {"CANCELLED"} if len(failures) == len(chosen) else {"FINISHED"}

    def change(self, sound: SoundStrip) -> None:
        """Do it for one sound. Raises Failure."""
        raise NotImplementedError


class MMAUDIO_OT_next_take(_TakesOperator, bpy.types.Operator):
    bl_idname = "mmaudio.next_take"
    bl_label = "Next Take"
    bl_description = "Play the next take. Handles, volume, fades, pan and channel of the strip stay"
    bl_options = {"REGISTER", "UNDO"}

    def change(self, sound: SoundStrip) -> None:
        takes.play(sound, takes.next_number(sound, 1))


class MMAUDIO_OT_previous_take(_TakesOperator, bpy.types.Operator):
    bl_idname = "mmaudio.previous_take"
    bl_label = "Previous Take"
    bl_description = "Play the previous take. Handles, volume, fades, pan and channel of the strip stay"
    bl_options = {"REGISTER", "UNDO"}

    def change(self, sound: SoundStrip) -> None:
        takes.play(sound, takes.next_number(sound, -1))


class MMAUDIO_OT_play_take(bpy.types.Operator):
    bl_idname = "mmaudio.play_take"
    bl_label = "Play Take"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    take: IntProperty(name="Take", description="Number of the take", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        sound = active_sound(context)
        found = [] if sound is None else [take for take in takes.of(sound) if take.get("take") == properties.take]
        prompts = [f"Prompt: {take.get('prompt') or 'none'}. Seed: {take.get('seed')}" for take in found]
        return "\n".join(["Play this take instead", *prompts])

    def execute(self, context: bpy.types.Context) -> Any:
        sound, number = active_sound(context), cast(int, self.take)
        if sound is None or number not in [take.get("take") for take in takes.of(sound)]:
            return {"CANCELLED"}
        try:
            takes.play(sound, number)
        except Failure as failure:
            return report_failure(self, failure)
        return {"FINISHED"}


class MMAUDIO_OT_keep_take(_TakesOperator, bpy.types.Operator):
    bl_idname = "mmaudio.keep_take"
    bl_label = "Keep This Take"
    bl_description = "Forget all takes but the one that is heard. The files stay on disk"
    bl_options = {"REGISTER", "UNDO"}

    def change(self, sound: SoundStrip) -> None:
        takes.keep_current(sound)


class MMAUDIO_OT_unpack_takes(_TakesOperator, bpy.types.Operator):
    bl_idname = "mmaudio.unpack_takes"
    bl_label = "Unpack Takes"
    bl_description = "Put the other takes on channels of their own, muted, so that takes can be layered"
    bl_options = {"REGISTER", "UNDO"}

    def change(self, sound: SoundStrip) -> None:
        takes.unpack(sound)


class MMAUDIO_OT_reuse_settings(bpy.types.Operator):
    bl_idname = "mmaudio.reuse_settings"
    bl_label = "Reuse Settings"
    bl_description = "Copy the prompt, seed and settings that this take was generated with to the panel"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if active_sound(context) is not None:
            return True
        cls.poll_message_set("Select a clip or its generated sound")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        scene, sound = compat.edited_scene(context), active_sound(context)
        assert scene is not None and sound is not None  # checked by poll
        settings.reuse(settings.of(scene), takes.current(sound), strip_prompt(sound))
        return {"FINISHED"}


CLASSES = (
    MMAUDIO_OT_next_take,
    MMAUDIO_OT_previous_take,
    MMAUDIO_OT_play_take,
    MMAUDIO_OT_keep_take,
    MMAUDIO_OT_unpack_takes,
    MMAUDIO_OT_reuse_settings,
)
