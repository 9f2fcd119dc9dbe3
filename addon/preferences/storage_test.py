# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Connection: draws the button, and the result of the latest test of the storage settings."""

from typing import Any

import bpy

from .. import session
from ..config import Config
from ..service.storage import StorageConfig
from ..text import draw_text
from .redraw import redraw_when_ended

OPERATOR = "mmaudio.test_storage"
"""Operator that starts a test, or cancels the running one."""


def start(storage: StorageConfig, config: Config) -> None:
    """Start a test of `storage` and cancel those that are still running."""
    session.current.start_storage_test(storage, config)
    redraw_when_ended()


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
