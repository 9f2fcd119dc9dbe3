# SPDX-License-Identifier: GPL-3.0-or-later
"""Clocks that are faster than this machine's, so that no test waits for as long as the add-on does."""

import heapq
import threading
from collections.abc import Callable, Sequence

from addon.service.net.clock import Clock


class InstantClock(Clock):
    """Clock whose waits end at once. They are recorded and advance `now`."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def now(self) -> float:
        return super().now() + sum(self.waited)

    def wait(self, seconds: float, event: threading.Event) -> bool:
        self.waited.append(seconds)
        return event.is_set()


class ThreadsClock:
    """Clock that advances when all threads wait: then the thread that waits for the earliest time continues.

    Only one thread runs at a time, so each test has the same sequence of events.
    """

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self._lock = threading.Lock()
        self._sleepers: list[tuple[float, int, threading.Lock]] = []
        self._number = 0
        self._awake = 1

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        # A lock that the next thread releases takes half of an event's time.
        alarm = threading.Lock()
        alarm.acquire()
        with self._lock:
            self._number += 1
            heapq.heappush(self._sleepers, (self.now + seconds, self._number, alarm))
            self._sleep()
        assert alarm.acquire(timeout=60)

    def run(self, functions: Sequence[Callable[[], None]]) -> None:
        """Run the functions in one thread each until all have ended. Raise the first exception of any."""
        faults: list[BaseException] = []

        def call(function: Callable[[], None]) -> None:
            try:
                self.wait(0.0)
                function()
            except BaseException as fault:
                faults.append(fault)
            finally:
                with self._lock:
                    self._sleep()

        threads = [threading.Thread(target=call, args=(function,), daemon=True) for function in functions]
        self._awake += len(threads)
        for thread in threads:
            thread.start()
        with self._lock:
            self._sleep()
        for thread in threads:
            thread.join(60)
        self._awake += 1
        if faults:
            raise faults[0]

    def _sleep(self) -> None:
        self._awake -= 1
        if self._awake == 0 and self._sleepers:
            at, _, alarm = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            self._awake = 1
            alarm.release()
