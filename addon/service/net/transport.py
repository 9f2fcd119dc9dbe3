# SPDX-License-Identifier: GPL-3.0-or-later
"""All HTTP requests of the add-on: deadlines, retries, cancellation and bounded bodies. No bpy.

Redirects are followed for GET requests without a key only. Nothing is read from `.netrc`, and no cookies are kept.
"""

import random
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase

from ...failure import Cancelled, DiskFailure, disk_failure
from .addresses import RESPONSE_HINT, SERVICE_HINT, check_url
from .clock import CLOCK, Clock
from .connection import Connection, Route
from .deadline import BOUNDS, Bounds, RequestDeadline
from .environment import proxy_for
from .errors import InvalidResponse, TemporaryFailure, TemporaryInvalidResponse, host_of, request_failed
from .response import BLOCK_BYTES, Incoming, Response

T = TypeVar("T")
Progress = Callable[[float, float], None]
"""Called with (done, total) of a transfer, in bytes; total is 0 while it is unknown."""

ATTEMPTS = 5
RETRY_SECONDS = 5 * 60.0
"""No attempt begins later than this after the first one. Most outages are shorter, and nobody waits for longer."""
_REDIRECTS_MAX = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BACKOFF_FIRST_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 15.0


class Transport:
    """HTTP client for one thread. Its methods raise Cancelled as soon as `cancel` is set."""

    def __init__(
        self, cancel: threading.Event, *, loopback_allowed: bool = False, bounds: Bounds = BOUNDS, clock: Clock = CLOCK
    ) -> None:
        self.cancel = cancel
        self.bounds = bounds
        self.clock = clock
        self._loopback_allowed = loopback_allowed
        self._deadline = RequestDeadline(cancel)
        self._idle: dict[Route, Connection] = {}

    def close(self) -> None:
        while self._idle:
            self._idle.popitem()[1].hang_up()

    def wait(self, seconds: float) -> None:
        """Sleep. Raise Cancelled as soon as `cancel` is set."""
        if self.clock.wait(seconds, self.cancel):
            raise Cancelled

    def now(self) -> float:
        """Return the time in seconds, by the clock that `wait` uses."""
        return self.clock.now()

    def retry(self, attempt: Callable[[], T], *, attempts: int = ATTEMPTS, seconds: float = RETRY_SECONDS) -> T:
        """Call `attempt` until it raises no TemporaryFailure, at most `attempts` times and with no call after `seconds`."""
        end, number = self.now() + seconds, 0
        while True:
            number += 1
            try:
                return attempt()
            except TemporaryFailure as failure:
                pause = max(failure.retry_after, backoff(number))
                if number >= attempts or self.now() + pause >= end:
                    raise
            self.wait(pause)

    def check(self, url: str, hint: str, *, private_allowed: bool = False) -> None:
        """Raise UnsafeUrl unless requests may be sent to `url`. `hint` says where the URL is set."""
        check_url(url, loopback_allowed=self._loopback_allowed, private_allowed=private_allowed, hint=hint)

    def send(
        self,
        method: str,
        url: str,
        *,
        auth: AuthBase | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        cancellable: bool = True,
        private_allowed: bool = False,
    ) -> Response:
        """Send one request and return the complete response, of any status. Raise TemporaryFailure, Failure, Cancelled.

        With `cancellable=False`, a cancel doesn't interrupt a request of which something was sent, since its response says
        what would have to be undone. `private_allowed` is for URLs from the preferences, which may lead into the local
        network.
        """
        request = requests.Request(method, url, headers=headers, json=json, auth=auth)
        self.check(url, SERVICE_HINT, private_allowed=private_allowed)
        with self._open(request, private_allowed=private_allowed, cancellable=cancellable) as incoming:
            return self._complete(incoming)

    def put_file(
        self, url: str, path: Path, headers: Mapping[str, str], progress: Progress, *, private_allowed: bool = False
    ) -> Response:
        """Send the file at `path` as the body of one PUT request, without a key. `private_allowed` is as in `send`."""
        self.check(url, RESPONSE_HINT, private_allowed=private_allowed)
        size = path.stat().st_size
        request = requests.Request("PUT", url, headers={**headers, "Content-Length": str(size)})
        body = self._blocks(path, size, progress)
        with self._open(request, body, private_allowed=private_allowed) as incoming:
            return self._complete(incoming)

    def download(self, url: str, path: Path, progress: Progress, check: Callable[[Response, Path], None]) -> Response:
        """Get a public URL, without a key, and return the response without its body. Save it at `path` if the status is 200.

        The file gets its name when it is complete, and when `check`, called with the response and the file, raises nothing.
        """
        part = path.with_name(path.name + ".part")
        with self._get(url) as incoming:
            response = incoming.complete()
            total = 0 if incoming.is_compressed else incoming.length or 0
            try:
                if response.status == 200:
                    with part.open("wb") as file:
                        for block in incoming.blocks(self.bounds.file_bytes_max):
                            file.write(block)
                            progress(file.tell(), total)
                    check(response, part)
                    part.replace(path)
            except OSError as fault:
                raise disk_failure(fault, f"The download can't be written to {path.parent}") from fault
            finally:
                part.unlink(missing_ok=True)
            return response

    def read(
        self, url: str, bytes_max: int, headers: Mapping[str, str] | None = None, *, private_allowed: bool = False
    ) -> Response:
        """Get at most `bytes_max` bytes from a public URL, without a key. Return the response, of any status. See `send`."""
        with self._get(url, headers, private_allowed=private_allowed) as incoming:
            body = bytearray()
            for block in incoming.blocks():
                body += block
                if len(body) >= bytes_max:
                    break
            return incoming.complete(bytes(body[:bytes_max]))

    @contextmanager
    def _get(
        self, url: str, headers: Mapping[str, str] | None = None, *, private_allowed: bool = False
    ) -> Generator[Incoming, None, None]:
        """Send a GET request without a key, and follow redirects. `private_allowed` doesn't apply to the redirects' URLs."""
        for _ in range(_REDIRECTS_MAX + 1):
            self.check(url, RESPONSE_HINT, private_allowed=private_allowed)
            request = requests.Request("GET", url, headers=headers)
            with self._open(request, private_allowed=private_allowed) as incoming:
                if incoming.status not in _REDIRECTS or "Location" not in incoming.headers:
                    yield incoming
                    return
                try:
                    url, private_allowed = urljoin(url, incoming.headers["Location"]), False
                except ValueError:
                    raise InvalidResponse(f"{incoming.host} redirects to an invalid URL.") from None
        raise InvalidResponse(f"Too many redirects, the last one to {host_of(url)}.")

    @contextmanager
    def _open(
        self,
        request: requests.Request,
        body: Iterable[bytes] | None = None,
        *,
        private_allowed: bool,
        cancellable: bool = True,
    ) -> Generator[Incoming, None, None]:
        """Send a request and yield the response, of which the body can be read within the block."""
        host = host_of(request.url)
        with ExitStack() as stack, self._deadline.request(host, self.bounds, cancellable=cancellable):
            try:
                prepared = request.prepare()
                connection = self._connection(prepared.url or "", private_allowed=private_allowed)
                stack.callback(connection.hang_up)
                response = connection.exchange(prepared, body)
            except (OSError, HTTPException, ValueError) as fault:
                raise request_failed(fault, host, sent=self._deadline.sent) from None
            yield Incoming(response, host, self._deadline)
            if response.isclosed() and connection.is_reusable():
                self._idle[connection.route] = connection
                stack.pop_all()

    def _connection(self, url: str, *, private_allowed: bool) -> Connection:
        """Return a connection for a request to `url`, a new one unless there is one that the server has not closed."""
        parts = urlsplit(url)
        tls, host = parts.scheme == "https", parts.hostname or ""
        port = parts.port or (443 if tls else 80)
        route = Route(tls, host, port, proxy_for(url), self._loopback_allowed, private_allowed)
        idle = self._idle.pop(route, None)
        if idle and idle.is_reusable():
            return idle
        if idle:
            idle.hang_up()
        return Connection(route, self._deadline)

    def _complete(self, incoming: Incoming) -> Response:
        """Return the response with its body. Raise TemporaryInvalidResponse for one that is too large or can't be read."""
        try:
            return incoming.complete(b"".join(incoming.blocks(self.bounds.body_bytes_max)))
        except InvalidResponse as fault:
            # The server may have carried out a request whose response can't be read.
            raise TemporaryInvalidResponse(fault.message, fault.hint) from None

    def _blocks(self, path: Path, size: int, progress: Progress) -> Iterator[bytes]:
        """Yield the file at `path` as a body. Raise DiskFailure, since an OSError would look like one of the network."""
        done = 0
        try:
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    yield block
                    done += len(block)
                    self._deadline.extend(len(block))
                    progress(done, size)
        except OSError as fault:
            text = f"The file to upload could not be read: {fault.strerror or fault}."
            raise DiskFailure(text, "Check the disk, then retry.") from None


def backoff(attempt: int) -> float:
    """Return the seconds to wait after an attempt, counted from 1. They are random, and double on average each time."""
    return random.uniform(0.0, min(_BACKOFF_FIRST_SECONDS * 2 ** (attempt - 1), _BACKOFF_MAX_SECONDS))  # noqa: S311
