# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of an answer, block by block, in bounded memory and never less than what was announced. No bpy.

urllib3's own reading is not bounded: it unpacks a block of 64 kB to 64 MB, that again if it is packed twice, and reads a
line of a chunked body to its end. urllib3 before 2 also takes a short body for a whole one.
"""

import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Protocol

import requests
from urllib3.exceptions import HTTPError

from ...failure import Failure
from .errors import TemporaryFailure, host_of

BLOCK = 64 * 1024
NETWORK_FAULTS = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)
"""What requests, urllib3 and http.client may raise over a request; ValueError for what is malformed."""

_PACKED = ("gzip", "x-gzip", "deflate")


class _Unpacker(Protocol):
    def unpack(self, block: bytes) -> Iterator[bytes]: ...

    def end(self) -> None: ...


def announced(response: requests.Response) -> int | None:
    """The bytes that the body is to have on its way here; None where that is not told, or can't be."""
    told = response.headers.get("Content-Length", "")
    bodiless = response.status_code < 200 or response.status_code in (204, 304)
    if bodiless or "Transfer-Encoding" in response.headers or not (told.isascii() and told.isdigit()):
        return None
    # Python converts no more digits than 4300; past 18 no file is that long.
    return int(told[:19])


def is_packed(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def blocks(response: requests.Response, moved: Callable[[int], None]) -> Iterator[bytes]:
    """The body in blocks of at most BLOCK bytes; `moved` is told of the bytes that came, before each.

    Raises TryAgain where it ends too early, Failure for a packing that nobody asked for, NETWORK_FAULTS.
    """
    unpacker = _unpacker(response)
    came = 0
    while block := response.raw.read(BLOCK, decode_content=False):
        came += len(block)
        moved(came)
        yield from unpacker.unpack(block)
    moved(came)
    if came != (announced(response) or came):
        raise _broke_off(response)
    unpacker.end()


def _unpacker(response: requests.Response) -> _Unpacker:
    if not is_packed(response):
        return _Plain()
    if response.headers["Content-Encoding"].strip().lower() in _PACKED:
        return _Zlib(response)
    raise Failure("bad_answer", f"{host_of(response.url)} sent an answer that is packed in an odd way.", "Retry in a while.")


def _broke_off(response: requests.Response) -> TemporaryFailure:
    text = f"The answer of {host_of(response.url)} broke off."
    return TemporaryFailure("connection", text, "Check the connection and retry.")


class _Plain:
    def unpack(self, block: bytes) -> Iterator[bytes]:
        yield block

    def end(self) -> None:
        pass


class _Zlib:
    """We ask for no packing, and some servers pack all the same."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        # Takes both gzip's header and zlib's.
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS + 32)

    def unpack(self, block: bytes) -> Iterator[bytes]:
        try:
            while block and not self._decoder.eof:
                if unpacked := self._decoder.decompress(block, BLOCK):
                    yield unpacked
                block = self._decoder.unconsumed_tail
        except zlib.error:
            raise _broke_off(self._response) from None

    def end(self) -> None:
        if not self._decoder.eof:
            raise _broke_off(self._response)
