# SPDX-License-Identifier: GPL-3.0-or-later
"""A result on its way to this disk: it takes its name when it is whole. No bpy."""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import requests

from ...failure import Failure, of_disk
from .body import announced, is_packed
from .errors import TemporaryFailure, host_of

Progress = Callable[[float, float], None]
"""Told (done, total) of a transfer, in bytes; total is 0 while it is not known."""

FILE_MAX = 512 * 1024**2
"""Bytes of a file that is fetched; a result of ten minutes has about 50 MB."""

_TEXTS = ("text/", "application/json", "application/xml")


def save(response: requests.Response, blocks: Iterable[bytes], path: Path, progress: Progress) -> None:
    """Writes the body to `path`, by way of a `.part` that never stays. Raises TryAgain, Failure."""
    host = host_of(response.url)
    _check_is_file(response, host)
    total = announced(response) or 0
    _check_size(total, host)
    part = path.with_name(path.name + ".part")
    done = 0
    try:
        with part.open("wb") as file:
            for block in blocks:
                done += file.write(block)
                _check_size(done, host)
                progress(done, 0 if is_packed(response) else total)
        _check_complete(part, host)
        part.replace(path)
    except OSError as fault:
        raise of_disk(fault, f"The result can't be written to {path.parent}") from fault
    finally:
        part.unlink(missing_ok=True)


def _check_size(size: int, host: str) -> None:
    if size > FILE_MAX:
        raise Failure("bad_answer", f"{host} sent a file of more than {FILE_MAX} bytes.", "Retry fetches it again.")


def _check_is_file(response: requests.Response, host: str) -> None:
    if response.headers.get("Content-Type", "").strip().lower().startswith(_TEXTS):
        raise _no_video(host)


def _check_complete(path: Path, host: str) -> None:
    """Raises TryAgain for a page, and for an mp4 whose last box is cut short, as happens where no length is told.

    What is neither passes: what a result may be made of is not for the network to say.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        if not head or head.lstrip()[:1] in (b"<", b"{"):
            raise _no_video(host)
        if head[4:8] != b"ftyp":
            return
        start = 0
        while start < size:
            file.seek(start)
            # ISO 14496-12, 4.2: 1 stands for a length in the next 8 bytes, 0 for all that follows.
            length = int.from_bytes(file.read(4))
            if length == 1:
                length = struct.unpack(">4xQ", file.read(12).rjust(12, b"\0"))[0]
            if length == 0:
                return
            start += max(length, 8)
        if start > size:
            raise TemporaryFailure(
                "connection", f"The download from {host} broke off after {size} bytes.", "Retry in a while."
            )


def _no_video(host: str) -> TemporaryFailure:
    return TemporaryFailure(
        "bad_answer",
        f"{host} answered with something else where the result should be.",
        "A proxy or sign-in page may stand in between: check the connection and retry.",
    )
