# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the service for this Blender: runs in flight, and create calls a minute. No bpy.

A 429 creates nothing, so the service arbitrates between all that use a key: other Blenders, other machines, and runs from
before a restart. What it permits is learned from its refusals alone. The figures are from the brief of Eachlabs: 100 create
calls a minute and 10 runs in flight per key. Its newer documentation has lower caps for an account with a low balance.
"""

import enum
import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from ..service.eachlabs.errors import RateLimited

SLOTS_MAX = 10
CREATES_MAX = 100
CREATES_SECONDS = 60.0
RECOVERY_SECONDS = 60.0
"""For each such time without a 429 the cap rises by one: trying costs one 429 a minute at most."""
HOLD_SECONDS = (1.0, 60.0)
"""Bounds of the time for which a 429 stops all create calls; its `Retry-After` gives the time."""
_POLL_SECONDS = 0.1

_State = enum.Enum("_State", ["WAITING", "UNANSWERED", "IN_FLIGHT", "REFUSED"])
"""UNANSWERED until the first create call has ended. IN_FLIGHT if the run is, or may be. REFUSED while it backs off."""
_ACQUIRED = (_State.UNANSWERED, _State.IN_FLIGHT)


class Limits:
    """The limits of one account, for all jobs of this Blender."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._slots: list[Slot] = []
        self._calls: list[float] = []
        """Ends of the create calls of the last minute; infinite for those under way."""
        self._unanswered_max = 1
        """Rises with each call that isn't refused, so that few of the first calls are refused if the cap is low."""
        self._lowered = (SLOTS_MAX, 0.0)
        """Cap after the latest 429, and the time of that."""
        self._held_until = 0.0

    @property
    def cap(self) -> int:
        """How many runs may be in flight at the moment."""
        cap, since = self._lowered
        return min(SLOTS_MAX, cap + int((self._clock() - since) / RECOVERY_SECONDS))

    @contextmanager
    def slot(self, wait: Callable[[float], None], *, in_flight: bool = False) -> Generator["Slot"]:
        """Hold a slot while a run is, or may be, in flight. Wait until one is free, unless the run is `in_flight` already.

        First come, first served. `wait` waits that many seconds, or raises Cancelled.
        """
        slot = Slot(self, wait, _State.IN_FLIGHT if in_flight else _State.WAITING)
        with self._lock:
            self._slots.append(slot)
        try:
            slot.wait_until(self.acquire)
            yield slot
        finally:
            with self._lock:
                self._slots.remove(slot)

    def acquire(self, slot: "Slot") -> bool:
        """Return whether the run has a slot. Give it one if one is free for it and all that came before."""
        with self._lock:
            if slot.state not in _ACQUIRED:
                slot.state = _State.WAITING
                ahead = [other for other in self._slots if other.state is _State.WAITING].index(slot)
                free = min(self.cap - self._count(*_ACQUIRED), self._unanswered_max - self._count(_State.UNANSWERED))
                if self._clock() >= self._held_until and ahead < free:
                    slot.state = _State.UNANSWERED
            return slot.state in _ACQUIRED

    def begin_call(self, slot: "Slot") -> bool:
        """Return whether a create call may be sent. Count it then."""
        with self._lock:
            now = self._clock()
            self._calls = [end for end in self._calls if now < end + CREATES_SECONDS]
            may_be_sent = self.acquire(slot) and now >= self._held_until and len(self._calls) < CREATES_MAX
            self._calls += [math.inf] * may_be_sent
            return may_be_sent

    def end_call(self, slot: "Slot", refused: RateLimited | None) -> None:
        with self._lock:
            now = self._clock()
            self._calls[self._calls.index(math.inf)] = now
            slot.state = _State.REFUSED if refused else _State.IN_FLIGHT
            self._unanswered_max = 1 if refused else self._unanswered_max + 1
            if refused:
                self._lowered = (max(1, min(self.cap, self._count(*_ACQUIRED))), now)
                hold = min(HOLD_SECONDS[1], max(HOLD_SECONDS[0], refused.retry_after))
                self._held_until = max(self._held_until, now + hold)

    def _count(self, *states: _State) -> int:
        return sum(slot.state in states for slot in self._slots)


@dataclass(eq=False)
class Slot:
    """The slot of one run, for one thread. Made by `Limits.slot`."""

    limits: Limits
    wait: Callable[[float], None]
    state: _State

    @contextmanager
    def creating(self) -> Generator[None]:
        """Surround each create call: wait until it may be sent, and count it until a minute after its end.

        After a RateLimited the next one waits for a slot again, before all runs that came later. After any other exception
        the run keeps its slot, since it may have been created nevertheless.
        """
        self.wait_until(self.limits.begin_call)
        refused: RateLimited | None = None
        try:
            yield
        except RateLimited as failure:
            refused = failure
            raise
        finally:
            self.limits.end_call(self, refused)

    def wait_until(self, ready: Callable[["Slot"], bool]) -> None:
        while not ready(self):
            self.wait(_POLL_SECONDS)
