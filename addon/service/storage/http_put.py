# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that takes files by PUT: a CDN's ingest, WebDAV, Nextcloud, Azure Blob with a SAS. No bpy."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from ...failure import Failure
from ..eachlabs.client import Eachlabs
from ..net.transport import Progress, Transport
from . import CONTENT_TYPE, SETTINGS_HINT, Published, object_name, storage_changed
from .errors import storage_error

NAME = "{name}"

_PART_SECONDS = 2.0

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")
# These are the transport's own; set by hand they would break the request.
_HEADERS_RESERVED = {"host", "content-length", "transfer-encoding", "connection", "expect"}


@dataclass(frozen=True)
class HttpPutConfig:
    """Where clips go and where they are then read.

    upload    an address in which {name} stands for the clip's name; it may carry a query, such as a SAS, and be one of the
              local network
    public    the address at which anyone can read what was uploaded, with {name} too
    headers   sent with the upload and the deletion: `Name: value`, several of them parted by | or line breaks
    user      and password: a basic login
    token     a bearer login, in the place of user and password
    delete    whether DELETE at the upload address takes a clip away
    """

    label: ClassVar[str] = "HTTP PUT"

    upload: str = field(default="", repr=False)
    public: str = field(default="", repr=False)
    headers: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    delete: bool = True

    def open(self, service: Eachlabs, transport: Transport) -> "HttpPut":
        tidied = replace(self, upload=self.upload.strip(), public=self.public.strip(), token=self.token.strip())
        for template, what, hint, private_allowed in (
            (tidied.upload, "upload", "Check the upload address of the storage: it has to be https.", True),
            (tidied.public, "public", "Check the public address of the storage: Eachlabs has to reach it.", False),
        ):
            _check_template(template, what)
            transport.check(template.replace(NAME, object_name()), hint, private_allowed=private_allowed)
        return HttpPut(tidied, _checked_headers(tidied), transport)


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """The names and values of headers as `HttpPutConfig` has them. Raises Failure."""
    lines = [line.strip() for line in re.split(r"[|\n]", text)]
    pairs = [line.partition(":") for line in lines if line]
    if not all(colon for _, colon, _ in pairs):
        raise Failure("storage_setup", "An extra header has no colon.", "Write headers as Name: value, parted by |.")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


class HttpPut:
    needs_clip = True
    private_allowed = True

    def __init__(self, config: HttpPutConfig, headers: dict[str, str], transport: Transport) -> None:
        self._config = config
        self._headers = headers
        self._transport = transport

    @property
    def deletes(self) -> bool:
        return self._config.delete

    def publish(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        name = object_name()
        published = Published(name, self._config.public.replace(NAME, name))
        begun(published)
        self._transport.retry(lambda: self._put_once(name, clip, progress))
        return published

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        if not self._config.delete:
            return
        if not self._is_here(published):
            raise storage_changed()
        missing = self._transport.retry(lambda: self._delete_once(published.id))
        if missing is not None:
            # A server may make a file of an upload that broke off only after it was asked to delete it.
            self._transport.wait(_PART_SECONDS)
            missing = self._transport.retry(lambda: self._delete_once(published.id))
        if missing is not None and not missing_ok:
            raise missing

    def _is_here(self, published: Published) -> bool:
        """Whether today's public address is that of its clip. A query without the name is a signature: those are renewed."""
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
        """Returns the refusal where there was nothing to delete."""
        url = self._config.upload.replace(NAME, name)
        response = self._transport.send("DELETE", url, headers=self._headers, private_allowed=True)
        if 200 <= response.status < 300:
            return None
        failure = storage_error(response, "the deletion", url)
        if response.status not in (404, 410):
            raise failure
        return failure


def _check_template(template: str, what: str) -> None:
    """Raises Failure unless it makes an address of its own for each clip."""
    hint = f"Write {NAME} where the clip's name belongs, such as https://HOST/clips/{NAME}."
    try:
        parts = urlsplit(template)
    except ValueError:
        parts = urlsplit("")
    if not template or not re.fullmatch(r"[\x21-\x7e]+", template) or NAME in parts.netloc:
        raise Failure("storage_setup", f"The {what} address of the storage is no address.", hint)
    if NAME not in parts.path + parts.query:
        raise Failure("storage_setup", f"The {what} address of the storage has no {NAME} in it.", hint)
    if re.search(r"[{}]", template.replace(NAME, "")):
        raise Failure("storage_setup", f"The {what} address of the storage has braces that are no {NAME}.", hint)


def _checked_headers(config: HttpPutConfig) -> dict[str, str]:
    """The extra headers and the login. Raises Failure for what can't be sent, without telling it."""
    headers = dict(parse_headers(config.headers))
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value) or name.lower() in _HEADERS_RESERVED:
            raise Failure("storage_setup", "An extra header of the storage can't be sent.", SETTINGS_HINT)
    if config.token and (config.user or config.password):
        raise Failure("storage_setup", "The storage has two logins.", "Give a user and password, or a token, not both.")
    if config.token:
        if not _TOKEN.fullmatch(config.token):
            raise Failure("storage_setup", "The token of the storage can't be sent.", SETTINGS_HINT)
        headers["Authorization"] = f"Bearer {config.token}"
    elif config.user or config.password:
        login = f"{config.user}:{config.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    return headers
