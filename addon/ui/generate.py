# SPDX-License-Identifier: GPL-3.0-or-later
"""Operator Generate Sound. Starting jobs is not an undo step; placing their sounds is."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from collections.abc import Sequence
from typing import Any, cast

import bpy
from bpy.props import FloatProperty

from .. import plan, session
from ..failure import Failure
from ..preferences import page
from ..timeline import own_prompt
from ..timeline.strip_types import Strip
from . import order, progress, prompts, settings, ticker
from .copy_notice import CopyNotice
from .report import report_failure

_SKIPPED_SHOWN = 10


class MMAUDIO_OT_generate(CopyNotice, bpy.types.Operator):
    bl_idname = "mmaudio.generate"
    bl_label = "Generate Sound"
    bl_description = "Generate a sound for each chosen strip from its picture. Runs in the background"
    bl_options = {"REGISTER"}

    max_cost: FloatProperty(
        name="Maximum Cost",
        description="Do nothing if the expected cost is higher, in US dollars. 0: no limit",
        min=0.0,
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        planned = _planned(context)
        lines = [cls.bl_description, *([f"Skipped:\n{planned.skipped_text}"] if planned and planned.skipped else [])]
        return ".\n".join(lines)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        failure = order.failure(context)
        if failure is not None:
            cls.poll_message_set(failure.text.rstrip("."))
        return failure is None

    def strips_to_copy(self, context: bpy.types.Context) -> Sequence[Strip]:
        try:
            return order.current(context).chosen
        except Failure:
            # `execute` reports it.
            return []

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        planned = _planned(context)
        if planned is None or not page.of(context).asks_before(planned.cost_usd, planned.runs):
            return super().invoke(context, event)
        manager: Any = context.window_manager
        return manager.invoke_props_dialog(self, width=360, title="Generate Sound", confirm_text="Generate")

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the dialog that asks before a large order."""
        planned = _planned(context)
        if planned is None:
            return
        column: Any = self.layout
        column.label(text=planned.text)
        lines = planned.skipped_text.splitlines()
        for line in lines[:_SKIPPED_SHOWN]:
            column.label(text=line, icon="BLANK1")
        if len(lines) > _SKIPPED_SHOWN:
            column.label(text=f"and {len(lines) - _SKIPPED_SHOWN} more", icon="BLANK1")

    def execute(self, context: bpy.types.Context) -> Any:
        limit = cast(float, self.max_cost)
        try:
            ordered = order.current(context)
            planned = ordered.plan() if limit else None
            if planned is not None and planned.cost_usd > limit:
                self.report({"ERROR"}, f"{planned.text}: more than the maximum of ${limit:g}. Nothing was sent")
                return {"CANCELLED"}
            if all(job.stage.ended for job in session.current.runner.jobs):
                progress.dismiss()
            jobs = ordered.start()
        except Failure as failure:
            return report_failure(self, failure)
        own = [own_prompt.of(clip) for clip in ordered.chosen]
        prompts.remember(page.of(context), [settings.of(ordered.scene).prompt, *own])
        ticker.start()
        ticker.redraw()
        errors = [job.error for job in jobs if job.error is not None]
        for error in errors:
            # Scripts get an exception for an error report, which would hide from them that other jobs have started.
            self.report({"ERROR" if len(errors) == len(jobs) else "WARNING"}, f"{error.message} {error.hint}")
        return {"FINISHED"} if len(errors) < len(jobs) else {"CANCELLED"}


def _planned(context: bpy.types.Context) -> plan.Plan | None:
    """Return what the click would order, or None if it can't order anything."""
    try:
        return order.current(context).plan()
    except Failure:
        return None


CLASSES = (MMAUDIO_OT_generate,)
