# SPDX-License-Identifier: GPL-3.0-or-later
"""Address by hand: the artist has published the clip, and says where. No bpy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ...failure import Failure
from ..eachlabs.client import Eachlabs
from ..net.transport import Progress, Transport
from . import SETTINGS_HINT, Published, storage_changed

LENGTH_NOTE = "The video at this address must be as long as the strip and show what it shows, from handle to handle."

_HINT = "Give the public https address of the clip's mp4, in the sidebar or with --clip-url."


@dataclass(frozen=True)
class GivenUrlConfig:
    """The public address of one strip's clip; often one with a signature, so it is kept out of sight."""

    label: ClassVar[str] = "Address by hand"

    url: str = field(default="", repr=False)

    def open(self, service: Eachlabs, transport: Transport) -> "GivenUrl":
        url = self.url.strip()
        if url:
            transport.check(url, _HINT)
        return GivenUrl(url)


class GivenUrl:
    needs_clip = False
    private_allowed = True
    deletes = False

    def __init__(self, url: str) -> None:
        self._url = url

    def publish(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        """The given address, as it is. `clip` may be anything: nothing is read, nothing sent."""
        if not self._url:
            # Such as that of a job which went on after another storage was chosen.
            what = "The strip has no address of a clip, and with Address by hand none is rendered."
            raise Failure("storage_setup", what, f"{_HINT} Or choose another storage. {SETTINGS_HINT}")
        published = Published("", self._url)
        begun(published)
        return published

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        """The clip is the artist's own: it stays. Raises Failure for one that lies in another storage."""
        if published.id:
            raise storage_changed()
