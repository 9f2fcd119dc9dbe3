# SPDX-License-Identifier: GPL-3.0-or-later
"""Clip URL: a backend for clips that the user has published. No bpy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..eachlabs.client import EachlabsClient
from ..net.transport import Progress, Transport
from . import Published
from .errors import (
    SETTINGS_HINT,
    StorageChanged,
    StorageNotConfigured,
)

LENGTH_NOTE = "The video at this URL must have the same length and content as the strip, from handle to handle."

_HINT = "Set the public https URL of the clip's mp4, in the sidebar or with --clip-url."


@dataclass(frozen=True)
class GivenUrlConfig:
    """Settings of the backend for one strip."""

    url: str = field(default="", repr=False)
    """Public URL of the strip's clip. It often contains a signature, so it is treated as a secret."""

    def open(self, client: EachlabsClient, transport: Transport) -> "GivenUrl":
        url = self.url.strip()
        if url:
            transport.check(url, _HINT)
        return GivenUrl(url)


class GivenUrl:
    needs_export = False
    private_allowed = True
    can_delete = False

    def __init__(self, url: str) -> None:
        self._url = url

    def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
        """Return the given URL. `clip` is ignored, and nothing is sent."""
        if not self._url:
            # Such as in a job that was continued after this storage was chosen.
            what = "The strip has no clip URL, and with the storage Clip URL no clip is rendered."
            raise StorageNotConfigured(what, f"{_HINT} Or choose another storage. {SETTINGS_HINT}")
        published = Published("", self._url)
        on_begin(published)
        return published

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        """Do nothing, since the clip is the user's own. Raise StorageChanged for a clip in another storage."""
        if published.id:
            raise StorageChanged()
