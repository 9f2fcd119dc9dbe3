# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of each::storage, the default."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from typing import Any

import bpy
from bpy.props import IntProperty

from ..service.storage.eachlabs import LIFETIME_SECONDS, LIFETIME_SECONDS_MAX, EachlabsConfig
from ..text import draw_text
from . import storage_test

LABEL = "each::storage"
DESCRIPTION = "Eachlabs' own storage. It needs no settings but the API key"
NEEDS_API_KEY = True

# A run may be queued for a while before it reads its clip.
_LEAST_MINUTES = 5


class Properties:
    each_minutes: IntProperty(
        name="Lifetime (Minutes)",
        description="Minutes after which Eachlabs deletes a clip that has not been deleted before",
        default=LIFETIME_SECONDS // 60,
        min=_LEAST_MINUTES,
        max=LIFETIME_SECONDS_MAX // 60,
    )


def config(preferences: Properties) -> EachlabsConfig:
    return EachlabsConfig(preferences.each_minutes * 60)


test_config = config


def draw(layout: Any, preferences: Any, context: bpy.types.Context) -> None:
    layout.prop(preferences, "each_minutes")
    text = "Clips have public, unguessable URLs at Eachlabs until their runs have ended, at most for this time."
    draw_text(layout, text, context, icon="INFO")
    storage_test.draw(layout, test_config(preferences), context)
