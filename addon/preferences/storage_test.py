# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Connection: draws the button, and the result of the latest test of the storage settings."""

from typing import Any

import bpy

from .. import session
from ..config import Config
from ..service.storage import StorageConfig
from ..text import draw_text

OPERATOR = "mmaudio.test_storage"
"""Operator that starts a test, or cancels the running one."""

_POLL_SECONDS = 0.1


def start(storage: StorageConfig, config: Config) -> None:
    """Start a test of `storage` and cancel those that are still running."""
    session.current.start_storage_test(storage, config)
    if not bpy.app.timers.is_registered(_redraw_when_ended):
        bpy.app.timers.register(_redraw_when_ended, first_interval=_POLL_SECONDS, persistent=True)


def detach() -> None:
    if bpy.app.timers.is_registered(_redraw_when_ended):
        bpy.app.timers.unregister(_redraw_when_ended)


def draw(layout: Any, storage: StorageConfig, context: bpy.types.Context, text: str = "Test Connection") -> None:
    """Draw the button, and the result of the latest test if it was of the same settings."""
    test = session.current.latest_storage_test
    if test is not None and test.storage != storage:
        test = None
    if test is not None and test.running:
        if test.cancelled:
            layout.label(text="Deleting the test file…", icon="SORTTIME")
        else:
            layout.operator(OPERATOR, text="Testing… (Click to Cancel)", icon="CANCEL")
        return
    layout.operator(OPERATOR, text=text, icon="URL")
    if test is None:
        return
    if test.failure is not None:
        draw_text(layout, test.failure.message, context, icon="ERROR")
        draw_text(layout, test.failure.hint, context, icon="BLANK1")
    else:
        draw_text(layout, test.result, context, icon="CHECKMARK")


def _redraw_when_ended() -> float | None:
    """Redraw the preferences and the sidebars once all tests have ended. A timer function."""
    if any(test.running for test in session.current.storage_tests):
        return _POLL_SECONDS
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if area.type == "PREFERENCES" or (area.type == "SEQUENCE_EDITOR" and region.type == "UI"):
                    region.tag_redraw()
    return None
