# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that the add-on registers and unregisters completely."""

from typing import Any

import bpy
import pytest

from .conftest import MODULE

MENUS = ("SEQUENCER_MT_add", "SEQUENCER_MT_strip", "SEQUENCER_MT_context_menu", "SEQUENCER_MT_preview_context_menu")


def appended_draw_functions(menu: str) -> list[Any]:
    """Return the draw functions that the add-on has appended to one of Blender's menus."""
    kind: Any = getattr(bpy.types, menu)
    return [draw for draw in kind._dyn_ui_initialize() if draw.__module__.startswith(MODULE)]


def registered() -> dict[str, bool]:
    operators: Any = bpy.ops
    return {
        "settings": hasattr(bpy.types.Scene, "mmaudio"),
        "operator": hasattr(bpy.types, "MMAUDIO_OT_generate"),
        "panel": hasattr(bpy.types, "MMAUDIO_PT_generate"),
        "preferences": MODULE in bpy.context.preferences.addons,
        "callable": "generate" in dir(operators.mmaudio),
        **{menu: len(appended_draw_functions(menu)) == 1 for menu in MENUS},
    }


@pytest.mark.every_version
def test_disabling_unregisters_everything_and_enabling_registers_it_again(addon: Any) -> None:
    operators: Any = bpy.ops.preferences
    assert all(registered().values()), registered()

    operators.addon_disable(module=MODULE)
    assert not any(registered().values()), registered()

    operators.addon_enable(module=MODULE)
    assert all(registered().values()), registered()


@pytest.mark.version_dependent
def test_defaults_are_those_of_the_service(addon: Any) -> None:
    scene: Any = bpy.context.scene
    settings = scene.mmaudio
    assert (settings.prompt, settings.negative_prompt, settings.num_steps, settings.cfg_strength) == ("", "music", 25, 4.5)
    assert settings.randomize_seed
