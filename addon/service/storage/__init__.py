# SPDX-License-Identifier: GPL-3.0-or-later
"""From a file to a public HTTPS URL, and away again. No bpy.

Each way is one module, with its settings and its class, and one entry in `ways.py`.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from ...failure import Failure
from ..eachlabs.client import Eachlabs
from ..net.transport import Progress, Transport

# A run may wait for its turn before it reads its clip.
_TIME_TO_READ_SECONDS = 120.0

_OBJECT_NAME = re.compile(r"[0-9a-f]{32}\.mp4")

CONTENT_TYPE = "video/mp4"
SETTINGS_HINT = "Set it in Preferences > Add-ons > MMAudio for the Sequencer > Storage."


@dataclass(frozen=True)
class Published:
    """A clip in storage; all that is needed to delete it later, also after a restart.

    id       the storage's own name for it
    url      whoever has it can read the clip, so it is a secret
    expires  when the URL stops to answer, in seconds since 1970; 0 for never or not known
    whole    whether the upload has ended; until then there is something to be deleted, and nothing to be read
    """

    id: str
    url: str = field(repr=False)
    expires: float = 0.0
    complete: bool = False

    def is_live(self, now: float) -> bool:
        """Whether a run that is ordered now can still read it."""
        return self.complete and (not self.expires or now < self.expires - _TIME_TO_READ_SECONDS)


class Storage(Protocol):
    @property
    def needs_clip(self) -> bool:
        """False where the artist has published it by hand: nothing is exported, and `publish` looks at no file."""
        ...

    @property
    def private_allowed(self) -> bool:
        """Whether its addresses may lead into the local network: those that the artist has set may, a server's may not."""
        ...

    @property
    def deletes(self) -> bool:
        """Whether `delete` takes the clip away; False where it stays."""
        ...

    def publish(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        """Uploads an mp4 and returns where it can be read. Raises Failure, Cancelled.

        `begun` is told of it before the first byte, so that whatever happens it can be deleted.
        """
        ...

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        """Deletes it. What is gone already counts as deleted, unless `missing_ok` is false. Raises Failure, Cancelled."""
        ...


class StorageConfig(Protocol):
    """The settings of one way. What is secret in them shows in no repr."""

    label: ClassVar[str]

    def open(self, service: Eachlabs, transport: Transport) -> Storage:
        """The storage, ready for one job. Sends nothing. Raises Failure where the settings can't be right."""
        ...


def object_name() -> str:
    """A new name for a clip: 128 random bits, and nothing of the project's."""
    return f"{secrets.token_hex(16)}.mp4"


def is_object_name(name: str) -> bool:
    """Whether it was made by `object_name`, so that a storage which gives its own names knows it isn't one of them."""
    return _OBJECT_NAME.fullmatch(name.rpartition("/")[2]) is not None


def check_life(seconds: int, least: int, most: int) -> None:
    """Raises Failure unless a clip's life, in seconds, is within the storage's limits."""
    if not least <= seconds <= most:
        text = f"This storage keeps a clip for {least} to {most} seconds, not for {seconds}."
        raise Failure("storage_setup", text, SETTINGS_HINT)


def storage_changed() -> Failure:
    """The clip was published with other settings than today's; nothing is asked of a storage it never was in."""
    return Failure(
        "storage_changed",
        "The clip lies in a storage that is no longer the one that is set up, so it could not be deleted.",
        "Delete it there by hand, or wait until it lapses.",
    )
