# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows strips in the Sequencer. Main thread."""

from collections.abc import Sequence
from typing import Any

import bpy

from . import compat
from .strip_types import Strip


def show(context: bpy.types.Context, scene: bpy.types.Scene, strips: Sequence[Strip]) -> None:
    """Select these strips, which are on one level of the edit, open that level, and frame them in the timeline."""
    compat.show_edit(context, scene)
    edit: Any = compat.edit_of(scene)
    edit.display_stack(strips[0].parent_meta())
    for strip in edit.strips_all:
        strip.select = strip in strips
    edit.active_strip = strips[0]
    area: Any = context.area
    if area is not None and area.type == "SEQUENCE_EDITOR" and not bpy.app.background:
        region = next(region for region in area.regions if region.type == "WINDOW")
        with context.temp_override(area=area, region=region):
            bpy.ops.sequencer.view_selected()
