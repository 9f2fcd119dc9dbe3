# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of an S3-compatible bucket."""
# Blender reads properties from annotations.
# pyright: reportInvalidTypeForm=false

import os
from typing import Any

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from ..service.storage.presign import LIFETIME_SECONDS_MAX
from ..service.storage.s3 import LIFETIME_SECONDS, S3Config
from ..text import draw_text
from . import secrets, storage_test

LABEL = "S3-Compatible Bucket"
DESCRIPTION = "A private bucket: AWS, Google Cloud Storage, R2, B2, Wasabi, MinIO, SeaweedFS"
NEEDS_API_KEY = False

# A run may be queued for a while before it reads its clip.
_LEAST_MINUTES = 5


class Properties:
    s3_endpoint: StringProperty(
        name="Endpoint",
        description="URL of the storage without the bucket, such as https://s3.eu-central-1.amazonaws.com",
    )
    s3_region: StringProperty(
        name="Region",
        description="Region of the bucket, such as eu-central-1; auto for R2. "
        "If empty, the variable AWS_REGION is used, or else us-east-1",
    )
    s3_bucket: StringProperty(name="Bucket", description="Name of the bucket. It can, and should, stay private")
    s3_prefix: StringProperty(name="Prefix", description="Folder within the bucket, such as mmaudio. May stay empty")
    s3_access_key: StringProperty(
        name="Access Key",
        description="Id of a key that may write, read and delete objects. "
        "If no key is set here, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment are used",
    )
    s3_secret_key: secrets.masked("s3_secret_key", "Secret Key", "Secret of the access key")
    stored_s3_secret_key: secrets.stored()
    s3_session_token: secrets.masked(
        "s3_session_token",
        "Session Token",
        "For temporary credentials only. Keys from the environment use AWS_SESSION_TOKEN",
    )
    stored_s3_session_token: secrets.stored()
    s3_virtual_host: BoolProperty(
        name="Bucket in Host Name",
        description="Virtual-hosted addressing: https://BUCKET.HOST instead of https://HOST/BUCKET",
    )
    s3_minutes: IntProperty(
        name="Link Lifetime (Minutes)",
        description="Minutes for which the signed link to a clip is valid",
        default=LIFETIME_SECONDS // 60,
        min=_LEAST_MINUTES,
        max=LIFETIME_SECONDS_MAX // 60,
    )


def config(preferences: Properties) -> S3Config:
    """Return the settings of the preferences; those that are empty are taken from AWS' environment variables."""
    settings = S3Config(
        endpoint=preferences.s3_endpoint,
        bucket=preferences.s3_bucket,
        region=preferences.s3_region,
        prefix=preferences.s3_prefix,
        access_key=preferences.s3_access_key,
        secret_key=preferences.s3_secret_key,
        session_token=preferences.s3_session_token,
        virtual_host=preferences.s3_virtual_host,
        lifetime=preferences.s3_minutes * 60,
    )
    return settings.with_environment(os.environ)


test_config = config


def draw(layout: Any, preferences: Any, context: bpy.types.Context) -> None:
    used = config(preferences)
    for name in ("s3_endpoint", "s3_bucket", "s3_prefix"):
        layout.prop(preferences, name)
    layout.prop(preferences, "s3_region", placeholder=used.region)
    layout.prop(preferences, "s3_access_key")
    layout.prop(preferences, "s3_secret_key")
    token = layout.row()
    token.active = not used.key_from_environment
    token.prop(preferences, "s3_session_token")
    if note := key_note(used):
        layout.label(text=note, icon="CHECKMARK")
    layout.label(text=f"{secrets.where(preferences)}, see Remember Secrets", icon="INFO")
    layout.prop(preferences, "s3_virtual_host")
    layout.prop(preferences, "s3_minutes")
    text = "The bucket stays private: Eachlabs gets a signed link to one clip, which is deleted when its job has ended."
    draw_text(layout, text, context, icon="INFO")
    storage_test.draw(layout, used, context)


def key_note(used: S3Config) -> str:
    """Return which of two possible keys is used, or an empty text if there is only one."""
    if used.key_from_environment:
        return "No key is set here: AWS_ACCESS_KEY_ID of the environment is used"
    if used.access_key and os.environ.get("AWS_ACCESS_KEY_ID"):
        return "The key that is set here is used, not AWS_ACCESS_KEY_ID of the environment"
    return ""
