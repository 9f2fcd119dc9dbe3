# SPDX-License-Identifier: GPL-3.0-or-later
"""From a file to a public HTTPS URL, and away again. No bpy. Each way is one module with one class."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..http import Progress


@dataclass(frozen=True)
class Published:
    """A clip in storage. Whoever has the URL can read it, so it is a secret."""

    id: str
    url: str


class Storage(Protocol):
    def publish(self, clip: Path, progress: Progress, begun: Callable[[Published], None]) -> Published:
        """Uploads an mp4 and returns where it can be read. Raises Failure, Cancelled.

        `begun` is told of it before the first byte, so that whatever happens it can be deleted.
        """
        ...

    def delete(self, published: Published) -> None:
        """Deletes it. What is gone already counts as deleted. Raises Failure."""
        ...
