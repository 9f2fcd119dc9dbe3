# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to the network: timeouts, retries, cancel, bounded bodies, redaction. No bpy.

Redirects are followed for downloads only, by hand, since requests would carry an `X-API-Key` to wherever
one points. `.netrc` is kept from replacing the key: every request brings its own `auth`.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import urljoin

import requests
import tenacity
from requests.auth import AuthBase

from ..failure import Cancelled, Failure
from .addresses import check_url
from .faults import TryAgain, host_of, unreachable

Progress = Callable[[float, float], None]
"""Told (done, total) of a transfer, in bytes; total is 0 while it is not known."""

T = TypeVar("T")

_ours = threading.local()
"""`speaking` is true on threads that have a Transport: what urllib3 logs there is about our requests."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
BODY_MAX = 4 * 1024**2
"""Bytes of an answer that is no file."""
FILE_MAX = 512 * 1024**2
"""Bytes of a file that is fetched; a result of ten minutes has about 50 MB."""
ATTEMPTS = 5
RETRY_AFTER_MAX = 60.0
_REDIRECTS_MAX = 5
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float:
        """Seconds; see the function of that name."""
        return retry_after(self.headers)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a `Retry-After` asks for, within bounds; 0 where there is none, or a date."""
    try:
        seconds = float(headers.get("Retry-After", 0))
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_MAX) if math.isfinite(seconds) else 0.0


class NoAuth(AuthBase):
    """Sends no credentials, not even those of a `.netrc`."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        return r


class Transport:
    """The connection of one job to the network. Raises `Cancelled` as soon as `cancel` is set."""

    def __init__(self, cancel: threading.Event, *, loopback_allowed: bool = False) -> None:
        self.cancel = cancel
        self._loopback_allowed = loopback_allowed
        self._session = requests.Session()
        _ours.speaking = True
        for name in ("urllib3.connectionpool", "urllib3.connection"):
            logging.getLogger(name).addFilter(_hide_urls)

    def close(self) -> None:
        self._session.close()
        _ours.speaking = False

    def wait(self, seconds: float) -> None:
        """Sleeps, unless and until the job is cancelled."""
        if self.cancel.wait(seconds):
            raise Cancelled

    def retry(self, attempt: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
        """Calls `attempt` until it no longer raises `TryAgain`, at most `attempts` times."""
        backoff = tenacity.wait_random_exponential(multiplier=0.5, max=15)

        def pause(state: tenacity.RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            asked = fault.after if isinstance(fault, TryAgain) else 0.0
            return max(asked, backoff(state))

        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TryAgain),
            wait=pause,
            stop=tenacity.stop_after_attempt(attempts),
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
        heed_cancel: bool = True,
    ) -> Answer:
        """One request and its whole answer, whatever its status. Raises TryAgain, Failure, Cancelled.

        `heed_cancel=False` reads the answer to its end all the same, since it tells of something to be undone.
        """
        with self._open(method, url, auth=auth, headers=headers, json=json, data=data) as response:
            body = bytearray()
            for chunk in self._chunks(response, heed_cancel=heed_cancel):
                body += chunk
                if len(body) > BODY_MAX:
                    raise Failure("bad_answer", f"{host_of(url)} sent an answer of more than {BODY_MAX} bytes.")
            return Answer(response.status_code, response.headers, bytes(body))

    def put_file(self, url: str, path: Path, headers: Mapping[str, str], progress: Progress) -> Answer:
        """Sends the file at `path` as the body of one PUT, without any key."""
        with path.open("rb") as file:
            return self.send("PUT", url, headers=headers, data=_Upload(file, path.stat().st_size, self.cancel, progress))

    def fetch(self, url: str, path: Path, progress: Progress) -> None:
        """Downloads `url` to `path`, which appears only when it is whole. Sends no key."""
        self.retry(lambda: self._fetch_once(url, path, progress))

    def read(self, url: str, bytes_max: int, headers: Mapping[str, str] | None = None) -> Answer:
        """The first bytes of what anyone can read at `url`, whatever its status. Sends no key."""
        with self._open_public(url, headers) as response:
            body = bytearray()
            for chunk in self._chunks(response):
                body += chunk
                if len(body) >= bytes_max:
                    break
            return Answer(response.status_code, response.headers, bytes(body[:bytes_max]))

    def check(self, url: str, hint: str) -> None:
        """Raises Failure unless this connection may go to `url`; `hint` says where that address is set."""
        check_url(url, loopback_allowed=self._loopback_allowed, hint=hint)

    def _fetch_once(self, url: str, path: Path, progress: Progress) -> None:
        with self._open_public(url) as response:
            _check_fetched(response, response.url)
            self._save(response, response.url, path, progress)

    def _open_public(self, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        for _ in range(_REDIRECTS_MAX + 1):
            response = self._open("GET", url, headers=headers)
            if not response.is_redirect:
                return response
            response.close()
            url = urljoin(url, response.headers["Location"])
        raise Failure("bad_answer", f"What should be at {host_of(url)} is redirected without end.")

    def _save(self, response: requests.Response, url: str, path: Path, progress: Progress) -> None:
        total = int(response.headers.get("Content-Length") or 0)
        part = path.with_name(path.name + ".part")
        done = 0
        with part.open("wb") as file:
            for chunk in self._chunks(response):
                done += file.write(chunk)
                if max(done, total) > FILE_MAX:
                    raise Failure("bad_answer", f"{host_of(url)} sent a file of more than {FILE_MAX} bytes.")
                progress(done, total)
        if total and done != total:
            raise TryAgain("connection", f"The download from {host_of(url)} broke off after {done} of {total} bytes.")
        part.replace(path)

    def _open(
        self,
        method: str,
        url: str,
        *,
        auth: AuthBase | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: object = None,
    ) -> requests.Response:
        if self.cancel.is_set():
            raise Cancelled
        check_url(url, loopback_allowed=self._loopback_allowed)
        try:
            return self._session.request(
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
        except (requests.RequestException, OSError) as fault:
            raise unreachable(fault, url) from None
        except ValueError:
            # requests looks at where a redirect points even if it is not to follow it.
            raise Failure("bad_answer", f"{host_of(url)} points to an address that is none.", "Retry in a while.") from None

    def _chunks(self, response: requests.Response, *, heed_cancel: bool = True) -> Iterator[bytes]:
        try:
            for chunk in response.iter_content(_CHUNK):
                if heed_cancel and self.cancel.is_set():
                    raise Cancelled
                yield chunk
        except (requests.RequestException, OSError) as fault:
            raise unreachable(fault, response.url) from None


class _Upload:
    """A file as requests reads it: its length known, each block reported, ended by a cancel."""

    def __init__(self, file: BinaryIO, size: int, cancel: threading.Event, progress: Progress) -> None:
        self._file = file
        self._size = size
        self._cancel = cancel
        self._progress = progress

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        if self._cancel.is_set():
            raise Cancelled
        block = self._file.read(size)
        self._progress(self._file.tell(), self._size)
        return block


def _check_fetched(response: requests.Response, url: str) -> None:
    host, status = host_of(url), response.status_code
    if status in (403, 404, 410):
        raise Failure(
            "result_gone",
            f"The result is no longer at {host} (HTTP {status}); results are kept for about a day.",
            "Generate the sound again.",
        )
    if status == 429 or status >= 500:
        text = f"{host} could not hand out the result (HTTP {status})."
        raise TryAgain("service_down", text, "Retry in a while.", after=retry_after(response.headers))
    if status != 200:
        raise Failure("bad_answer", f"{host} answered with HTTP {status} where the result should be.")


def _hide_urls(record: logging.LogRecord) -> bool:
    """Keeps what urllib3 tells of our own requests, paths and signatures spelled out, out of every log."""
    return not getattr(_ours, "speaking", False)
