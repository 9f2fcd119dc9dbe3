# SPDX-License-Identifier: GPL-3.0-or-later
"""Redraws the preferences and the sidebars once tests have ended."""

import bpy

from .. import session

_POLL_SECONDS = 0.1


def redraw_when_ended() -> None:
    if not bpy.app.timers.is_registered(_redraw):
        bpy.app.timers.register(_redraw, first_interval=_POLL_SECONDS, persistent=True)


def detach() -> None:
    if bpy.app.timers.is_registered(_redraw):
        bpy.app.timers.unregister(_redraw)


def _redraw() -> float | None:
    """A timer function."""
    if session.current.is_testing:
        return _POLL_SECONDS
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if area.type == "PREFERENCES" or (area.type == "SEQUENCE_EDITOR" and region.type == "UI"):
                    region.tag_redraw()
    return None
