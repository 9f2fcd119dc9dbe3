# SPDX-License-Identifier: GPL-3.0-or-later
"""each::storage, the default: nothing is needed but the key. No bpy."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from ...failure import Failure
from ..eachlabs.client import Eachlabs
from ..net.errors import TemporaryFailure
from ..net.transport import Progress, Transport
from . import CONTENT_TYPE, Published, check_life, is_object_name, storage_changed

log = logging.getLogger(__name__)

BYTES_MAX = 100_000_000
LIFE_SECONDS = 3600
LIFE_LEAST = 60
LIFE_MOST = 365 * 24 * 3600


@dataclass(frozen=True)
class EachlabsConfig:
    """`life` is how long the service keeps a clip that nobody deletes, in seconds."""

    label: ClassVar[str] = "each::storage"

    life: int = LIFE_SECONDS

    def open(self, service: Eachlabs, transport: Transport) -> "EachlabsStorage":
        check_life(self.life, LIFE_LEAST, LIFE_MOST)
        return EachlabsStorage(service, transport, self.life)


class EachlabsStorage:
    needs_clip = True
    private_allowed = False
    deletes = True

    def __init__(self, service: Eachlabs, transport: Transport, life: int = LIFE_SECONDS) -> None:
        self._service = service
        self._transport = transport
        self._life = life

    def publish(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        size = clip.stat().st_size
        if size > BYTES_MAX:
            raise Failure(
                "too_large",
                f"The clip has {size / 1e6:.0f} MB; the storage takes {BYTES_MAX / 1e6:.0f} MB at most.",
                "Shorten the strip.",
            )
        # The newest is known to `begun`; those before it are to be deleted before a new address is asked for.
        left: list[Published] = []

        def note(published: Published) -> None:
            left.append(published)
            begun(published)

        def attempt() -> Published:
            while left:
                self._clear_up_once(left[-1])
                left.pop()
            return self._publish_once(clip, progress, note)

        return self._transport.retry(attempt)

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        if is_object_name(published.id):
            raise storage_changed()
        self._transport.retry(lambda: self._delete_once(published, missing_ok=missing_ok))

    def _delete_once(self, published: Published, *, missing_ok: bool = True) -> None:
        try:
            self._service.call_once("DELETE", f"/v1/files/{quote(published.id, safe='')}")
        except Failure as fault:
            if fault.code != "not_found" or not missing_ok:
                raise

    def _clear_up_once(self, published: Published) -> None:
        """Of an upload whose answer was lost: it may be there all the same. Raises TryAgain, Cancelled."""
        try:
            self._delete_once(published)
        except TemporaryFailure:
            raise
        except Failure as fault:
            # It lapses by itself; that is not worth ending the job for.
            log.warning("could not delete an upload that broke off: %s", fault.message)

    def _publish_once(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        """Asks for a fresh address on each try: one takes a single file, for 15 minutes."""
        expires = time.time() + self._life
        ticket = self._service.call_once(
            "POST",
            "/v1/upload/presign",
            {"content_type": CONTENT_TYPE, "file_type": "video", "expires_in_seconds": self._life},
        )
        required = ticket.get("required_headers")
        try:
            headers = {str(name): str(value) for name, value in (required or {}).items()}
            published = Published(str(ticket["id"]), str(ticket["public_url"]), expires)
            target = str(ticket["presigned_url"])
        except (KeyError, AttributeError):
            raise Failure("bad_answer", "Eachlabs gave an incomplete address for the upload.", "Retry in a while.") from None
        begun(published)
        response = self._transport.put_file(target, clip, {**headers, "Content-Type": CONTENT_TYPE}, progress)
        if response.status == 200:
            return published
        text = f"The storage refused the upload (HTTP {response.status})."
        if response.status in (403, 408, 429) or response.status >= 500:
            # 403: the address has lapsed; a new try asks for a new one.
            raise TemporaryFailure("upload_refused", text, "Retry in a while.", after=response.retry_after)
        raise Failure("upload_refused", text, "Retry in a while.")
