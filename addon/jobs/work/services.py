# SPDX-License-Identifier: GPL-3.0-or-later
"""What all jobs of this Blender share. No bpy."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..limits import Limits
from ..store.database import Database
from ..store.journal import Journal

EXPORTS_MAX = 1
"""Background renders at once: one keeps a machine busy whose artist is working on it."""


class Services:
    """The journal, the limits of each account, and the slots for background renders."""

    def __init__(self, database: Database, exports: int = EXPORTS_MAX) -> None:
        self.journal = Journal(database)
        self._limits: dict[str, Limits] = {}
        self._exports = threading.Semaphore(exports)

    def limits(self, account: str) -> Limits:
        """Return the limits of an account, see `Connections.account`."""
        return self._limits.setdefault(account, Limits())

    @contextmanager
    def export_slot(self, check_cancel: Callable[[], None]) -> Generator[None]:
        """Wait for a render slot, and hold it. Raises what `check_cancel` raises."""
        while not self._exports.acquire(timeout=0.1):
            check_cancel()
        try:
            check_cancel()
            yield
        finally:
            self._exports.release()
