# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of a server that takes files by PUT."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..service.storage.http_put import HttpPutConfig
from ..text import draw_text
from . import secrets, storage_test

LABEL = "HTTP PUT"
DESCRIPTION = "A server that takes files by PUT: CDN ingest, WebDAV, Nextcloud, Azure Blob"
NEEDS_API_KEY = False


class Properties:
    put_upload: secrets.url(
        "put_upload",
        "Upload URL",
        "URL that clips are uploaded to, with {name} for the name of the clip, such as https://dav.studio.com/clips/{name}",
    )
    stored_put_upload: secrets.stored()
    put_public: secrets.url(
        "put_public",
        "Public URL",
        "URL that Eachlabs downloads clips from, with {name} for the name of the clip, "
        "such as https://cdn.studio.com/clips/{name}",
    )
    stored_put_public: secrets.stored()
    put_headers: secrets.masked(
        "put_headers",
        "Extra Headers",
        "Headers of uploads and deletions, as Name: value, separated by |. Azure requires x-ms-blob-type: BlockBlob",
    )
    stored_put_headers: secrets.stored()
    put_login: EnumProperty(
        name="Login",
        description="Credentials for the server. They are sent to the upload URL only",
        items=(
            ("NONE", "None", "No credentials, or those in the URL or the extra headers"),
            ("BASIC", "User and Password", "HTTP Basic, for WebDAV and Nextcloud. Create an app password there"),
            ("BEARER", "Token", "HTTP Bearer"),
        ),
    )
    put_user: StringProperty(name="User", description="User name to log in with")
    put_password: secrets.masked("put_password", "Password", "Password to log in with, preferably one for this add-on only")
    stored_put_password: secrets.stored()
    put_token: secrets.masked("put_token", "Token", "Token that is sent as Authorization: Bearer")
    stored_put_token: secrets.stored()
    put_delete: BoolProperty(
        name="Delete Clips",
        description="Delete each clip by DELETE at its upload URL when its job has ended. "
        "Turn it off if the server deletes old files itself",
        default=True,
    )


def config(preferences: Properties) -> HttpPutConfig:
    basic, bearer = preferences.put_login == "BASIC", preferences.put_login == "BEARER"
    return HttpPutConfig(
        upload=preferences.put_upload,
        public=preferences.put_public,
        headers=preferences.put_headers,
        user=preferences.put_user if basic else "",
        password=preferences.put_password if basic else "",
        token=preferences.put_token if bearer else "",
        delete=preferences.put_delete,
    )


test_config = config


def draw(layout: Any, preferences: Any, context: bpy.types.Context) -> None:
    layout.prop(preferences, "put_upload", placeholder="https://dav.studio.com/clips/{name}")
    layout.prop(preferences, "put_public", placeholder="https://cdn.studio.com/clips/{name}")
    layout.prop(preferences, "put_login")
    if preferences.put_login == "BASIC":
        layout.prop(preferences, "put_user")
        layout.prop(preferences, "put_password")
    elif preferences.put_login == "BEARER":
        layout.prop(preferences, "put_token")
    layout.prop(preferences, "put_headers")
    layout.label(text=f"{secrets.where(preferences)}, including the URLs, see Remember Secrets", icon="INFO")
    layout.prop(preferences, "put_delete")
    text = "Anyone who knows the public URL of a clip can read it; each clip has an unguessable name."
    draw_text(layout, text, context, icon="INFO")
    storage_test.draw(layout, test_config(preferences), context)
