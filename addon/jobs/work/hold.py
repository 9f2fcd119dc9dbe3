# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps jobs from ordering anything while the artist has paused, or while each would fail for the same reason. No bpy."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from ...failure import Cancelled, Failure, as_failure


class Held(Cancelled):
    """The job is to wait until its Blender goes on. What it has ordered is fetched first."""


class Hold:
    """Asked before each clip is rendered, before it is uploaded and before its run is created.

    Without a window nobody could go on: there, jobs fail for the reason that was met instead of waiting.
    """

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits
        self._lock = threading.Lock()
        self._paused = False
        self._reason: Failure | None = None

    @property
    def active(self) -> bool:
        """Whether jobs wait."""
        return self._waits and (self._paused or self._reason is not None)

    @property
    def paused(self) -> bool:
        """Whether the artist has paused."""
        return self._paused

    @property
    def reason(self) -> Failure | None:
        """The failure that each job would meet, None if there is none."""
        return self._reason

    def pause(self) -> None:
        with self._lock:
            self._paused = True

    def release(self, *, paused: bool = True) -> None:
        """Let jobs go on; those that the artist has `paused` only if that is meant too."""
        with self._lock:
            self._reason = None
            self._paused = self._paused and not paused

    def check(self) -> None:
        """Raise Held, or without a window the failure, if nothing may be ordered."""
        with self._lock:
            if self.active:
                raise Held
            if self._reason is not None:
                # A new one: the traceback of an exception belongs to one thread.
                raise self._reason.reworded()

    @contextmanager
    def noting(self, where: str) -> Generator[None]:
        """Hold the other jobs if the block raises what each of them would meet. `where` names the work, for the log."""
        try:
            yield
        except Cancelled:
            raise
        except Exception as fault:
            failure = as_failure(fault, where)
            if failure.stops_all:
                with self._lock:
                    self._reason = self._reason or failure
            raise failure from fault
