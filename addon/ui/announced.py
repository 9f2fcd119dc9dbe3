# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that hold the interface for a moment say so before they begin."""

from collections.abc import Sequence
from typing import Any

import bpy

from ..timeline import shots, snapshot, strips

_TEXT = "MMAudio: copying 3D scenes for the background render…"
# Long enough for the header to be drawn.
_PAUSE_SECONDS = 0.1


class Announced:
    """An operator whose `execute` copies the edit: large 3D scenes take a while to write."""

    _timer: Any = None

    def copied(self, context: bpy.types.Context) -> Sequence[Any]:
        """The strips whose scenes are copied."""
        return strips.selected(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        operator: Any = self
        clips = shots.clips(self.copied(context))
        shown = shots.shown_by(clip for clip in clips if strips.has_picture(clip))
        if context.area is None or not snapshot.scenes_in(shown):
            return operator.execute(context)
        context.area.header_text_set(_TEXT)
        self._timer = context.window_manager.event_timer_add(_PAUSE_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(operator)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        operator: Any = self
        context.window_manager.event_timer_remove(self._timer)
        try:
            return operator.execute(context)
        finally:
            if context.area is not None:
                context.area.header_text_set(None)
