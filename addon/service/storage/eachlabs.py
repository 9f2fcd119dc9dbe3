# SPDX-License-Identifier: GPL-3.0-or-later
"""each::storage, the default backend, which needs only the API key. No bpy."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ...failure import Failure, TooLarge
from ..eachlabs.client import EachlabsClient
from ..net.errors import InvalidResponse, NotFound, TemporaryFailure
from ..net.transport import Progress, Transport
from . import CONTENT_TYPE, Published, check_lifetime, is_object_name
from .errors import (
    StorageChanged,
    UploadRefused,
    UploadRefusedForNow,
)

log = logging.getLogger(__name__)

BYTES_MAX = 100_000_000
LIFETIME_SECONDS = 3600
LIFETIME_SECONDS_MIN = 60
LIFETIME_SECONDS_MAX = 365 * 24 * 3600


@dataclass(frozen=True)
class EachlabsConfig:
    """Settings of each::storage."""

    lifetime: int = LIFETIME_SECONDS
    """Seconds after which the service deletes a clip that has not been deleted before."""

    def open(self, client: EachlabsClient, transport: Transport) -> "EachlabsStorage":
        check_lifetime(self.lifetime, LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX)
        return EachlabsStorage(client, transport, self.lifetime)


class EachlabsStorage:
    needs_export = True
    private_allowed = False
    can_delete = True

    def __init__(self, client: EachlabsClient, transport: Transport, lifetime: int = LIFETIME_SECONDS) -> None:
        self._client = client
        self._transport = transport
        self._lifetime = lifetime

    def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
        size = clip.stat().st_size
        if size > BYTES_MAX:
            raise TooLarge(f"The clip has {size / 1e6:.0f} MB; the storage accepts at most {BYTES_MAX / 1e6:.0f} MB.")
        # `on_begin` keeps the latest upload only, so each failed one is deleted before the next upload URL is requested.
        failed: list[Published] = []

        def begin(published: Published) -> None:
            failed.append(published)
            on_begin(published)

        def attempt() -> Published:
            while failed:
                self._clean_up_once(failed[-1])
                failed.pop()
            return self._publish_once(clip, progress, begin)

        return self._transport.retry(attempt)

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        if is_object_name(published.id):
            raise StorageChanged()
        self._transport.retry(lambda: self._delete_once(published, missing_ok=missing_ok))

    def _delete_once(self, published: Published, *, missing_ok: bool = True) -> None:
        try:
            self._client.call("DELETE", f"/v1/files/{quote(published.id, safe='')}")
        except NotFound:
            if not missing_ok:
                raise

    def _clean_up_once(self, published: Published) -> None:
        """Delete a failed upload, which may exist if only its response was lost. Raise TemporaryFailure, Cancelled."""
        try:
            self._delete_once(published)
        except TemporaryFailure:
            raise
        except Failure as fault:
            # It expires by itself, so the job need not fail.
            log.warning("could not delete a failed upload: %s", fault.message)

    def _publish_once(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
        """Upload the clip to a new upload URL. Each URL accepts a single file, within 15 minutes."""
        expires = time.time() + self._lifetime
        ticket = self._client.call(
            "POST",
            "/v1/upload/presign",
            {"content_type": CONTENT_TYPE, "file_type": "video", "expires_in_seconds": self._lifetime},
        )
        required = ticket.get("required_headers")
        try:
            headers = {str(name): str(value) for name, value in (required or {}).items()}
            published = Published(str(ticket["id"]), str(ticket["public_url"]), expires)
            target = str(ticket["presigned_url"])
        except (KeyError, AttributeError):
            raise InvalidResponse("Eachlabs sent an incomplete upload URL.") from None
        on_begin(published)
        response = self._transport.put_file(target, clip, {**headers, "Content-Type": CONTENT_TYPE}, progress)
        if response.status == 200:
            return published
        text = f"The storage refused the upload (HTTP {response.status})."
        if response.status in (403, 408, 429) or response.status >= 500:
            # 403: the upload URL has expired; the next attempt requests a new one.
            raise UploadRefusedForNow(text, retry_after=response.retry_after)
        raise UploadRefused(text)
