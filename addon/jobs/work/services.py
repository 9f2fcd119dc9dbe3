# SPDX-License-Identifier: GPL-3.0-or-later
"""What all jobs of this Blender share. No bpy."""

from ...media.export import Exporter
from ...service.net.clock import CLOCK, Clock
from ..limits import Limits
from ..store.database import Database
from ..store.journal import Journal
from .hold import Hold
from .run_times import RunTimes


class Services:
    """The journal, the limits of each account, the times of its runs, the background Blenders, and what holds all jobs."""

    def __init__(self, database: Database, hold: Hold) -> None:
        self.hold = hold
        self.journal = Journal(database)
        self.exporter = Exporter()
        self.run_times = RunTimes()
        self._limits: dict[str, Limits] = {}

    def limits(self, account: str, clock: Clock = CLOCK) -> Limits:
        """Return the limits of an account, see `Connections.account`. All its jobs have the same clock."""
        return self._limits.setdefault(account, Limits(clock.now))

    def close(self) -> None:
        self.exporter.close()
        self.journal.close()
