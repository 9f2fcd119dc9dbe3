# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preferences hold of storage and webhook; storage_page.py draws them."""

import os
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..config import webhook_for
from ..service.eachlabs.webhook import WebhookConfig
from ..service.storage import StorageConfig
from ..service.storage.eachlabs import LIFE_MOST as EACH_LIFE_MOST
from ..service.storage.eachlabs import LIFE_SECONDS, EachlabsConfig
from ..service.storage.given_url import GivenUrlConfig
from ..service.storage.http_put import HttpPutConfig
from ..service.storage.presign import LIFE_MOST as S3_LIFE_MOST
from ..service.storage.registry import WAYS
from ..service.storage.s3 import S3Config
from . import clip_url as clip_urls
from . import secrets

_ABOUT = {
    "eachlabs": "The service's own storage: nothing is needed but the key",
    "s3": "A private bucket: AWS, Google Cloud Storage, R2, B2, Wasabi, MinIO, SeaweedFS",
    "http_put": "A server that takes files by PUT: a CDN's ingest, WebDAV, Nextcloud, Azure Blob",
    "given_url": "You publish the clip yourself and give its address in the sidebar: nothing is rendered or uploaded",
}
# A run may wait for its turn before it reads its clip.
_LEAST_MINUTES = 5
_WEBHOOK_PORT = 8790


def _webhook_changed(self: "StorageFields", context: bpy.types.Context) -> None:
    """At once, not with the next click: who switches it off wants its port closed."""
    webhook_for(webhook_config(self))


class StorageFields:
    """The part of the preferences that says where clips go."""

    if TYPE_CHECKING:
        remember: bool
        storage: str
        each_minutes: int
        s3_endpoint: str
        s3_region: str
        s3_bucket: str
        s3_prefix: str
        s3_access_key: str
        s3_secret_key: str
        s3_session_token: str
        s3_virtual_host: bool
        s3_minutes: int
        put_upload: str
        put_public: str
        put_headers: str
        put_login: str
        put_user: str
        put_password: str
        put_token: str
        put_delete: bool
        clip_url: str
        webhook_on: bool
        webhook_url: str
        webhook_port: int
    else:
        storage: EnumProperty(
            name="Storage",
            description="Where clips go for as long as the service reads them",
            items=tuple((way, kind.label, _ABOUT[way]) for way, kind in WAYS.items()),
        )
        each_minutes: IntProperty(
            name="Lifetime",
            description="After how many minutes the service deletes a clip that nobody has deleted before",
            default=LIFE_SECONDS // 60,
            min=_LEAST_MINUTES,
            max=EACH_LIFE_MOST // 60,
        )
        s3_endpoint: StringProperty(
            name="Endpoint",
            description="The address of the storage without the bucket, such as https://s3.eu-central-1.amazonaws.com",
        )
        s3_region: StringProperty(
            name="Region",
            description="The bucket's region, such as eu-central-1; auto for R2. "
            "Where it is empty, that of the variable AWS_REGION, or else us-east-1",
        )
        s3_bucket: StringProperty(name="Bucket", description="The bucket's name. It may, and should, stay private")
        s3_prefix: StringProperty(name="Prefix", description="A folder within the bucket, such as mmaudio; may stay empty")
        s3_access_key: StringProperty(
            name="Access Key",
            description="The id of a key that may write, read and delete objects. "
            "Where no key is set here, the one of the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is used",
        )
        s3_secret_key: secrets.shown("s3_secret_key", "Secret Key", "The secret that belongs to the access key")
        stored_s3_secret_key: secrets.stored()
        s3_session_token: secrets.shown(
            "s3_session_token",
            "Session Token",
            "Of temporary credentials only. A key of the variables has that of AWS_SESSION_TOKEN",
        )
        stored_s3_session_token: secrets.stored()
        s3_virtual_host: BoolProperty(
            name="Bucket in the Host Name",
            description="Virtual-host addressing, https://BUCKET.HOST, instead of https://HOST/BUCKET",
        )
        s3_minutes: IntProperty(
            name="Link Lifetime",
            description="For how many minutes the link that is handed to the service can be read",
            default=LIFE_SECONDS // 60,
            min=_LEAST_MINUTES,
            max=S3_LIFE_MOST // 60,
        )
        put_upload: secrets.address(
            "put_upload",
            "Upload Address",
            "Where clips are put, with {name} in the place of the clip's name, such as https://dav.studio.com/clips/{name}",
        )
        stored_put_upload: secrets.stored()
        put_public: secrets.address(
            "put_public",
            "Public Address",
            "Where the service then reads them, with {name} too, such as https://cdn.studio.com/clips/{name}",
        )
        stored_put_public: secrets.stored()
        put_headers: secrets.shown(
            "put_headers",
            "Extra Headers",
            "Sent along, as Name: value, several of them parted by |. Azure wants x-ms-blob-type: BlockBlob",
        )
        stored_put_headers: secrets.stored()
        put_login: EnumProperty(
            name="Login",
            description="How the server knows you. It is sent to the upload address only",
            items=(
                ("NONE", "None", "No login, or one within the address or the headers"),
                ("BASIC", "User and Password", "HTTP Basic, as WebDAV and Nextcloud want it. Make an app password there"),
                ("BEARER", "Token", "HTTP Bearer"),
            ),
        )
        put_user: StringProperty(name="User", description="The name to log in with")
        put_password: secrets.shown("put_password", "Password", "The password; better one made for this add-on alone")
        stored_put_password: secrets.stored()
        put_token: secrets.shown("put_token", "Token", "Sent as Authorization: Bearer")
        stored_put_token: secrets.stored()
        put_delete: BoolProperty(
            name="Delete Clips",
            description="Delete each clip by DELETE at its upload address once its job has ended. "
            "Turn it off where the server clears up by itself",
            default=True,
        )
        clip_url: clip_urls.field()
        webhook_on: BoolProperty(
            name="Have the Service Call",
            description="Let Eachlabs call when a run has ended, instead of asking it every moment",
            update=_webhook_changed,
        )
        webhook_url: StringProperty(
            name="Public Address",
            description="The https address of your tunnel or reverse proxy, which leads to the local port of this machine",
            update=_webhook_changed,
        )
        webhook_port: IntProperty(
            name="Local Port",
            description="Where calls are heard, on this machine alone, and only while a job is under way",
            default=_WEBHOOK_PORT,
            min=1,
            max=65535,
            update=_webhook_changed,
        )


def storage_config(preferences: StorageFields) -> StorageConfig:
    """The storage that is chosen, with its settings."""
    match preferences.storage:
        case "s3":
            return s3_used(preferences)
        case "http_put":
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
        case "given_url":
            return GivenUrlConfig()
        case _:
            return EachlabsConfig(preferences.each_minutes * 60)


def s3_used(preferences: StorageFields) -> S3Config:
    """The preferences' settings, and AWS's variables where they leave something empty."""
    settings = S3Config(
        endpoint=preferences.s3_endpoint,
        bucket=preferences.s3_bucket,
        region=preferences.s3_region,
        prefix=preferences.s3_prefix,
        access_key=preferences.s3_access_key,
        secret_key=preferences.s3_secret_key,
        session_token=preferences.s3_session_token,
        virtual_host=preferences.s3_virtual_host,
        life=preferences.s3_minutes * 60,
    )
    return settings.with_environment(os.environ)


def which_key(used: S3Config) -> str:
    """Which key counts, where there may be a doubt."""
    if used.key_of_environment:
        return "No key is set here: the one of AWS_ACCESS_KEY_ID is used"
    if used.access_key and os.environ.get("AWS_ACCESS_KEY_ID"):
        return "The key that is set here is used, not the one of AWS_ACCESS_KEY_ID"
    return ""


def webhook_config(preferences: StorageFields) -> WebhookConfig | None:
    """What the webhook is set to, None while it is off."""
    if not preferences.webhook_on:
        return None
    return WebhookConfig(preferences.webhook_url.strip(), preferences.webhook_port)


def detach() -> None:
    """Hears no calls any more."""
    webhook_for(None)
