# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of several lines: Blender's labels don't wrap."""

import textwrap
from typing import Any

import bpy

from .failure import readable

_CHARACTER_WIDTH = 6.6
"""Average width of a letter in Blender's interface font, in pixels at scale 1."""


def draw_text(layout: Any, text: str, context: bpy.types.Context, icon: str = "NONE", share: float = 1.0) -> None:
    """Draw a text, wrapped to its `share` of the width of the region."""
    scale = context.preferences.system.ui_scale
    region: Any = context.region
    width = max(12, int((region.width / scale - 60) * share / _CHARACTER_WIDTH))
    column = layout.column(align=True)
    for line in textwrap.wrap(readable(text), width):
        column.label(text=line, icon=icon)
        icon = "BLANK1" if icon != "NONE" else icon
