# SPDX-License-Identifier: GPL-3.0-or-later
"""Download of a run's result, an mp4 that gets its name when it is complete. No bpy."""

import struct
from functools import partial
from pathlib import Path

from ...failure import RunFailure
from ..net.errors import (
    PROXY_PAGE_HINT,
    ConnectionFailed,
    InvalidResponse,
    ServiceUnavailable,
    TemporaryInvalidResponse,
)
from ..net.response import Response
from ..net.transport import Progress, Transport

_TEXT_TYPES = ("text/", "application/json", "application/xml")


class ResultGone(RunFailure):
    code = "result_gone"
    default_hint = "Retry looks for it again, without a new run."


def download(transport: Transport, url: str, path: Path, progress: Progress) -> None:
    """Download the result at `url` to `path`. Raise TemporaryFailure, Failure, Cancelled."""
    transport.retry(partial(_download_once, transport, url, path, progress))


def _download_once(transport: Transport, url: str, path: Path, progress: Progress) -> None:
    response = transport.download(url, path, progress, _check_complete)
    host, status = response.host, response.status
    if status in (403, 404, 410):
        raise ResultGone(f"The result is no longer at {host} (HTTP {status}); results are kept for about a day.")
    if status == 429 or status >= 500:
        text = f"{host} could not send the result (HTTP {status})."
        raise ServiceUnavailable(text, retry_after=response.retry_after)
    if status != 200:
        raise InvalidResponse(f"{host} sent HTTP {status} instead of the result.")


def _check_complete(response: Response, path: Path) -> None:
    """Raise TemporaryFailure for a web page, and for an mp4 whose last box is truncated, as happens without Content-Length.

    Any other file passes: the download does not decide which formats a result may have.
    """
    host, size = response.host, path.stat().st_size
    if response.headers.get("Content-Type", "").strip().lower().startswith(_TEXT_TYPES):
        raise _not_a_result(host)
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
