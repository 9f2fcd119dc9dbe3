# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Key: asks the service whether it accepts the API key, and draws the button and the result."""

from typing import Any

import bpy

from .. import session
from ..failure import Failure
from ..text import draw_text
from . import page
from .redraw import redraw_when_ended


class MMAUDIO_OT_test_key(bpy.types.Operator):
    bl_idname = "mmaudio.test_key"
    bl_label = "Test Key"
    bl_description = "Ask Eachlabs whether it accepts the key. It costs nothing"
    bl_options = {"REGISTER", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        try:
            page.config(context).check_access()
        except Failure as failure:
            cls.poll_message_set(f"{failure.message} {failure.hint}".rstrip("."))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> Any:
        session.current.start_key_test(page.config(context))
        redraw_when_ended()
        return {"FINISHED"}


def draw(layout: Any, context: bpy.types.Context) -> None:
    """Draw the button, and the result of the latest test if it was of the same key."""
    test, config = session.current.key_test, page.config(context)
    if test is not None and test.tested != (config.key, config.base_url):
        test = None
    if test is not None and test.running:
        layout.label(text="Asking Eachlabs…", icon="SORTTIME")
        return
    layout.operator(MMAUDIO_OT_test_key.bl_idname, icon="CHECKMARK")
    if test is not None and test.failure is not None:
        draw_text(layout, test.failure.message, context, icon="ERROR")
        draw_text(layout, test.failure.hint, context, icon="BLANK1")
    elif test is not None:
        draw_text(layout, test.result, context, icon="CHECKMARK")


CLASSES = (MMAUDIO_OT_test_key,)
