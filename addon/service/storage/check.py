# SPDX-License-Identifier: GPL-3.0-or-later
"""Test of a storage with a file of a kilobyte: upload, read back and delete. No bpy."""

import logging
import secrets
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from ...failure import Cancelled, Failure
from ..net.errors import NotFound, NotFoundYet, TemporaryFailure, host_of
from ..net.transport import Transport
from . import Published, Storage
from .error_responses import READING, storage_error
from .errors import NotAVideo, WrongFile

log = logging.getLogger(__name__)

_START_BYTES = 1024
# Boxes at the beginning of an mp4: the file type, and free space.
_FILE_TYPE = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"
_FREE = b"\x00\x00\x04\x08free"

T = TypeVar("T")

OpenStorage = Callable[[], AbstractContextManager[Storage]]
"""Opens the same storage over another connection, for the cleanup after the first one was cancelled."""


def check_storage(storage: Storage, transport: Transport, open_for_cleanup: OpenStorage) -> str:
    """Upload a file, read it back as the service would, and delete it. Return a sentence about the success.

    Of a clip URL, only read the start. Raise Failure, with the step at the beginning of its message, and Cancelled; the file
    is then deleted through `open_for_cleanup`.
    """
    if not storage.needs_export:
        return _check_clip_url(storage, transport)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "check.mp4"
        clip.write_bytes(_FILE_TYPE + _FREE + secrets.token_bytes(_START_BYTES))
        uploads: list[Published] = []
        try:
            published = _step("Upload", lambda: storage.publish(clip, lambda done, total: None, uploads.append))
            _step("Read back", lambda: transport.retry(lambda: _read_back(storage, published, clip.read_bytes(), transport)))
        except (Failure, Cancelled):
            _clean_up(uploads, open_for_cleanup)
            raise
    if not storage.can_delete:
        return f"Uploaded and read back from {host_of(published.url)}. The file stays there, since deletion is off."
    try:
        return _check_deletion(storage, published, transport)
    except Cancelled:
        _clean_up(uploads, open_for_cleanup)
        raise


def _check_clip_url(storage: Storage, transport: Transport) -> str:
    """Read the start of the file at a clip URL. Raise Failure unless it is an mp4."""

    def read() -> str:
        url = storage.publish(Path(), lambda done, total: None, lambda published: None).url
        headers = {"Range": f"bytes=0-{_START_BYTES - 1}"}
        response = transport.read(url, _START_BYTES, headers, private_allowed=storage.private_allowed)
        if response.status not in (200, 206):
            raise storage_error(response, READING, url)
        if response.body[4:8] != b"ftyp":
            text = f"{host_of(url)} responds, but not with an mp4 video."
            raise NotAVideo(text)
        return f"{host_of(url)} responds with an mp4 video."

    return _step("Read", lambda: transport.retry(read))


def _read_back(storage: Storage, published: Published, sent: bytes, transport: Transport) -> None:
    url = published.url
    response = transport.read(url, len(sent) + 1, private_allowed=storage.private_allowed)
    if response.status != 200:
        failure = storage_error(response, READING, url)
        # A CDN may need a moment until it has the file.
        raise NotFoundYet(failure.message, failure.hint) if isinstance(failure, NotFound) else failure
    if response.body != sent:
        text = f"{host_of(url)} responds, but not with the file that was uploaded."
        raise WrongFile(text)


def _check_deletion(storage: Storage, published: Published, transport: Transport) -> str:
    """Delete the file and check that it can't be read any more. Return a sentence about the success."""
    missing: Failure | None = None
    try:
        _step("Delete", lambda: storage.delete(published, missing_ok=False))
    except NotFound as failure:
        missing = failure
    try:
        is_readable = transport.retry(lambda: _is_readable(storage, published.url, transport))
    except Failure:
        # A file that can't be read neither disproves a deletion that succeeded nor proves one that did not.
        if missing is not None:
            raise missing from None
        is_readable = False
    host = host_of(published.url)
    if missing is not None and is_readable:
        hint = "DELETE must use the path of the upload: check the Upload URL, or let the server delete old files itself."
        raise missing.reworded(f"{missing.message} The file is still there.", hint)
    if is_readable:
        # A cache is not an error in the settings, but the user should know about it.
        return f"Uploaded, read back and deleted, but {host} still sends the file: a cache may keep it for a while."
    return f"Uploaded, read back from {host} and deleted."


def _is_readable(storage: Storage, url: str, transport: Transport) -> bool:
    response = transport.read(url, 1, private_allowed=storage.private_allowed)
    if response.status != 200 and isinstance(fault := storage_error(response, READING, url), TemporaryFailure):
        raise fault
    return response.status == 200


def _step(name: str, action: Callable[[], T]) -> T:
    """Call `action`, and put the step's name in front of the message of its failure."""
    try:
        return action()
    except Failure as failure:
        raise failure.reworded(f"{name}: {failure.message}") from None


def _clean_up(uploads: list[Published], open_for_cleanup: OpenStorage) -> None:
    """Delete the uploads of a failed or cancelled test. Failures are only logged, since they would hide the first one."""
    if not uploads:
        return
    try:
        with open_for_cleanup() as storage:
            for published in uploads:
                storage.delete(published)
    except Failure as failure:
        log.warning("the file of a storage test may still be there: %s", failure.message)
    except Cancelled:
        log.warning("the file of a storage test may still be there: there was no time to delete it")
