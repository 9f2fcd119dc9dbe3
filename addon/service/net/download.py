# SPDX-License-Identifier: GPL-3.0-or-later
"""Download of a result to a file, which gets its name when it is complete. No bpy."""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import requests

from ...failure import disk_failure
from .body import content_length, is_compressed
from .errors import PROXY_PAGE_HINT, ConnectionFailed, InvalidResponse, TemporaryInvalidResponse, host_of

Progress = Callable[[float, float], None]
"""Called with (done, total) of a transfer, in bytes; total is 0 while it is unknown."""

FILE_BYTES_MAX = 512 * 1024**2
"""Maximum size of a downloaded file; a result of ten minutes has about 50 MB."""

_TEXT_TYPES = ("text/", "application/json", "application/xml")


def save(response: requests.Response, chunks: Iterable[bytes], path: Path, progress: Progress) -> None:
    """Write the body to `path`, through a `.part` file that is always removed. Raise TemporaryFailure, Failure."""
    host = host_of(response.url)
    _check_content_type(response, host)
    total = content_length(response) or 0
    _check_size(total, host)
    part = path.with_name(path.name + ".part")
    done = 0
    try:
        with part.open("wb") as file:
            for chunk in chunks:
                done += file.write(chunk)
                _check_size(done, host)
                progress(done, 0 if is_compressed(response) else total)
        _check_complete(part, host)
        part.replace(path)
    except OSError as fault:
        raise disk_failure(fault, f"The result can't be written to {path.parent}") from fault
    finally:
        part.unlink(missing_ok=True)


def _check_size(size: int, host: str) -> None:
    if size > FILE_BYTES_MAX:
        raise InvalidResponse(f"{host} sent a file of more than {FILE_BYTES_MAX} bytes.", "Retry downloads it again.")


def _check_content_type(response: requests.Response, host: str) -> None:
    if response.headers.get("Content-Type", "").strip().lower().startswith(_TEXT_TYPES):
        raise _not_a_result(host)


def _check_complete(path: Path, host: str) -> None:
    """Raise TemporaryFailure for a web page, and for an mp4 whose last box is truncated, as happens without Content-Length.

    Any other file passes: the network code does not decide which formats a result may have.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if not head or head.lstrip()[:1] in (b"<", b"{"):
            raise _not_a_result(host)
        if head[4:8] != b"ftyp":
            return
        start = 0
        while start < size:
            file.seek(start)
            # ISO 14496-12, 4.2: 1 means that the length is in the next 8 bytes, 0 that the box extends to the end.
            length = int.from_bytes(file.read(4))
            if length == 1:
                length = struct.unpack(">4xQ", file.read(12).rjust(12, b"\0"))[0]
            if length == 0:
                return
            start += max(length, 8)
        if start > size:
            raise ConnectionFailed(f"The download from {host} ended early, after {size} bytes.", "Retry later.")


def _not_a_result(host: str) -> TemporaryInvalidResponse:
    return TemporaryInvalidResponse(f"{host} returned something other than the result.", PROXY_PAGE_HINT)
