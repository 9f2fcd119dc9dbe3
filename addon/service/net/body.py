# SPDX-License-Identifier: GPL-3.0-or-later
"""Response bodies, read in chunks with bounded memory and checked for truncation. No bpy.

urllib3's own reading is not bounded: it decodes a chunk of 64 kB to 64 MB, that again for a second Content-Encoding, and
reads a line of a body with chunked transfer encoding to its end. urllib3 before 2 also accepts a truncated body.
"""

import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Protocol

import requests
from urllib3.exceptions import HTTPError

from .errors import ConnectionFailed, InvalidResponse, host_of

CHUNK_SIZE = 64 * 1024
"""Bytes."""
NETWORK_ERRORS = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)
"""Exceptions that requests, urllib3 and http.client may raise for a request; ValueError for malformed data."""

_ZLIB_ENCODINGS = ("gzip", "x-gzip", "deflate")


class _Decoder(Protocol):
    def decode(self, chunk: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None:
        """Raise ConnectionFailed if the body is truncated."""
        ...


def content_length(response: requests.Response) -> int | None:
    """Return the bytes of the body as it is transferred, or None if the response doesn't say or has no body."""
    value = response.headers.get("Content-Length", "")
    bodiless = response.status_code < 200 or response.status_code in (204, 304)
    if bodiless or "Transfer-Encoding" in response.headers or not (value.isascii() and value.isdigit()):
        return None
    # Python converts at most 4300 digits; no file is as long as 19 digits say.
    return int(value[:19])


def is_compressed(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def iter_content(response: requests.Response, progress: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the decoded body in chunks of at most CHUNK_SIZE bytes.

    Call `progress` with the number of bytes received before each chunk and at the end. Raise ConnectionFailed if the body is
    truncated, InvalidResponse for an unsupported Content-Encoding, and NETWORK_ERRORS.
    """
    decoder = _decoder(response)
    received = 0
    while chunk := response.raw.read(CHUNK_SIZE, decode_content=False):
        received += len(chunk)
        progress(received)
        yield from decoder.decode(chunk)
    progress(received)
    if received != (content_length(response) or received):
        raise _truncated(response)
    decoder.finish()


def _decoder(response: requests.Response) -> _Decoder:
    if not is_compressed(response):
        return _IdentityDecoder()
    if response.headers["Content-Encoding"].strip().lower() in _ZLIB_ENCODINGS:
        return _ZlibDecoder(response)
    raise InvalidResponse(f"{host_of(response.url)} sent a response with an unsupported Content-Encoding.")


def _truncated(response: requests.Response) -> ConnectionFailed:
    return ConnectionFailed(f"The response from {host_of(response.url)} is incomplete.")


class _IdentityDecoder:
    def decode(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def finish(self) -> None:
        pass


class _ZlibDecoder:
    """Decoder for servers that compress although the request accepts only `identity`."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        # Accepts both gzip's header and zlib's.
        self._decompressor = zlib.decompressobj(zlib.MAX_WBITS + 32)

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        try:
            while chunk and not self._decompressor.eof:
                if decoded := self._decompressor.decompress(chunk, CHUNK_SIZE):
                    yield decoded
                chunk = self._decompressor.unconsumed_tail
        except zlib.error:
            raise _truncated(self._response) from None

    def finish(self) -> None:
        if not self._decompressor.eof:
            raise _truncated(self._response)
