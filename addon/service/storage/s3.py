# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 storage: AWS, Google Cloud Storage, R2, B2, Wasabi, MinIO, SeaweedFS. The bucket stays private. No bpy."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...failure import Failure
from ..eachlabs.client import EachlabsClient
from ..net.response import Response
from ..net.transport import Progress, Transport
from . import CONTENT_TYPE, Published, check_lifetime, object_name
from .error_responses import storage_error
from .errors import (
    StorageChanged,
    StorageDenied,
    StorageKeyRejected,
    StorageNotConfigured,
)
from .presign import LIFETIME_SECONDS_MAX, Credentials, object_url, presigned

REGION = "us-east-1"
"""Region that most servers without regions accept, and R2 for its `auto`."""
LIFETIME_SECONDS = 3600
"""Default lifetime of the public URL."""
REQUEST_LIFETIME_SECONDS = 900
"""Time within which an upload or a deletion must begin."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_VIRTUAL_HOST_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY_BYTES_MAX = 1024


@dataclass(frozen=True)
class S3Config:
    """Settings of a bucket and its credentials."""

    endpoint: str = field(default="", repr=False)
    """URL such as https://s3.eu-central-1.amazonaws.com; https is the default scheme. The host is a public name, since
    Eachlabs reads there too; in the local network it may resolve to a private address."""
    bucket: str = ""
    region: str = REGION
    prefix: str = ""
    """Folders within the bucket, or empty."""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    virtual_host: bool = False
    """The bucket is the first part of the host, not of the path."""
    lifetime: int = LIFETIME_SECONDS
    """Seconds for which the clip can be read."""
    key_from_environment: bool = False
    """The credentials are from the environment."""

    def with_environment(self, environment: Mapping[str, str]) -> "S3Config":
        """Return the settings, completed from AWS's environment variables. The three parts of the key are never mixed."""
        settings = replace(self, region=self.region.strip() or environment.get("AWS_REGION") or REGION)
        access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        if self.access_key.strip() or self.secret_key.strip() or not access_key or not secret_key:
            return settings
        return replace(
            settings,
            access_key=access_key,
            secret_key=secret_key,
            session_token=environment.get("AWS_SESSION_TOKEN", ""),
            key_from_environment=True,
        )

    def open(self, client: EachlabsClient, transport: Transport) -> "S3":
        settings = self._normalized()
        for name, what in _REQUIRED.items():
            if not getattr(settings, name):
                raise StorageNotConfigured(f"The S3 storage has no {what}.")
        if not (_VIRTUAL_HOST_BUCKET if self.virtual_host else _BUCKET).fullmatch(settings.bucket):
            raise StorageNotConfigured("The bucket name is invalid.")
        if not _REGION.fullmatch(settings.region):
            raise StorageNotConfigured("The region is invalid.")
        if self.virtual_host and "." in settings.bucket and settings.endpoint.startswith("https:"):
            text = "With virtual-host addressing, no certificate covers a bucket name that contains a dot."
            raise StorageNotConfigured(text, "Turn off virtual-host addressing.")
        check_lifetime(self.lifetime, 1, LIFETIME_SECONDS_MAX)
        storage = S3(settings, transport)
        transport.check(storage.object_url(object_name()), "Check the endpoint: Eachlabs must be able to reach it too.")
        return storage

    def _normalized(self) -> "S3Config":
        """Return the settings without surrounding spaces and slashes, and with the endpoint's scheme."""
        endpoint = self.endpoint.strip()
        folders = [folder for folder in self.prefix.strip().split("/") if folder]
        if {".", ".."} & set(folders) or not all(folder.isprintable() for folder in folders):
            raise StorageNotConfigured("The prefix must consist of folder names.")
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


_REQUIRED = {
    "endpoint": "endpoint",
    "bucket": "bucket",
    "region": "region",
    "access_key": "access key",
    "secret_key": "secret key",
}


class S3:
    needs_export = True
    private_allowed = True
    can_delete = True

    def __init__(self, config: S3Config, transport: Transport) -> None:
        self._config = config
        self._key = Credentials(config.region, config.access_key, config.secret_key, config.session_token)
        self._transport = transport

    def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
        name = self._config.prefix + object_name()
        if len(name.encode()) > _KEY_BYTES_MAX:
            raise StorageNotConfigured("The prefix is too long.")
        # Signatures have whole seconds.
        expires = float(int(time.time()) + self._config.lifetime)
        published = Published(name, presigned("GET", self.object_url(name), self._key, self._config.lifetime), expires)
        on_begin(published)
        self._transport.retry(lambda: self._put_once(name, clip, progress))
        return published

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        if published.url.partition("?")[0] != self.object_url(published.id):
            raise StorageChanged()
        self._transport.retry(lambda: self._delete_once(published.id, missing_ok=missing_ok))

    def object_url(self, name: str) -> str:
        """Return an object's URL without a signature."""
        try:
            return object_url(self._config.endpoint, self._config.bucket, name, virtual_host=self._config.virtual_host)
        except ValueError:
            hint = "Set it to https://HOST, without the bucket. Virtual-host addressing needs a host name."
            raise StorageNotConfigured("The endpoint of the S3 storage is not a URL.", hint) from None

    def _put_once(self, name: str, clip: Path, progress: Progress) -> None:
        """Upload the clip. A repeated attempt overwrites the same object."""
        headers = {"Content-Type": CONTENT_TYPE}
        url = presigned("PUT", self.object_url(name), self._key, REQUEST_LIFETIME_SECONDS, headers)
        response = self._transport.put_file(url, clip, headers, progress, private_allowed=True)
        if response.status not in (200, 201, 204):
            raise self._storage_error(response, "the upload")

    def _delete_once(self, name: str, *, missing_ok: bool) -> None:
        url = presigned("DELETE", self.object_url(name), self._key, REQUEST_LIFETIME_SECONDS)
        response = self._transport.send("DELETE", url, private_allowed=True)
        if not 200 <= response.status < 300 and not (response.status == 404 and missing_ok):
            raise self._storage_error(response, "the deletion")

    def _storage_error(self, response: Response, action: str) -> Failure:
        failure = storage_error(response, action, self._config.endpoint)
        if self._config.key_from_environment and isinstance(failure, StorageKeyRejected | StorageDenied):
            hint = "The key is from AWS_ACCESS_KEY_ID in the environment, since none is set in the preferences."
            return failure.reworded(hint=hint)
        return failure
