# SPDX-License-Identifier: GPL-3.0-or-later
"""Responses: their bodies, read with bounded memory and checked for truncation, and the dates in their headers. No bpy."""

import itertools
import math
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse

from requests.structures import CaseInsensitiveDict

from .deadline import RequestDeadline
from .errors import ConnectionFailed, InvalidResponse, TemporaryInvalidResponse, request_failed

BLOCK_BYTES = 64 * 1024
RETRY_AFTER_MAX = 60.0
"""Seconds."""


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes
    host: str = ""

    @property
    def date(self) -> float | None:
        """The server's clock, in seconds since the epoch."""
        return _seconds_of(self.headers.get("Date", ""))

    @property
    def retry_after(self) -> float:
        """The seconds that `Retry-After` gives as a number or date, at most RETRY_AFTER_MAX; 0 without the header.

        A date counts by the server's clock, by this machine's if the response has none.
        """
        value = self.headers.get("Retry-After", "")
        try:
            seconds = float(value)
        except ValueError:
            now = self.date if self.headers.get("Date") else time.time()
            end = _seconds_of(value)
            seconds = 0.0 if end is None or now is None else end - now
        return min(max(seconds, 0.0), RETRY_AFTER_MAX) if math.isfinite(seconds) else 0.0


def _seconds_of(date: str) -> float | None:
    with suppress(ValueError, TypeError, OverflowError, OSError):
        return parsedate_to_datetime(date).timestamp()
    return None


class Incoming:
    """Response whose body has not been read yet."""

    def __init__(self, response: HTTPResponse, host: str, deadline: RequestDeadline) -> None:
        """Raise ConnectionFailed, or TemporaryInvalidResponse for a status below 200, such as 103 Early Hints."""
        self.status, self.host = response.status, host
        joined = {name: ", ".join(response.headers.get_all(name, [])) for name in response.headers}
        self.headers: Mapping[str, str] = CaseInsensitiveDict(joined)
        self._response = response
        self._deadline = deadline
        # http.client returns it as the response. The final one must not be read as the response to the next request.
        if self.status < 200:
            raise TemporaryInvalidResponse(f"{host} sent HTTP {self.status}, which is not a final response.")
        if len(set(response.headers.get_all("Content-Length", []))) > 1:
            raise ConnectionFailed(f"The response from {host} has several lengths.")

    def complete(self, body: bytes = b"") -> Response:
        return Response(self.status, self.headers, body, self.host)

    @property
    def length(self) -> int | None:
        """Bytes of the body as it is transferred, or None if the response doesn't say or has no body."""
        value = self._response.headers.get("Content-Length", "")
        if self.status in (204, 304) or "Transfer-Encoding" in self.headers or not (value.isascii() and value.isdigit()):
            return None
        # Python converts at most 4300 digits; no file is as long as 19 digits say.
        return int(value[:19])

    @property
    def is_compressed(self) -> bool:
        return self.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")

    def blocks(self, bytes_max: float = math.inf) -> Iterator[bytes]:
        """Yield the body, decompressed, in blocks of at most BLOCK_BYTES.

        Raise ConnectionFailed if it is truncated, InvalidResponse if it is larger than `bytes_max` or its Content-Encoding
        is not supported, TimedOut, Cancelled.
        """
        count, length = 0, self.length or 0
        for block in itertools.chain([b""], self._decompressed() if self.is_compressed else self._received()):
            count += len(block)
            if max(count, length) > bytes_max:
                raise InvalidResponse(f"{self.host} sent a response of more than {bytes_max} bytes.")
            yield block

    def _received(self) -> Iterator[bytes]:
        count = 0
        try:
            while block := self._response.read(BLOCK_BYTES):
                count += len(block)
                self._deadline.extend(len(block))
                yield block
        except (OSError, HTTPException, ValueError) as fault:
            raise request_failed(fault, self.host, sent=True) from None
        if count != (self.length or count):
            raise self._truncated()

    def _decompressed(self) -> Iterator[bytes]:
        """Decompress the body of a server that compresses although the request accepts only `identity`."""
        if self.headers["Content-Encoding"].strip().lower() not in ("gzip", "x-gzip", "deflate"):
            raise InvalidResponse(f"{self.host} sent a response with an unsupported Content-Encoding.")
        # Accepts both gzip's header and zlib's.
        decompressor = zlib.decompressobj(zlib.MAX_WBITS + 32)
        try:
            for rest in self._received():
                while rest and not decompressor.eof:
                    yield decompressor.decompress(rest, BLOCK_BYTES)
                    rest = decompressor.unconsumed_tail  # noqa: PLW2901
        except zlib.error:
            raise self._truncated() from None
        if not decompressor.eof:
            raise self._truncated()

    def _truncated(self) -> ConnectionFailed:
        return ConnectionFailed(f"The response from {self.host} is incomplete.")
