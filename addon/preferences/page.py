# SPDX-License-Identifier: GPL-3.0-or-later
"""Page of the add-on in Blender's preferences, and the configuration that results from it and the environment."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
from bpy.props import CollectionProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ..config import Config
from ..service.eachlabs import client, mmaudio
from . import key_test, keymap, secrets, storages, webhook

ADDON = (__package__ or "").rpartition(".")[0]

_KEY_VARIABLE = "EACHLABS_API_KEY"
_URL_VARIABLE = "EACHLABS_BASE_URL"
_RENDER_PROCESSES = max(1, min(4, (os.cpu_count() or 1) // 4))
"""A render keeps some cores busy, and the others are the artist's."""


class MMAUDIO_PG_prompt(bpy.types.PropertyGroup):
    """A prompt that was used lately: its name."""


class MMAUDIO_AP_preferences(
    *(storage.Properties for storage in storages.STORAGES.values()),
    webhook.Properties,
    bpy.types.AddonPreferences,
):
    bl_idname = ADDON

    key: secrets.masked("key", "API Key", "Key of your Eachlabs account. It is sent to the service URL only")
    stored_key: secrets.stored()
    remember: secrets.remember()
    base_url: StringProperty(
        name="Service URL",
        description=f"URL of the Eachlabs API. The variable {_URL_VARIABLE} takes precedence over the preference",
        default=client.BASE_URL,
    )
    results: StringProperty(
        name="Results Folder",
        description="Folder for finished sounds. // is the folder of the .blend file; "
        "a project that is not saved yet uses the extension's own folder",
        default="//mmaudio/",
        subtype="DIR_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    offset_ms: FloatProperty(
        name="Sound Offset (ms)",
        description="Delay of the sound relative to the picture, in milliseconds. Negative values play it earlier",
        default=0.0,
        min=-200.0,
        max=200.0,
        precision=1,
        step=100,
    )
    render_processes: IntProperty(
        name="Background Renders",
        description="Number of Blenders that render clips in the background at the same time, at low priority",
        default=_RENDER_PROCESSES,
        min=1,
        max=16,
    )
    ask_above_usd: FloatProperty(
        name="Ask Above (USD)",
        description="Generate Sound asks first if it is expected to cost more than this",
        default=0.25,
        min=0.0,
        precision=2,
        step=5,
    )
    ask_above_runs: IntProperty(
        name="Ask Above (Runs)",
        description="Generate Sound asks first if it needs more runs than this",
        default=20,
        min=0,
    )
    prompts: CollectionProperty(type=MMAUDIO_PG_prompt, options={"HIDDEN"})
    storage: EnumProperty(
        name="Upload To",
        description="Storage that holds clips while Eachlabs reads them",
        items=storages.ENUM_ITEMS,
    )

    def asks_before(self, usd: float, runs: int) -> bool:
        """Return whether the artist wants to be asked before so much is ordered."""
        return usd > self.ask_above_usd or runs > self.ask_above_runs

    def draw(self, context: bpy.types.Context) -> None:
        draw(self.layout, self, context)


CLASSES = (MMAUDIO_PG_prompt, MMAUDIO_AP_preferences)


def of(context: bpy.types.Context) -> MMAUDIO_AP_preferences:
    addon: Any = context.preferences.addons[ADDON]
    return addon.preferences


def config(context: bpy.types.Context) -> Config:
    """Return the current configuration. Environment variables take precedence over the preferences."""
    preferences = of(context)
    return Config(
        key=os.environ.get(_KEY_VARIABLE, "").strip() or preferences.key,
        base_url=os.environ.get(_URL_VARIABLE, "").strip() or preferences.base_url.strip() or client.BASE_URL,
        extension_folder=Path(bpy.utils.extension_path_user(ADDON, path="", create=False)),
        results=preferences.results,
        offset=Fraction(round(preferences.offset_ms * 1000), 1_000_000),
        render_processes=preferences.render_processes,
        storage=storages.selected(preferences).config(preferences),
        webhook=webhook.config(preferences),
    )


def draw(layout: Any, preferences: MMAUDIO_AP_preferences, context: bpy.types.Context) -> None:
    account = _part(layout, "account", "Account")
    if account:
        _draw_account(account, preferences, context)
    results = _part(layout, "results", "Results")
    if results:
        results.prop(preferences, "results")
    storage = _part(layout, "storage", "Storage")
    if storage:
        storage.prop(preferences, "storage")
        storages.selected(preferences).draw(storage, preferences, context)
    header, body = layout.panel("mmaudio_webhook", default_closed=True)
    webhook.draw(header, _fields(body) if body else None, preferences, context)
    limits = _part(layout, "limits", "Limits")
    if limits:
        limits.prop(preferences, "ask_above_usd")
        limits.prop(preferences, "ask_above_runs")
    keys = _part(layout, "keys", "Keys", closed=True)
    if keys:
        keymap.draw(keys, context)
    advanced = _part(layout, "advanced", "Advanced", closed=True)
    if advanced:
        _draw_advanced(advanced, preferences)
    links = _part(layout, "help", "Help", closed=True)
    if links:
        links.operator("wm.url_open", text="Eachlabs", icon="URL").url = client.SITE_URL
        links.operator("wm.url_open", text="MMAudio, the Model", icon="URL").url = mmaudio.SOURCE_URL


def _part(layout: Any, name: str, label: str, *, closed: bool = False) -> Any | None:
    """Return the fields of a part of the page, or None if it is collapsed."""
    header, body = layout.panel(f"mmaudio_{name}", default_closed=closed)
    header.label(text=label)
    return _fields(body) if body else None


def _draw_account(column: Any, preferences: MMAUDIO_AP_preferences, context: bpy.types.Context) -> None:
    if os.environ.get(_KEY_VARIABLE):
        column.label(text=f"The API key is taken from {_KEY_VARIABLE}", icon="CHECKMARK")
    row = column.row(align=True)
    row.active = not os.environ.get(_KEY_VARIABLE)
    row.prop(preferences, "key")
    row.operator("wm.url_open", text="", icon="URL").url = client.KEYS_URL
    column.prop(preferences, "remember")
    column.label(text=secrets.where(preferences), icon="INFO")
    row = column.row()
    key_test.draw(row.column(), config(context), context)
    row.column().operator("wm.url_open", text="Dashboard", icon="URL").url = client.DASHBOARD_URL


def _draw_advanced(column: Any, preferences: MMAUDIO_AP_preferences) -> None:
    if os.environ.get(_URL_VARIABLE):
        column.label(text=f"The service URL is taken from {_URL_VARIABLE}", icon="CHECKMARK")
    row = column.row()
    row.active = not os.environ.get(_URL_VARIABLE)
    row.prop(preferences, "base_url")
    column.prop(preferences, "offset_ms")
    column.prop(preferences, "render_processes")


def _fields(layout: Any) -> Any:
    """Return a column with labels on the left, as in Blender's own preferences."""
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    return column
