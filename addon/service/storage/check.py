# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Connection: the whole way of a clip with a file of a kilobyte, and which step of it fails. No bpy."""

import logging
import secrets
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from ...failure import Cancelled, Failure
from ..net.errors import TemporaryFailure, host_of
from ..net.transport import Transport
from . import Published, Storage
from .errors import READING, storage_error

log = logging.getLogger(__name__)

_START_BYTES = 1024
# The boxes that an mp4 begins with: what it is, and room that is left free.
_FILE_TYPE = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"
_FREE = b"\x00\x00\x04\x08free"

T = TypeVar("T")

Clearing = Callable[[], AbstractContextManager[Storage]]
"""Opens the same storage over another connection, to clear up with: the first one may be cancelled."""


def check_storage(storage: Storage, transport: Transport, clearing: Clearing) -> str:
    """Uploads a file, reads it back as the service would, deletes it; says in a sentence that all went well.

    Of an address by hand it reads the start. Raises Failure, whose message begins with the step, and Cancelled; what was
    uploaded is then deleted by way of `clearing`.
    """
    if not storage.needs_clip:
        return _check_address(storage, transport)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "check.mp4"
        clip.write_bytes(_FILE_TYPE + _FREE + secrets.token_bytes(_START_BYTES))
        begun: list[Published] = []
        try:
            published = _step("Upload", lambda: storage.publish(clip, lambda done, total: None, begun.append))
            _step("Read back", lambda: transport.retry(lambda: _read_back(storage, published, clip.read_bytes(), transport)))
        except (Failure, Cancelled):
            _leave_nothing(begun, clearing)
            raise
    if not storage.deletes:
        return f"Uploaded and read back from {host_of(published.url)}; the file stays there, since deleting is off."
    try:
        return _check_deletion(storage, published, transport)
    except Cancelled:
        _leave_nothing(begun, clearing)
        raise


def _check_address(storage: Storage, transport: Transport) -> str:
    """An address by hand leads to an mp4."""

    def read() -> str:
        url = storage.publish(Path(), lambda done, total: None, lambda begun: None).url
        headers = {"Range": f"bytes=0-{_START_BYTES - 1}"}
        response = transport.read(url, _START_BYTES, headers, private_allowed=storage.private_allowed)
        if response.status not in (200, 206):
            raise storage_error(response, READING, url)
        if response.body[4:8] != b"ftyp":
            text = f"{host_of(url)} answers, but not with an mp4 video."
            raise Failure("not_a_video", text, "Give the address of the file itself, not of a page that shows it.")
        return f"{host_of(url)} answers with an mp4 video."

    return _step("Read", lambda: transport.retry(read))


def _read_back(storage: Storage, published: Published, sent: bytes, transport: Transport) -> None:
    url = published.url
    response = transport.read(url, len(sent) + 1, private_allowed=storage.private_allowed)
    if response.status == 404:
        # A CDN may need a moment to know of it.
        fault = storage_error(response, READING, url)
        raise TemporaryFailure(fault.code, fault.message, fault.hint)
    if response.status != 200:
        raise storage_error(response, READING, url)
    if response.body != sent:
        text = f"{host_of(url)} answers, but not with the file that was uploaded."
        raise Failure("not_the_clip", text, "Check that the public address leads to what the upload address takes.")


def _check_deletion(storage: Storage, published: Published, transport: Transport) -> str:
    """What was read a moment ago is there to be deleted, unless it has gone by itself."""
    missing: Failure | None = None
    try:
        _step("Delete", lambda: storage.delete(published, missing_ok=False))
    except Failure as failure:
        if failure.code != "not_found":
            raise
        missing = failure
    try:
        stays = transport.retry(lambda: _is_handed_out(storage, published.url, transport))
    except Failure:
        # What can't be read says nothing against a deletion that was carried out, and nothing for one that wasn't.
        if missing is not None:
            raise missing from None
        stays = False
    host = host_of(published.url)
    if missing is not None and stays:
        hint = "DELETE must lead to where the upload goes: check the upload address, or have the server clear up by itself."
        raise Failure(missing.code, f"{missing.message} The file is still there.", hint)
    if stays:
        # What a cache in between still knows is no fault of the settings, but the artist should hear of it.
        return f"Uploaded, read back and deleted, but {host} still hands the file out: a cache may keep it for a while."
    return f"Uploaded, read back from {host} and deleted."


def _is_handed_out(storage: Storage, url: str, transport: Transport) -> bool:
    response = transport.read(url, 1, private_allowed=storage.private_allowed)
    if response.status != 200 and isinstance(fault := storage_error(response, READING, url), TemporaryFailure):
        raise fault
    return response.status == 200


def _step(name: str, act: Callable[[], T]) -> T:
    try:
        return act()
    except Failure as failure:
        raise Failure(failure.code, f"{name}: {failure.message}", failure.hint) from None


def _leave_nothing(begun: list[Published], clearing: Clearing) -> None:
    """After a failure that is told already, or a cancel; a second failure would hide it."""
    if not begun:
        return
    try:
        with clearing() as storage:
            for published in begun:
                storage.delete(published)
    except Failure as failure:
        log.warning("the file of a storage test may still be there: %s", failure.message)
    except Cancelled:
        log.warning("the file of a storage test may still be there: there was no time to delete it")
