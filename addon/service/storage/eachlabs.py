# SPDX-License-Identifier: GPL-3.0-or-later
"""each::storage, the default: nothing is needed but the key. No bpy."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from ...failure import Failure
from ..eachlabs import Eachlabs
from ..http import Progress, Transport, TryAgain
from . import Published

BYTES_MAX = 100_000_000
LIFE_SECONDS = 3600
CONTENT_TYPE = "video/mp4"


class EachlabsStorage:
    def __init__(self, service: Eachlabs, transport: Transport) -> None:
        self._service = service
        self._transport = transport

    def publish(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        size = clip.stat().st_size
        if size > BYTES_MAX:
            raise Failure(
                "too_large",
                f"The clip has {size / 1e6:.0f} MB; the storage takes {BYTES_MAX / 1e6:.0f} MB at most.",
                "Shorten the strip.",
            )
        return self._transport.retry(lambda: self._publish_once(clip, progress, begun))

    def delete(self, published: Published) -> None:
        try:
            self._service.call("DELETE", f"/v1/files/{quote(published.id, safe='')}")
        except Failure as fault:
            if fault.code != "not_found":
                raise

    def _publish_once(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        """Asks for a fresh address on each try: one takes a single file, for 15 minutes."""
        ticket = self._service.call_once(
            "POST",
            "/v1/upload/presign",
            {"content_type": CONTENT_TYPE, "file_type": "video", "expires_in_seconds": LIFE_SECONDS},
        )
        required = ticket.get("required_headers")
        try:
            headers = {str(name): str(value) for name, value in (required or {}).items()}
            published = Published(str(ticket["id"]), str(ticket["public_url"]))
            target = str(ticket["presigned_url"])
        except (KeyError, AttributeError):
            raise Failure("bad_answer", "Eachlabs gave an incomplete address for the upload.", "Retry in a while.") from None
        begun(published)
        answer = self._transport.put_file(target, clip, {**headers, "Content-Type": CONTENT_TYPE}, progress)
        if answer.status == 200:
            return published
        text = f"The storage refused the upload (HTTP {answer.status})."
        if answer.status in (403, 408, 429) or answer.status >= 500:
            # 403: the address has lapsed; a new try asks for a new one.
            raise TryAgain("upload_refused", text, "Retry in a while.", after=answer.retry_after)
        raise Failure("upload_refused", text, "Retry in a while.")
