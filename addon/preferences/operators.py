# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators of the preferences and the sidebar: Test Connection and Test Key."""

from typing import Any

import bpy

from .. import session
from ..config import check_online
from ..failure import Failure
from . import key_test, page, storage_test, storages
from .redraw import redraw_when_ended


class MMAUDIO_OT_test_storage(bpy.types.Operator):
    bl_idname = storage_test.OPERATOR
    bl_label = "Test Connection"
    bl_description = "Upload a file of one kilobyte, read it back as Eachlabs would, and delete it. Click again to cancel"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        try:
            check_online()
        except Failure as failure:
            cls.poll_message_set(failure.text.rstrip("."))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> Any:
        running = session.current.latest_storage_test
        if running is not None and running.running and not running.cancelled:
            running.cancel()
            return {"FINISHED"}
        preferences, config = page.of(context), page.config(context)
        storage = storages.selected(preferences)
        try:
            if storage.NEEDS_API_KEY:
                config.check_access()
        except Failure as failure:
            self.report({"ERROR"}, failure.text)
            return {"CANCELLED"}
        storage_test.start(storage.test_config(preferences), config)
        return {"FINISHED"}


class MMAUDIO_OT_test_key(bpy.types.Operator):
    bl_idname = key_test.OPERATOR
    bl_label = "Test Key"
    bl_description = "Ask Eachlabs whether it accepts the key. It costs nothing"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        try:
            page.config(context).check_access()
        except Failure as failure:
            cls.poll_message_set(failure.text.rstrip("."))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> Any:
        session.current.start_key_test(page.config(context))
        redraw_when_ended()
        return {"FINISHED"}


CLASSES = (MMAUDIO_OT_test_storage, MMAUDIO_OT_test_key)
