# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of several lines: Blender's labels don't wrap."""

import textwrap
from typing import Any

import bpy

from .failure import readable

_CHARACTER_WIDTH = 6.2
"""Average width of a letter in Blender's interface font, in pixels at scale 1."""
POPOVER_UNITS = 15
"""Width of popovers, in Blender's units of the interface."""
_UNIT = 20
"""Pixels of such a unit at scale 1."""
_MARGINS = 60
"""Pixels beside a text in a panel at scale 1."""


def characters(context: bpy.types.Context, beside: float, share: float = 1.0) -> int:
    """Return how many characters fit into a `share` of the region's width without the pixels `beside` them at scale 1."""
    region: Any = context.region
    width = region.width / context.preferences.system.ui_scale
    if getattr(region, "type", "") == "HEADER":
        width = POPOVER_UNITS * _UNIT
    width -= beside
    return int(width * share / _CHARACTER_WIDTH)


def fitting(context: bpy.types.Context, *texts: str, beside: float = 0.0) -> str:
    """Return the first of the texts that fits into one line of a panel, or else the last.

    `beside` are the pixels at scale 1 that something else takes of the line.
    """
    return next((text for text in texts if len(text) <= characters(context, _MARGINS + beside)), texts[-1])


def draw_text(layout: Any, text: str, context: bpy.types.Context, icon: str = "NONE", share: float = 1.0) -> None:
    """Draw a text, wrapped to its `share` of the width of the region."""
    width = max(12, characters(context, _MARGINS, share))
    column = layout.column(align=True)
    for line in textwrap.wrap(readable(text), width):
        column.label(text=line, icon=icon)
        icon = "BLANK1" if icon != "NONE" else icon
