# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on comes and goes without a trace."""

from typing import Any

import bpy

from .conftest import MODULE

MENUS = ("SEQUENCER_MT_add", "SEQUENCER_MT_strip", "SEQUENCER_MT_context_menu")


def drawn_by_us(menu: str) -> list[Any]:
    """What the add-on has appended to one of Blender's menus."""
    kind: Any = getattr(bpy.types, menu)
    return [draw for draw in kind._dyn_ui_initialize() if draw.__module__.startswith(MODULE)]


def traces() -> dict[str, bool]:
    operators: Any = bpy.ops
    return {
        "settings": hasattr(bpy.types.Scene, "mmaudio"),
        "operator": hasattr(bpy.types, "MMAUDIO_OT_generate"),
        "panel": hasattr(bpy.types, "MMAUDIO_PT_generate"),
        "preferences": MODULE in bpy.context.preferences.addons,
        "callable": "generate" in dir(operators.mmaudio),
        **{menu: len(drawn_by_us(menu)) == 1 for menu in MENUS},
    }


def test_disabling_takes_everything_away_and_enabling_brings_it_back(addon: Any) -> None:
    operators: Any = bpy.ops.preferences
    assert all(traces().values()), traces()

    operators.addon_disable(module=MODULE)
    assert not any(traces().values()), traces()

    operators.addon_enable(module=MODULE)
    assert all(traces().values()), traces()


def test_defaults_are_those_of_the_service(addon: Any) -> None:
    settings: Any = bpy.context.scene
    asked = settings.mmaudio
    assert (asked.prompt, asked.negative_prompt, asked.num_steps, asked.cfg_strength) == ("", "music", 25, 4.5)
    assert asked.randomize_seed
