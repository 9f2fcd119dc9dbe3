# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage on a server that accepts PUT requests: a CDN's ingest, WebDAV, Nextcloud, Azure Blob with a SAS. No bpy."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from ...failure import Failure
from ..eachlabs.client import EachlabsClient
from ..net.transport import Progress, Transport
from . import CONTENT_TYPE, Published, object_name
from .error_responses import storage_error
from .errors import (
    StorageChanged,
    StorageNotConfigured,
)

NAME = "{name}"

_LATE_FILE_SECONDS = 2.0
"""Time within which a server creates the file of an interrupted upload."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")
# The transport sets these; other values would break the request.
_HEADERS_RESERVED = {"host", "content-length", "transfer-encoding", "connection", "expect"}


@dataclass(frozen=True)
class HttpPutConfig:
    """Settings of the server."""

    upload: str = field(default="", repr=False)
    """Upload URL, with {name} for the clip's name. It may have a query, such as a SAS, and be in the local network."""
    public: str = field(default="", repr=False)
    """Public URL, with {name}, at which anyone can read the uploaded clip."""
    headers: str = field(default="", repr=False)
    """Headers of the upload and the deletion, as `Name: value`, separated by | or line breaks."""
    user: str = field(default="", repr=False)
    """User for basic authentication."""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """Token for bearer authentication, instead of user and password."""
    delete: bool = True
    """The server deletes a clip on DELETE of its upload URL."""

    def open(self, client: EachlabsClient, transport: Transport) -> "HttpPut":
        config = replace(self, upload=self.upload.strip(), public=self.public.strip(), token=self.token.strip())
        for template, what, hint, private_allowed in (
            (config.upload, "Upload URL", "Check the Upload URL of the storage: it must be https.", True),
            (config.public, "Public URL", "Check the Public URL of the storage: Eachlabs must be able to reach it.", False),
        ):
            _check_template(template, what)
            transport.check(template.replace(NAME, object_name()), hint, private_allowed=private_allowed)
        return HttpPut(config, _checked_headers(config), transport)


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """Return the names and values of `HttpPutConfig.headers`. Raise StorageNotConfigured."""
    lines = [line.strip() for line in re.split(r"[|\n]", text)]
    pairs = [line.partition(":") for line in lines if line]
    if not all(colon for _, colon, _ in pairs):
        raise StorageNotConfigured("An extra header has no colon.", "Write headers as Name: value, separated by |.")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


class HttpPut:
    needs_export = True
    private_allowed = True

    def __init__(self, config: HttpPutConfig, headers: dict[str, str], transport: Transport) -> None:
        self._config = config
        self._headers = headers
        self._transport = transport

    @property
    def can_delete(self) -> bool:
        return self._config.delete

    def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
        name = object_name()
        published = Published(name, self._config.public.replace(NAME, name))
        on_begin(published)
        self._transport.retry(lambda: self._put_once(name, clip, progress))
        return published

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        if not self._config.delete:
            return
        if not self._is_current(published):
            raise StorageChanged()
        missing = self._transport.retry(lambda: self._delete_once(published.id))
        if missing is not None:
            # A server may create the file of an interrupted upload only after the request to delete it.
            self._transport.wait(_LATE_FILE_SECONDS)
            missing = self._transport.retry(lambda: self._delete_once(published.id))
        if missing is not None and not missing_ok:
            raise missing

    def _is_current(self, published: Published) -> bool:
        """Return whether the clip was published with the current Public URL.

        A query without {name} is ignored, since it is a signature, which is renewed.
        """
        template, url = self._config.public, published.url
        if NAME not in template.partition("?")[2]:
            template, url = template.partition("?")[0], url.partition("?")[0]
        return url == template.replace(NAME, published.id)

    def _put_once(self, name: str, clip: Path, progress: Progress) -> None:
        url = self._config.upload.replace(NAME, name)
        headers = {"Content-Type": CONTENT_TYPE, **self._headers}
        response = self._transport.put_file(url, clip, headers, progress, private_allowed=True)
        if response.status not in (200, 201, 204):
            raise storage_error(response, "the upload", url)

    def _delete_once(self, name: str) -> Failure | None:
        """Delete the file. Return the failure if there is none, raise all others."""
        url = self._config.upload.replace(NAME, name)
        response = self._transport.send("DELETE", url, headers=self._headers, private_allowed=True)
        if 200 <= response.status < 300:
            return None
        failure = storage_error(response, "the deletion", url)
        if response.status not in (404, 410):
            raise failure
        return failure


def _check_template(template: str, what: str) -> None:
    """Raise StorageNotConfigured unless the template is a URL with a place for the clip's name."""
    hint = f"Write {NAME} in the place of the clip's name, such as https://HOST/clips/{NAME}."
    try:
        parts = urlsplit(template)
    except ValueError:
        parts = urlsplit("")
    if not template or not re.fullmatch(r"[\x21-\x7e]+", template) or NAME in parts.netloc:
        raise StorageNotConfigured(f"The {what} of the storage is not a URL.", hint)
    if NAME not in parts.path + parts.query:
        raise StorageNotConfigured(f"The {what} of the storage does not contain {NAME}.", hint)
    if re.search(r"[{}]", template.replace(NAME, "")):
        raise StorageNotConfigured(f"The {what} of the storage contains braces other than those of {NAME}.", hint)


def _checked_headers(config: HttpPutConfig) -> dict[str, str]:
    """Return the extra headers and the login. Raise StorageNotConfigured, without their values, for invalid ones."""
    headers = dict(parse_headers(config.headers))
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value) or name.lower() in _HEADERS_RESERVED:
            raise StorageNotConfigured("An extra header of the storage is invalid.")
    if config.token and (config.user or config.password):
        raise StorageNotConfigured("The storage has two logins.", "Set a user and password, or a token, not both.")
    if config.token:
        if not _TOKEN.fullmatch(config.token):
            raise StorageNotConfigured("The token of the storage is invalid.")
        headers["Authorization"] = f"Bearer {config.token}"
    elif config.user or config.password:
        credentials = f"{config.user}:{config.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    return headers
