# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of the webhook: Eachlabs calls this machine when a run has ended."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from .. import session
from ..failure import Failure
from ..service.eachlabs.webhook import WebhookConfig
from ..text import draw_text

_DEFAULT_PORT = 8790

_NOTE = (
    "When a run has ended, Eachlabs sends its id, its state and the URL of its result to the public URL: "
    "whoever operates your tunnel can read them. A call only wakes the job, which then polls Eachlabs itself."
)


def _changed(self: Any, _: bpy.types.Context) -> None:
    """Close the port as soon as the option is disabled or its settings change, not at the next click."""
    session.current.use_webhook(config(self))


class Properties:
    webhook_on: BoolProperty(
        name="Use Webhook",
        description="Let Eachlabs call this machine when a run has ended, instead of polling it continuously",
        update=_changed,
    )
    webhook_url: StringProperty(
        name="Public URL",
        description="https URL of your tunnel or reverse proxy, which forwards to the local port of this machine",
        update=_changed,
    )
    webhook_port: IntProperty(
        name="Local Port",
        description="Port that receives calls. It is open on this machine only (127.0.0.1), and only during a run",
        default=_DEFAULT_PORT,
        min=1,
        max=65535,
        update=_changed,
    )


def config(preferences: Properties) -> WebhookConfig | None:
    """Return the settings of the webhook, or None if it is disabled."""
    if not preferences.webhook_on:
        return None
    return WebhookConfig(preferences.webhook_url.strip(), preferences.webhook_port)


def draw(header: Any, body: Any | None, preferences: Properties, context: bpy.types.Context) -> None:
    """Draw the header of the panel and, unless it is collapsed, its body."""
    header.use_property_split = False
    header.prop(preferences, "webhook_on")
    failure = _check(preferences)
    if body is not None:
        _draw_body(body, preferences, failure, context)
    elif failure:
        header.label(text="", icon="ERROR")


def _check(preferences: Properties) -> Failure | None:
    """Return what is wrong with the settings of an enabled webhook."""
    settings = config(preferences)
    try:
        if settings is not None:
            settings.check()
    except Failure as failure:
        return failure
    return None


def _draw_body(body: Any, preferences: Properties, failure: Failure | None, context: bpy.types.Context) -> None:
    fields = body.column()
    fields.active = preferences.webhook_on
    fields.prop(preferences, "webhook_url", placeholder="https://hook.studio.com/mmaudio")
    fields.prop(preferences, "webhook_port")
    if failure:
        draw_text(body, f"{failure.message} {failure.hint}", context, icon="ERROR")
    draw_text(body, _NOTE, context, icon="INFO")
