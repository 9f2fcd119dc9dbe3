# SPDX-License-Identifier: GPL-3.0-or-later
"""All HTTP requests of the add-on: deadlines, retries, cancellation and bounded bodies. No bpy.

Redirects are followed for GET requests without a key only, and not by requests, which would send an `X-API-Key` to the
redirect's host. Every request has its own `auth`, so that `.netrc` can't replace the key.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin

import requests
import tenacity
from requests.auth import AuthBase

from ...failure import Cancelled
from .addresses import RESPONSE_HINT, SERVICE_HINT, check_url
from .body import NETWORK_ERRORS, iter_content
from .connection import CONNECT_SECONDS, create_session
from .deadline import READ_SECONDS, RequestDeadline
from .download import Progress, save
from .errors import (
    InvalidResponse,
    ResultGone,
    ServiceUnavailable,
    TemporaryFailure,
    TemporaryInvalidResponse,
    host_of,
    request_failed,
)
from .retry_after import retry_after
from .upload import Upload

T = TypeVar("T")

_thread = threading.local()
"""`has_transport` is true on threads with an open Transport. What urllib3 logs there is about the add-on's requests."""
_URLLIB3_LOGGERS = ("connection", "connectionpool", "poolmanager", "response", "util.retry")

BODY_BYTES_MAX = 4 * 1024**2
"""Maximum size of a response other than a download."""
ATTEMPTS = 5
RETRY_SECONDS = 5 * 60.0
"""No attempt begins later than this after the first one. Most outages are shorter, and nobody waits for longer."""
_REDIRECTS_MAX = 5
_BACKOFF_FIRST_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 15.0


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float:
        """Return the seconds that the header Retry-After gives, 0 without it."""
        return retry_after(self.headers)


class NoAuth(AuthBase):
    """Authentication that sends no credentials, not even those of a `.netrc`."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


class Transport:
    """HTTP client for one thread. Its methods raise Cancelled as soon as `cancel` is set."""

    def __init__(self, cancel: threading.Event, *, loopback_allowed: bool = False) -> None:
        self.cancel = cancel
        self._loopback_allowed = loopback_allowed
        self._deadline = RequestDeadline(cancel, loopback_allowed=loopback_allowed)
        self._sessions = {private: create_session(self._deadline, private_allowed=private) for private in (False, True)}
        _thread.has_transport = True
        for name in _URLLIB3_LOGGERS:
            logging.getLogger(f"urllib3.{name}").addFilter(_hide_urls)

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._deadline.close()
        _thread.has_transport = False

    def wait(self, seconds: float) -> None:
        """Sleep. Raise Cancelled as soon as `cancel` is set."""
        if self.cancel.wait(seconds):
            raise Cancelled

    def now(self) -> float:
        """Return the time in seconds, by the clock that `wait` uses."""
        return time.monotonic()

    def retry(
        self,
        attempt: Callable[[], T],
        *,
        attempts: int = ATTEMPTS,
        seconds: float = RETRY_SECONDS,
    ) -> T:
        """Call `attempt` until it raises no TemporaryFailure, at most `attempts` times and with no call after `seconds`."""
        began = self.now()

        def pause(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            seconds_min = fault.retry_after if isinstance(fault, TemporaryFailure) else 0.0
            return max(seconds_min, backoff(state.attempt_number))

        def is_last(state: tenacity.RetryCallState) -> bool:
            return state.attempt_number >= attempts or self.now() + state.upcoming_sleep - began >= seconds

        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TemporaryFailure),
            wait=pause,
            stop=is_last,
            sleep=self.wait,
            reraise=True,
        )
        return policy(attempt)

    def send(
        self,
        method: str,
        url: str,
        *,
        auth: AuthBase | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: object = None,
        cancellable: bool = True,
        private_allowed: bool = False,
        hint: str = SERVICE_HINT,
    ) -> Response:
        """Send one request and return the complete response, of any status. Raise TemporaryFailure, Failure, Cancelled.

        With `cancellable=False`, a cancel doesn't interrupt a request of which something was sent, since its response says
        what would have to be undone. `private_allowed` is for URLs from the preferences, which may lead into the local
        network. `hint` says where the URL comes from, for the failure if nothing may be sent to it.
        """
        with self._stream(
            method,
            url,
            auth=auth,
            headers=headers,
            json=json,
            data=data,
            cancellable=cancellable,
            private_allowed=private_allowed,
            hint=hint,
        ) as response:
            body = bytearray()
            try:
                for chunk in self._iter_content(response):
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        text = f"{host_of(url)} sent a response of more than {BODY_BYTES_MAX} bytes."
                        raise TemporaryInvalidResponse(text)
            except InvalidResponse as fault:
                # The server may have carried out a request whose response can't be read.
                raise TemporaryInvalidResponse(fault.message, fault.hint) from None
            return Response(response.status_code, response.headers, bytes(body))

    def put_file(
        self, url: str, path: Path, headers: Mapping[str, str], progress: Progress, *, private_allowed: bool = False
    ) -> Response:
        """Send the file at `path` as the body of one PUT request, without a key. `private_allowed` is as in `send`."""
        with path.open("rb") as file:
            body = Upload(file, path.stat().st_size, self._deadline, progress)
            return self.send("PUT", url, headers=headers, data=body, private_allowed=private_allowed, hint=RESPONSE_HINT)

    def fetch(self, url: str, path: Path, progress: Progress) -> None:
        """Download `url` to `path`, without a key. The file gets its name when it is complete."""
        self.retry(lambda: self._fetch_once(url, path, progress))

    def read(
        self, url: str, bytes_max: int, headers: Mapping[str, str] | None = None, *, private_allowed: bool = False
    ) -> Response:
        """Get at most `bytes_max` bytes from a public URL, without a key. Return the response, of any status. See `send`."""
        with self._get(url, headers, private_allowed=private_allowed) as response:
            body = bytearray()
            for chunk in self._iter_content(response):
                body += chunk
                if len(body) >= bytes_max:
                    break
            return Response(response.status_code, response.headers, bytes(body[:bytes_max]))

    def check(self, url: str, hint: str, *, private_allowed: bool = False) -> None:
        """Raise UnsafeUrl unless requests may be sent to `url`. `hint` says where the URL is set."""
        check_url(url, loopback_allowed=self._loopback_allowed, private_allowed=private_allowed, hint=hint)

    def _fetch_once(self, url: str, path: Path, progress: Progress) -> None:
        with self._get(url) as response:
            _check_download(response, response.url)
            save(response, self._iter_content(response), path, progress)

    @contextmanager
    def _get(
        self, url: str, headers: Mapping[str, str] | None = None, *, private_allowed: bool = False
    ) -> Generator[requests.Response, None, None]:
        """Send a GET request without a key, and follow redirects. `private_allowed` doesn't apply to the redirects' URLs."""
        for _ in range(_REDIRECTS_MAX + 1):
            with self._stream("GET", url, headers=headers, private_allowed=private_allowed, hint=RESPONSE_HINT) as response:
                if not response.is_redirect:
                    yield response
                    return
                url, private_allowed = _redirect_target(response), False
        raise InvalidResponse(f"Too many redirects, the last one to {host_of(url)}.")

    @contextmanager
    def _stream(
        self,
        method: str,
        url: str,
        *,
        auth: AuthBase | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: object = None,
        cancellable: bool = True,
        private_allowed: bool = False,
        hint: str,
    ) -> Generator[requests.Response, None, None]:
        """Send a request and yield the response, of which the body can be read within the block."""
        self.check(url, hint, private_allowed=private_allowed)
        with self._deadline.request(host_of(url), cancellable=cancellable):
            self._deadline.check()
            try:
                response = self._sessions[private_allowed].request(
                    method,
                    url,
                    auth=auth or NoAuth(),
                    headers={"Accept-Encoding": "identity", **(headers or {})},
                    json=json,
                    data=data,  # pyright: ignore[reportArgumentType]  # a file-like with a length, as requests takes it
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    allow_redirects=False,
                    stream=True,
                )
            except NETWORK_ERRORS as fault:
                raise request_failed(fault, url, sent=self._deadline.sent) from None
            # Closes the connection if the body was not read to its end.
            with response:
                _check_final(response)
                yield response

    def _iter_content(self, response: requests.Response) -> Iterator[bytes]:
        try:
            yield from iter_content(response, self._deadline.progress)
        except NETWORK_ERRORS as fault:
            raise request_failed(fault, response.url, sent=True) from None


def backoff(attempt: int) -> float:
    """Return the seconds to wait after an attempt, counted from 1. They are random, and double on average each time."""
    return random.uniform(0.0, min(_BACKOFF_FIRST_SECONDS * 2 ** (attempt - 1), _BACKOFF_MAX_SECONDS))  # noqa: S311


def _check_final(response: requests.Response) -> None:
    """Raise TemporaryInvalidResponse for a status below 200, such as 103 Early Hints."""
    # http.client returns it as the response. The final one must not be read as the response to the next request.
    if response.status_code < 200:
        text = f"{host_of(response.url)} sent HTTP {response.status_code}, which is not a final response."
        raise TemporaryInvalidResponse(text)


def _redirect_target(response: requests.Response) -> str:
    try:
        return urljoin(response.url, response.headers["Location"])
    except ValueError:
        text = f"{host_of(response.url)} redirects to an invalid URL."
        raise InvalidResponse(text) from None


def _check_download(response: requests.Response, url: str) -> None:
    """Raise Failure unless the status is 200."""
    host, status = host_of(url), response.status_code
    if status in (403, 404, 410):
        raise ResultGone(
            f"The result is no longer at {host} (HTTP {status}); results are kept for about a day.",
        )
    if status == 429 or status >= 500:
        text = f"{host} could not send the result (HTTP {status})."
        raise ServiceUnavailable(text, retry_after=retry_after(response.headers))
    if status != 200:
        raise InvalidResponse(f"{host} sent HTTP {status} instead of the result.")


def _hide_urls(record: logging.LogRecord) -> bool:
    """Filter out urllib3's records of the add-on's own requests, which contain paths and signatures."""
    return not getattr(_thread, "has_transport", False)
