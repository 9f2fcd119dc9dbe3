# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to the network: deadlines, retries, cancel, bounded bodies, redaction. No bpy.

Redirects are followed for downloads only, by hand, since requests would carry an `X-API-Key` to wherever
one points. `.netrc` is kept from replacing the key: every request brings its own `auth`.
"""

import logging
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

from ...failure import Cancelled, Failure
from .addresses import GIVEN_HINT, SERVICE_HINT, check_url
from .body import NETWORK_FAULTS, blocks
from .connection import CONNECT_SECONDS, session
from .deadline import READ_SECONDS, RequestDeadline
from .download import Progress, save
from .errors import TemporaryFailure, host_of, unreachable
from .retry_after import retry_after
from .upload import Upload

T = TypeVar("T")

_ours = threading.local()
"""`speaking` is true on threads that have a Transport: what urllib3 logs there is about our requests."""
_LOGGERS = ("connection", "connectionpool", "poolmanager", "response", "util.retry")

BODY_MAX = 4 * 1024**2
"""Bytes of an answer that is no file."""
ATTEMPTS = 5
STAGE_SECONDS = 5 * 60.0
"""After this long no attempt is begun any more; outages that end by themselves are shorter, and nobody waits for longer."""
_REDIRECTS_MAX = 5


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float:
        """Seconds; see the function of that name."""
        return retry_after(self.headers)


class NoAuth(AuthBase):
    """Sends no credentials, not even those of a `.netrc`."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


class Transport:
    """The connection of one job to the network. Raises `Cancelled` as soon as `cancel` is set."""

    def __init__(self, cancel: threading.Event, *, loopback_allowed: bool = False) -> None:
        self.cancel = cancel
        self._loopback_allowed = loopback_allowed
        self._deadline = RequestDeadline(cancel, loopback_allowed=loopback_allowed)
        self._sessions = {private: session(self._deadline, private_allowed=private) for private in (False, True)}
        _ours.speaking = True
        for name in _LOGGERS:
            logging.getLogger(f"urllib3.{name}").addFilter(_hide_urls)

    def close(self) -> None:
        for made in self._sessions.values():
            made.close()
        self._deadline.close()
        _ours.speaking = False

    def wait(self, seconds: float) -> None:
        """Sleeps, unless and until the job is cancelled."""
        if self.cancel.wait(seconds):
            raise Cancelled

    def now(self) -> float:
        """Seconds, by the clock that `wait` goes by."""
        return time.monotonic()

    def retry(
        self,
        attempt: Callable[[], T],
        *,
        of: type[TemporaryFailure] = TemporaryFailure,
        attempts: float = ATTEMPTS,
        seconds: float = STAGE_SECONDS,
    ) -> T:
        """Calls `attempt` until it no longer raises `of`, at most `attempts` times, none begun after `seconds`."""
        began = self.now()
        backoff = tenacity.wait_random_exponential(multiplier=0.5, max=15)

        def pause(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            asked = fault.after if isinstance(fault, TemporaryFailure) else 0.0
            return max(asked, backoff(state))

        def enough(state: tenacity.RetryCallState) -> bool:
            return state.attempt_number >= attempts or self.now() + state.upcoming_sleep - began >= seconds

        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(of),
            wait=pause,
            stop=enough,
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
        """One request and its whole answer, whatever its status. Raises TryAgain, Failure, Cancelled.

        `heed_cancel=False` reads the answer to its end all the same, since it tells of something to be undone.
        `private_allowed` is for addresses from the preferences, which may lead into the local network. `hint` says where the
        address comes from, in case that it is none to be spoken to.
        """
        with self._asked(
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
                for block in self._blocks(response):
                    body += block
                    if len(body) > BODY_MAX:
                        text = f"{host_of(url)} sent an answer of more than {BODY_MAX} bytes."
                        raise TemporaryFailure("bad_answer", text, "Retry in a while.")
            except Failure as fault:
                # An answer that can't be read doesn't say that nothing was carried out.
                raise (
                    fault if isinstance(fault, TemporaryFailure) else TemporaryFailure(fault.code, fault.message, fault.hint)
                ) from None
            return Response(response.status_code, response.headers, bytes(body))

    def put_file(
        self, url: str, path: Path, headers: Mapping[str, str], progress: Progress, *, private_allowed: bool = False
    ) -> Response:
        """Sends the file at `path` as the body of one PUT, without any key. `private_allowed` as in `send`."""
        with path.open("rb") as file:
            body = Upload(file, path.stat().st_size, self._deadline, progress)
            return self.send("PUT", url, headers=headers, data=body, private_allowed=private_allowed, hint=GIVEN_HINT)

    def fetch(self, url: str, path: Path, progress: Progress) -> None:
        """Downloads `url` to `path`, which appears only when it is whole. Sends no key."""
        self.retry(lambda: self._fetch_once(url, path, progress))

    def read(
        self, url: str, bytes_max: int, headers: Mapping[str, str] | None = None, *, private_allowed: bool = False
    ) -> Response:
        """The first bytes of what anyone can read at `url`, whatever its status. Sends no key. See `send`."""
        with self._asked_publicly(url, headers, private_allowed=private_allowed) as response:
            body = bytearray()
            for block in self._blocks(response):
                body += block
                if len(body) >= bytes_max:
                    break
            return Response(response.status_code, response.headers, bytes(body[:bytes_max]))

    def check(self, url: str, hint: str, *, private_allowed: bool = False) -> None:
        """Raises Failure unless this connection may go to `url`; `hint` says where that address is set."""
        check_url(url, loopback_allowed=self._loopback_allowed, private_allowed=private_allowed, hint=hint)

    def _fetch_once(self, url: str, path: Path, progress: Progress) -> None:
        with self._asked_publicly(url) as response:
            _check_fetched(response, response.url)
            save(response, self._blocks(response), path, progress)

    @contextmanager
    def _asked_publicly(
        self, url: str, headers: Mapping[str, str] | None = None, *, private_allowed: bool = False
    ) -> Generator[requests.Response, None, None]:
        """Follows redirects. `private_allowed` is for the first address alone: a server has named the others."""
        for _ in range(_REDIRECTS_MAX + 1):
            with self._asked("GET", url, headers=headers, private_allowed=private_allowed, hint=GIVEN_HINT) as response:
                if not response.is_redirect:
                    yield response
                    return
                url, private_allowed = _pointed_to(response), False
        raise Failure("bad_answer", f"What should be at {host_of(url)} is redirected without end.", "Retry in a while.")

    @contextmanager
    def _asked(
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
        """A request whose answer has begun; it is over, or hung up, at the end of the block."""
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
            except NETWORK_FAULTS as fault:
                raise unreachable(fault, url, sent=self._deadline.sent) from None
            # Leaving this closes a connection of which not all was read.
            with response:
                _check_final(response)
                yield response

    def _blocks(self, response: requests.Response) -> Iterator[bytes]:
        try:
            yield from blocks(response, self._deadline.moved)
        except NETWORK_FAULTS as fault:
            raise unreachable(fault, response.url, sent=True) from None


def _check_final(response: requests.Response) -> None:
    """http.client takes 103 Early Hints for the answer; what follows it must not be taken for that to the next request."""
    if response.status_code < 200:
        text = f"{host_of(response.url)} answered with HTTP {response.status_code}, which is no answer."
        raise TemporaryFailure("bad_answer", text, "Retry in a while.")


def _pointed_to(response: requests.Response) -> str:
    try:
        return urljoin(response.url, response.headers["Location"])
    except ValueError:
        text = f"{host_of(response.url)} points to an address that is none."
        raise Failure("bad_answer", text, "Retry in a while.") from None


def _check_fetched(response: requests.Response, url: str) -> None:
    host, status = host_of(url), response.status_code
    if status in (403, 404, 410):
        raise Failure(
            "result_gone",
            f"The result is not at {host} any more (HTTP {status}); results are kept for about a day.",
            "Retry looks for it again, without a new run.",
        )
    if status == 429 or status >= 500:
        text = f"{host} could not hand out the result (HTTP {status})."
        raise TemporaryFailure("service_down", text, "Retry in a while.", after=retry_after(response.headers))
    if status != 200:
        raise Failure("bad_answer", f"{host} answered with HTTP {status} where the result should be.", "Retry in a while.")


def _hide_urls(record: logging.LogRecord) -> bool:
    """Keeps what urllib3 tells of our own requests, paths and signatures spelled out, out of every log."""
    return not getattr(_ours, "speaking", False)
