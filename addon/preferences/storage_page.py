# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences > Storage, and Webhook: what an artist fills in, with what goes where in plain words."""

from typing import Any

import bpy

from ..failure import Failure
from ..service.storage.given_url import LENGTH_NOTE, GivenUrlConfig
from ..text import draw_text
from . import secrets, storage_test
from .storage_fields import StorageFields, s3_used, storage_config, webhook_config, which_key

_WEBHOOK_TOLD = (
    "When a run has ended, Eachlabs calls the public address, with the run's number, its state and its result's address: "
    "whoever runs your tunnel can read that. Here a call only wakes the job, which then asks Eachlabs itself."
)


def draw(layout: Any, preferences: StorageFields, context: bpy.types.Context) -> None:
    header, body = layout.panel("mmaudio_storage")
    header.label(text="Storage")
    if body:
        _draw_storage(_fields(body), preferences, context)
    header, body = layout.panel("mmaudio_webhook", default_closed=True)
    header.use_property_split = False
    header.prop(preferences, "webhook_on", text="Webhook")
    fault = _webhook_fault(preferences)
    if body:
        _draw_webhook(_fields(body), preferences, fault, context)
    elif fault:
        header.label(text="", icon="ERROR")


def _fields(body: Any) -> Any:
    column = body.column()
    column.use_property_split, column.use_property_decorate = True, False
    return column


def _draw_storage(column: Any, preferences: StorageFields, context: bpy.types.Context) -> None:
    column.prop(preferences, "storage", text="Clips Go To")
    {"eachlabs": _draw_eachlabs, "s3": _draw_s3, "http_put": _draw_http_put, "given_url": _draw_given_url}[
        preferences.storage
    ](column, preferences, context)
    if preferences.storage != "given_url":
        storage_test.draw(column, storage_config(preferences), context)


def _draw_eachlabs(column: Any, preferences: StorageFields, context: bpy.types.Context) -> None:
    column.prop(preferences, "each_minutes", text="Lifetime (Minutes)")
    text = "Clips lie at unguessable public addresses at Eachlabs until their runs have ended, at most this long."
    draw_text(column, text, context, icon="INFO")


def _draw_s3(column: Any, preferences: StorageFields, context: bpy.types.Context) -> None:
    for name in ("s3_endpoint", "s3_bucket", "s3_prefix"):
        column.prop(preferences, name)
    used = s3_used(preferences)
    column.prop(preferences, "s3_region", placeholder=used.region)
    column.prop(preferences, "s3_access_key")
    column.prop(preferences, "s3_secret_key")
    token = column.row()
    token.active = not used.key_of_environment
    token.prop(preferences, "s3_session_token")
    if told := which_key(used):
        column.label(text=told, icon="CHECKMARK")
    column.label(text=f"{secrets.where(preferences)}: see Remember above", icon="INFO")
    column.prop(preferences, "s3_virtual_host")
    column.prop(preferences, "s3_minutes", text="Link Lifetime (Minutes)")
    text = "The bucket stays private: Eachlabs gets a signed link to one clip, which is deleted when its job has ended."
    draw_text(column, text, context, icon="INFO")


def _draw_http_put(column: Any, preferences: StorageFields, context: bpy.types.Context) -> None:
    column.prop(preferences, "put_upload", placeholder="https://dav.studio.com/clips/{name}")
    column.prop(preferences, "put_public", placeholder="https://cdn.studio.com/clips/{name}")
    column.prop(preferences, "put_login")
    if preferences.put_login == "BASIC":
        column.prop(preferences, "put_user")
        column.prop(preferences, "put_password")
    elif preferences.put_login == "BEARER":
        column.prop(preferences, "put_token")
    column.prop(preferences, "put_headers")
    column.label(text=f"{secrets.where(preferences)}, addresses too: see Remember above", icon="INFO")
    column.prop(preferences, "put_delete")
    text = "Whoever knows a clip's public address can read it; each has a name that nobody can guess."
    draw_text(column, text, context, icon="INFO")


def _draw_given_url(column: Any, preferences: StorageFields, context: bpy.types.Context) -> None:
    column.prop(preferences, "clip_url", placeholder="https://…/clip.mp4")
    text = f"It is asked for in the Sequencer's sidebar too, for one strip at a time. {LENGTH_NOTE}"
    draw_text(column, text, context, icon="INFO")
    storage_test.draw(column, GivenUrlConfig(preferences.clip_url), context, text="Test Address")


def _webhook_fault(preferences: StorageFields) -> Failure | None:
    """What is wrong with the settings of a webhook that is on."""
    config = webhook_config(preferences)
    try:
        if config is not None:
            config.check()
    except Failure as failure:
        return failure
    return None


def _draw_webhook(column: Any, preferences: StorageFields, fault: Failure | None, context: bpy.types.Context) -> None:
    fields = column.column()
    fields.active = preferences.webhook_on
    fields.prop(preferences, "webhook_url", placeholder="https://hook.studio.com/mmaudio")
    fields.prop(preferences, "webhook_port")
    if fault:
        draw_text(column, f"{fault.message} {fault.hint}", context, icon="ERROR")
    draw_text(column, _WEBHOOK_TOLD, context, icon="INFO")
