# SPDX-License-Identifier: GPL-3.0-or-later
"""What someone sees who has no API key yet: what the add-on does, what it costs, what it sends, and where a key goes."""

from typing import Any

import bpy

from .. import session
from ..preferences import key_test, page
from ..service.eachlabs import client, mmaudio
from ..text import draw_text

_TEXTS = (
    ("SOUND", "Gives each selected strip a sound that fits its picture, generated in the cloud by MMAudio at Eachlabs."),
    ("INFO", f"Eight seconds cost about {mmaudio.price_text(mmaudio.EXPECTED_RUN_USD)}, paid to Eachlabs."),
    (
        "EXPORT",
        f"A silent copy of the clip, at most {mmaudio.SHORT_SIDE_MAX} pixels high, and the prompt leave this machine: "
        "when you press Generate, and not before.",
    ),
)


def is_needed(context: bpy.types.Context) -> bool:
    """Return whether the key or online access is missing."""
    return not page.config(context).key or not bpy.app.online_access


def draw(layout: Any, context: bpy.types.Context) -> None:
    config = page.config(context)
    if not config.key:
        for icon, text in _TEXTS:
            draw_text(layout, text, context, icon=icon)
        layout.operator("wm.url_open", text="Get a Key", icon="URL").url = client.KEYS_URL
        _draw_key(layout, context)
    _draw_online_access(layout, context)


def _draw_key(layout: Any, context: bpy.types.Context) -> None:
    """Draw the field for the key, and the test of it."""
    preferences, column = page.of(context), layout.column(align=True)
    column.prop(preferences, "key", text="", icon="KEYINGSET", placeholder="Paste the API key")
    column.prop(preferences, "remember", text="Remember")
    key_test.draw(layout, page.config(context), context)


def draw_new_key(layout: Any, context: bpy.types.Context) -> None:
    """Draw the key that was entered in this session, until something has shown that it is accepted."""
    test = session.current.key_test
    is_new = bool(session.current.secrets.get("key")) and not session.current.runner.jobs
    if is_new and not (test is not None and test.result):
        _draw_key(layout.box(), context)


def _draw_online_access(layout: Any, context: bpy.types.Context) -> None:
    """Draw what allows online access, if it is off."""
    if bpy.app.online_access:
        return
    if bpy.app.online_access_override:
        draw_text(layout, "Blender was started with --offline-mode: nothing can be sent.", context, icon="INTERNET_OFFLINE")
    else:
        draw_text(layout, "Blender's preferences keep add-ons offline.", context, icon="INTERNET_OFFLINE")
        system = context.preferences.system
        layout.prop(system, "use_online_access", text="Allow Online Access", toggle=True, icon="INTERNET")
