# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of clips that the artist publishes: one URL for each clip, and nothing is rendered or uploaded."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from typing import Any

import bpy

from ..service.storage.given_url import LENGTH_NOTE, GivenUrlConfig
from ..text import draw_text
from . import clip_url as clip_urls
from . import storage_test

LABEL = "None (Clip URL)"
DESCRIPTION = "You publish the clip yourself and set its URL in the sidebar. Nothing is rendered or uploaded"
NEEDS_API_KEY = False


class Properties:
    clip_url: clip_urls.field()


def config(preferences: Properties) -> GivenUrlConfig:
    """Return settings without a URL: that is an option of each job, so that no job uses the clip of another strip."""
    return GivenUrlConfig()


def test_config(preferences: Properties) -> GivenUrlConfig:
    """Return settings with the URL that is set for the edited scene."""
    return GivenUrlConfig(preferences.clip_url)


def draw(layout: Any, preferences: Any, context: bpy.types.Context) -> None:
    layout.prop(preferences, "clip_url", placeholder="https://…/clip.mp4")
    text = f"Each strip needs its own URL; the sidebar of the Sequencer has this field too. {LENGTH_NOTE}"
    draw_text(layout, text, context, icon="INFO")
    draw_test(layout, preferences, context)


def draw_test(layout: Any, preferences: Properties, context: bpy.types.Context) -> None:
    """Draw the button that tests the URL, here and in the sidebar."""
    storage_test.draw(layout, test_config(preferences), context, text="Test URL")
