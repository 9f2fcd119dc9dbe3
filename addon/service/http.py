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
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
from requests.auth import AuthBase

from ..failure import Cancelled, Failure
from .addresses import check_url

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
_CHECK_CONNECTION = "Check the connection and retry."


class TryAgain(Failure):
    """Trouble that may pass.

    sent   whether the request may have been carried out all the same
    after  for how many seconds the service asked to be left alone, its `Retry-After`, or 0
    """

    def __init__(self, code: str, message: str, hint: str = "", *, sent: bool = True, after: float = 0.0) -> None:
        super().__init__(code, message, hint)
        self.sent = sent
        self.after = after


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
                    raise Failure("bad_answer", f"{_host(url)} sent an answer of more than {BODY_MAX} bytes.")
            return Answer(response.status_code, response.headers, bytes(body))

    def put_file(self, url: str, path: Path, headers: Mapping[str, str], progress: Progress) -> Answer:
        """Sends the file at `path` as the body of one PUT, without any key."""
        with path.open("rb") as file:
            return self.send("PUT", url, headers=headers, data=_Upload(file, path.stat().st_size, self.cancel, progress))

    def fetch(self, url: str, path: Path, progress: Progress) -> None:
        """Downloads `url` to `path`, which appears only when it is whole. Sends no key."""
        self.retry(lambda: self._fetch_once(url, path, progress))

    def _fetch_once(self, url: str, path: Path, progress: Progress) -> None:
        for _ in range(_REDIRECTS_MAX + 1):
            with self._open("GET", url) as response:
                if response.is_redirect:
                    url = urljoin(url, response.headers["Location"])
                    continue
                _check_fetched(response, url)
                self._save(response, url, path, progress)
                return
        raise Failure("bad_answer", f"The result at {_host(url)} is redirected without end.")

    def _save(self, response: requests.Response, url: str, path: Path, progress: Progress) -> None:
        total = int(response.headers.get("Content-Length") or 0)
        part = path.with_name(path.name + ".part")
        done = 0
        with part.open("wb") as file:
            for chunk in self._chunks(response):
                done += file.write(chunk)
                if max(done, total) > FILE_MAX:
                    raise Failure("bad_answer", f"{_host(url)} sent a file of more than {FILE_MAX} bytes.")
                progress(done, total)
        if total and done != total:
            raise TryAgain("connection", f"The download from {_host(url)} broke off after {done} of {total} bytes.")
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
            raise _unreachable(fault, url) from None
        except ValueError:
            # requests looks at where a redirect points even if it is not to follow it.
            raise Failure("bad_answer", f"{_host(url)} points to an address that is none.", "Retry in a while.") from None

    def _chunks(self, response: requests.Response, *, heed_cancel: bool = True) -> Iterator[bytes]:
        try:
            for chunk in response.iter_content(_CHUNK):
                if heed_cancel and self.cancel.is_set():
                    raise Cancelled
                yield chunk
        except (requests.RequestException, OSError) as fault:
            raise _unreachable(fault, response.url) from None


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


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the service"


def _check_fetched(response: requests.Response, url: str) -> None:
    host, status = _host(url), response.status_code
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


def _unreachable(fault: Exception, url: str) -> Failure:
    """Says in plain words what became of a request. Never the fault's own text: it holds the whole URL."""
    host = _host(url)
    chain = _causes(fault)
    names = {type(cause).__name__ for cause in chain}
    sent = not names & {"NewConnectionError", "ConnectTimeout", "ConnectTimeoutError", "NameResolutionError", "gaierror"}
    if names & {"SSLError", "SSLCertVerificationError"}:
        return Failure(
            "certificate",
            f"The certificate of {host} could not be verified, so nothing was sent.",
            "Check this machine's clock, and whether a proxy or virus scanner opens secure connections.",
        )
    if "ProxyError" in names:
        text = f"The proxy did not connect to {host}."
        return TryAgain("connection", text, "Check this machine's proxy settings.", sent=False)
    if any(isinstance(cause, requests.Timeout | TimeoutError) for cause in chain):
        return TryAgain("timeout", f"{host} did not answer in time.", _CHECK_CONNECTION, sent=sent)
    if names & {"gaierror", "NameResolutionError"}:
        return TryAgain("connection", f"The name {host} could not be resolved.", _CHECK_CONNECTION, sent=False)
    return TryAgain("connection", f"The connection to {host} failed or broke off.", _CHECK_CONNECTION, sent=sent)


def _causes(fault: BaseException) -> list[BaseException]:
    """The fault and what led to it: requests and urllib3 wrap one another in `args` and `reason`."""
    found: list[BaseException] = []
    open_ends = [fault]
    while open_ends:
        cause = open_ends.pop()
        if cause in found:
            continue
        found.append(cause)
        hidden = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        open_ends += [item for item in hidden if isinstance(item, BaseException)]
    return found


def _hide_urls(record: logging.LogRecord) -> bool:
    """Keeps what urllib3 tells of our own requests, paths and signatures spelled out, out of every log."""
    return not getattr(_ours, "speaking", False)
