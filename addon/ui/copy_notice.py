# SPDX-License-Identifier: GPL-3.0-or-later
"""Notice in the header, shown before an operator blocks the interface."""

from collections.abc import Sequence
from typing import Any

import bpy

from ..timeline import shots, snapshot, strips
from ..timeline.strip_types import Strip

_TEXT = "MMAudio: copying 3D scenes for the background render…"
# Long enough for the header to be redrawn.
_DELAY_SECONDS = 0.1


class CopyNotice:
    """Mixin for operators whose `execute` copies the edit: large 3D scenes take a while to write."""

    _timer: Any = None

    def strips_to_copy(self, context: bpy.types.Context) -> Sequence[Strip]:
        """Return the strips whose scenes are copied."""
        return strips.selected(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        operator: Any = self
        clips = shots.clips(self.strips_to_copy(context))
        shown = shots.topmost_effects(clip for clip in clips if strips.has_picture(clip))
        if context.area is None or not snapshot.scenes_in(shown):
            return operator.execute(context)
        context.area.header_text_set(_TEXT)
        self._timer = context.window_manager.event_timer_add(_DELAY_SECONDS, window=context.window)
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
