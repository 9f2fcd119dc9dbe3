# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Key: draws the button, and the result of the latest test of the API key."""

from typing import Any

import bpy

from .. import session
from ..config import Config
from ..service.eachlabs.errors import BadKey
from ..text import draw_text

OPERATOR = "mmaudio.test_key"


def draw(layout: Any, config: Config, context: bpy.types.Context) -> None:
    """Draw the button, and the result of the latest test if it was of the same key."""
    test = session.current.key_test
    if test is not None and test.tested != (config.key, config.base_url):
        test = None
    if test is not None and test.running:
        layout.label(text="Asking Eachlabs…", icon="SORTTIME")
        return
    layout.operator(OPERATOR, icon="CHECKMARK")
    if test is not None and test.failure is not None:
        draw_text(layout, test.failure.message, context, icon="ERROR")
        if not isinstance(test.failure, BadKey):
            # The field is right above.
            draw_text(layout, test.failure.hint, context, icon="BLANK1")
    elif test is not None:
        draw_text(layout, test.result, context, icon="CHECKMARK")
