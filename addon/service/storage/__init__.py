# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage backends, which upload a clip and give it a public https URL. No bpy.

Each backend is a module with a StorageConfig and a Storage. The registry is `preferences/storages.py`.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..eachlabs.client import EachlabsClient
from ..net.transport import Progress, Transport
from .errors import StorageNotConfigured

# A run may be queued at the service before it reads its clip.
_TIME_TO_READ_SECONDS = 120.0

_OBJECT_NAME = re.compile(r"[0-9a-f]{32}\.mp4")

CONTENT_TYPE = "video/mp4"


@dataclass(frozen=True)
class Published:
    """Clip in a storage, with all that is needed to delete it later, even after a restart."""

    id: str
    """The storage's name of the clip."""
    url: str = field(repr=False)
    """Public URL. It is a secret, since anyone who has it can read the clip."""
    expires: float = 0.0
    """When the URL expires, in seconds since the epoch; 0 for never or unknown."""
    complete: bool = False
    """The upload is complete. Until then the clip can't be read, but may have to be deleted."""

    def is_live(self, now: float) -> bool:
        """Return whether a run that is created now can still read the clip."""
        return self.complete and (not self.expires or now < self.expires - _TIME_TO_READ_SECONDS)


class Storage(Protocol):
    """Storage backend, opened for one thread."""

    @property
    def needs_export(self) -> bool:
        """A clip has to be exported for `publish`. If False, the user has published one, and `publish` reads no file."""
        ...

    @property
    def private_allowed(self) -> bool:
        """The backend's URLs may lead into the local network, since they are from the settings, not from a server."""
        ...

    @property
    def can_delete(self) -> bool:
        """`delete` deletes the clip. If False, the clip stays in the storage."""
        ...

    def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
        """Upload an mp4 and return where it can be read. Raise Failure, Cancelled.

        Call `on_begin` before the first byte is sent, so that an interrupted upload can be deleted.
        """
        ...

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        """Delete the clip. Unless `missing_ok`, raise NotFound if it does not exist. Raise Failure, Cancelled."""
        ...


class StorageConfig(Protocol):
    """Settings of a storage backend. Secrets are not in its repr."""

    def open(self, client: EachlabsClient, transport: Transport) -> Storage:
        """Return the storage for one thread, without a request. Raise Failure if the settings are invalid."""
        ...


def object_name() -> str:
    """Return a new name for a clip: 128 random bits, and nothing from the project."""
    return f"{secrets.token_hex(16)}.mp4"


def is_object_name(name: str) -> bool:
    """Return whether the name is from `object_name`, and so not from a storage that generates its own names."""
    return _OBJECT_NAME.fullmatch(name.rpartition("/")[2]) is not None


def check_lifetime(seconds: int, minimum: int, maximum: int) -> None:
    """Raise StorageNotConfigured unless a clip's lifetime, in seconds, is within the storage's limits."""
    if not minimum <= seconds <= maximum:
        text = f"This storage keeps a clip for {minimum} to {maximum} seconds, not for {seconds}."
        raise StorageNotConfigured(text)
