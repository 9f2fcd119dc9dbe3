# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that fade generated sounds. Each is one undo step."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from typing import Any

import bpy
from bpy.props import IntProperty

from ..failure import Failure
from ..timeline import fades, strips
from ..timeline.strip_types import SoundStrip
from .report import report_failure


def selected_sounds(context: bpy.types.Context) -> list[SoundStrip]:
    """Return the generated sounds among the selected strips."""
    return [strip for strip in strips.selected(context) if strip.type == "SOUND" and strips.metadata(strip)]


class MMAUDIO_OT_crossfade_sounds(bpy.types.Operator):
    bl_idname = "mmaudio.crossfade_sounds"
    bl_label = "Cross-Fade Sounds"
    bl_description = (
        "Fade the selected generated sounds over each other where one starts and another one ends. "
        "Extends them beyond their handles, and puts them on two channels"
    )
    bl_options = {"REGISTER", "UNDO"}

    length: IntProperty(
        name="Length",
        description="Length of the cross-fade in frames. Shorter where the sounds have too little content beyond the cut",
        default=12,
        min=2,
        soft_max=100,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if len(selected_sounds(context)) > 1:
            return True
        cls.poll_message_set("Select at least two generated sounds that meet at a cut")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        def on_skipped(failure: Failure) -> None:
            self.report({"WARNING"}, f"{failure.message} {failure.hint}")

        try:
            count = fades.cross_fade(selected_sounds(context), self.length, on_skipped)
        except Failure as failure:
            return report_failure(self, failure)
        self.report({"INFO"}, f"Cross-faded {count} cut{'s' * (count != 1)}")
        return {"FINISHED"}


class MMAUDIO_OT_fade_edges(bpy.types.Operator):
    bl_idname = "mmaudio.fade_edges"
    bl_label = "Fade Edges"
    bl_description = "Soften hard cuts: fade the selected generated sounds in and out over one frame"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if selected_sounds(context):
            return True
        cls.poll_message_set("Select a generated sound")
        return False

    def execute(self, context: bpy.types.Context) -> Any:
        try:
            fades.fade_edges(selected_sounds(context))
        except Failure as failure:
            return report_failure(self, failure)
        return {"FINISHED"}


CLASSES = (MMAUDIO_OT_crossfade_sounds, MMAUDIO_OT_fade_edges)
