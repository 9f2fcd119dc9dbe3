# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket that speaks S3: AWS, Google Cloud Storage, R2, B2, Wasabi, MinIO, SeaweedFS. The bucket stays private. No bpy."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from ...failure import Failure
from ..eachlabs.client import Eachlabs
from ..net.transport import Progress, Response, Transport
from . import CONTENT_TYPE, SETTINGS_HINT, Published, check_life, object_name, storage_changed
from .errors import storage_error
from .presign import LIFE_MOST, Credentials, object_address, presigned

REGION = "us-east-1"
"""What most servers without regions of their own take, and R2 for its `auto`."""
LIFE_SECONDS = 3600
REQUEST_LIFE_SECONDS = 900
"""How long an upload or a deletion may take to begin."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_BUCKET_IN_HOST = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY_BYTES_MAX = 1024


@dataclass(frozen=True)
class S3Config:
    """A bucket and the key to it.

    endpoint      such as https://s3.eu-central-1.amazonaws.com; without a scheme it is https. A public name, since Eachlabs
                  reads there too; in this network it may resolve to a private address
    prefix        folders within the bucket, or empty
    virtual_host  the bucket is the first part of the host, not of the path
    life          for how long the clip can be read, in seconds
    """

    label: ClassVar[str] = "S3-compatible bucket"

    endpoint: str = field(default="", repr=False)
    bucket: str = ""
    region: str = REGION
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    virtual_host: bool = False
    life: int = LIFE_SECONDS
    key_of_environment: bool = False

    def with_environment(self, environment: Mapping[str, str]) -> "S3Config":
        """These settings; what they leave empty is taken from AWS's own variables, a key whole or not at all."""
        settings = replace(self, region=self.region.strip() or environment.get("AWS_REGION") or REGION)
        access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        if self.access_key.strip() or self.secret_key.strip() or not access_key or not secret_key:
            return settings
        return replace(
            settings,
            access_key=access_key,
            secret_key=secret_key,
            session_token=environment.get("AWS_SESSION_TOKEN", ""),
            key_of_environment=True,
        )

    def open(self, service: Eachlabs, transport: Transport) -> "S3":
        settings = self._tidied()
        for name, what in _WANTED.items():
            if not getattr(settings, name):
                raise Failure("storage_setup", f"The S3 storage has no {what}.", SETTINGS_HINT)
        if not (_BUCKET_IN_HOST if self.virtual_host else _BUCKET).fullmatch(settings.bucket):
            raise Failure("storage_setup", "The bucket's name can't be that of a bucket.", SETTINGS_HINT)
        if not _REGION.fullmatch(settings.region):
            raise Failure("storage_setup", "The region can't be that of a bucket.", SETTINGS_HINT)
        if self.virtual_host and "." in settings.bucket and settings.endpoint.startswith("https:"):
            text = "No certificate covers a bucket with a dot in its name as part of the host."
            raise Failure("storage_setup", text, "Turn off virtual-host addressing.")
        check_life(self.life, 1, LIFE_MOST)
        storage = S3(settings, transport)
        transport.check(storage.address(object_name()), "Check the endpoint: Eachlabs has to reach it too.")
        return storage

    def _tidied(self) -> "S3Config":
        """Without what comes along when a value is pasted."""
        endpoint = self.endpoint.strip()
        folders = [folder for folder in self.prefix.strip().split("/") if folder]
        if {".", ".."} & set(folders) or not all(folder.isprintable() for folder in folders):
            raise Failure("storage_setup", "The prefix must be made of plain names of folders.", SETTINGS_HINT)
        return replace(
            self,
            endpoint=endpoint if "://" in endpoint or not endpoint else f"https://{endpoint}",
            bucket=self.bucket.strip(),
            region=self.region.strip(),
            prefix="".join(f"{folder}/" for folder in folders),
            access_key=self.access_key.strip(),
            secret_key=self.secret_key.strip(),
            session_token=self.session_token.strip(),
        )


_WANTED = {
    "endpoint": "endpoint",
    "bucket": "bucket",
    "region": "region",
    "access_key": "access key",
    "secret_key": "secret key",
}


class S3:
    needs_clip = True
    private_allowed = True
    deletes = True

    def __init__(self, config: S3Config, transport: Transport) -> None:
        self._config = config
        self._key = Credentials(config.region, config.access_key, config.secret_key, config.session_token)
        self._transport = transport

    def publish(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        name = self._config.prefix + object_name()
        if len(name.encode()) > _KEY_BYTES_MAX:
            raise Failure("storage_setup", "The prefix is too long.", SETTINGS_HINT)
        # Signatures know whole seconds only.
        expires = float(int(time.time()) + self._config.life)
        published = Published(name, presigned("GET", self.address(name), self._key, self._config.life), expires)
        begun(published)
        self._transport.retry(lambda: self._put_once(name, clip, progress))
        return published

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        if published.url.partition("?")[0] != self.address(published.id):
            raise storage_changed()
        self._transport.retry(lambda: self._delete_once(published.id, missing_ok=missing_ok))

    def address(self, name: str) -> str:
        """Where an object lies, without a permission to do anything there."""
        try:
            return object_address(self._config.endpoint, self._config.bucket, name, virtual_host=self._config.virtual_host)
        except ValueError:
            hint = "Give it as https://HOST, without the bucket; virtual-host addressing takes no IP address."
            raise Failure("storage_setup", "The endpoint of the S3 storage is no address.", hint) from None

    def _put_once(self, name: str, clip: Path, progress: Progress) -> None:
        """A try that is repeated writes the same object once more."""
        headers = {"Content-Type": CONTENT_TYPE}
        url = presigned("PUT", self.address(name), self._key, REQUEST_LIFE_SECONDS, headers)
        response = self._transport.put_file(url, clip, headers, progress, private_allowed=True)
        if response.status not in (200, 201, 204):
            raise self._storage_error(response, "the upload")

    def _delete_once(self, name: str, *, missing_ok: bool) -> None:
        url = presigned("DELETE", self.address(name), self._key, REQUEST_LIFE_SECONDS)
        response = self._transport.send("DELETE", url, private_allowed=True)
        if not 200 <= response.status < 300 and not (response.status == 404 and missing_ok):
            raise self._storage_error(response, "the deletion")

    def _storage_error(self, response: Response, doing: str) -> Failure:
        failure = storage_error(response, doing, self._config.endpoint)
        if self._config.key_of_environment and failure.code in ("storage_key", "storage_denied"):
            failure.hint = "The key is that of AWS_ACCESS_KEY_ID in the environment, since the settings have none."
        return failure
