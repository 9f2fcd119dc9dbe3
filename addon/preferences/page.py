# SPDX-License-Identifier: GPL-3.0-or-later
"""The key, the service's address, the folder for results; and what storage_preferences.py adds."""

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import FloatProperty, StringProperty

from ..config import Config
from ..service.eachlabs import client
from . import secrets, storage_fields, storage_page
from .storage_fields import StorageFields

ADDON = (__package__ or "").rpartition(".")[0]

_KEY_VARIABLE = "EACHLABS_API_KEY"
_ADDRESS_VARIABLE = "EACHLABS_BASE_URL"


class MMAUDIO_AP_preferences(StorageFields, bpy.types.AddonPreferences):
    bl_idname = ADDON

    if TYPE_CHECKING:
        key: str
        remember: bool
        base_url: str
        results: str
        offset_ms: float
    else:
        key: secrets.shown("key", "API Key", "The key of your Eachlabs account. It is sent to the service's address only")
        stored_key: secrets.stored()
        remember: secrets.remember()
        base_url: StringProperty(
            name="Service Address",
            description=f"Where the service is. The variable {_ADDRESS_VARIABLE} goes before it",
            default=client.BASE_URL,
        )
        results: StringProperty(
            name="Results",
            description="The folder for finished sounds. // is the folder of the .blend; "
            "a project that is not saved yet uses the extension's own folder",
            default="//mmaudio/",
            subtype="DIR_PATH",
            options={"PATH_SUPPORTS_BLEND_RELATIVE"},
        )
        offset_ms: FloatProperty(
            name="Sound Offset",
            description="By how many milliseconds sounds come later than their picture; below 0, earlier",
            default=0.0,
            min=-200.0,
            max=200.0,
            precision=1,
            step=100,
        )

    def draw(self, context: bpy.types.Context) -> None:
        layout: Any = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        if os.environ.get(_KEY_VARIABLE):
            column.label(text=f"The key is taken from {_KEY_VARIABLE}", icon="CHECKMARK")
        row = column.row(align=True)
        row.active = not os.environ.get(_KEY_VARIABLE)
        row.prop(self, "key")
        row.operator("wm.url_open", text="", icon="URL").url = client.KEYS_URL
        column.prop(self, "remember")
        column.label(text=secrets.where(self), icon="INFO")
        column.separator()
        if os.environ.get(_ADDRESS_VARIABLE):
            column.label(text=f"The address is taken from {_ADDRESS_VARIABLE}", icon="CHECKMARK")
        column.prop(self, "base_url")
        column.prop(self, "results")
        column.prop(self, "offset_ms", text="Sound Offset (ms)")
        storage_page.draw(layout, self, context)


CLASSES = (MMAUDIO_AP_preferences,)


def of(context: bpy.types.Context) -> MMAUDIO_AP_preferences:
    addon: Any = context.preferences.addons[ADDON]
    return addon.preferences


def config(context: bpy.types.Context) -> Config:
    """The key, address and folders that hold now; variables go before preferences."""
    preferences = of(context)
    return Config(
        key=os.environ.get(_KEY_VARIABLE, "").strip() or preferences.key,
        base_url=os.environ.get(_ADDRESS_VARIABLE, "").strip() or preferences.base_url.strip() or client.BASE_URL,
        own=Path(bpy.utils.extension_path_user(ADDON, path="", create=False)),
        results=preferences.results,
        offset=Fraction(round(preferences.offset_ms * 1000), 1_000_000),
        storage=storage_fields.storage_config(preferences),
        webhook=storage_fields.webhook_config(preferences),
    )
