# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock for tests that plays hours of several threads in no time."""

import heapq
import threading
from collections.abc import Callable, Sequence


class Clock:
    """Hours in no time: whoever waits sleeps until nobody is awake, and the next to wake sets the clock.

    One thread is awake at a time, so each play of the same piece is the same.
    """

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self._lock = threading.Lock()
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._number = 0
        self._awake = 1

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        alarm = threading.Event()
        with self._lock:
            self._number += 1
            heapq.heappush(self._sleepers, (self.now + seconds, self._number, alarm))
            self._sleep()
        assert alarm.wait(60)

    def play(self, parts: Sequence[Callable[[], None]]) -> None:
        """Plays the parts side by side to their end; raises what the first of them raised."""
        faults: list[BaseException] = []

        def at_once(part: Callable[[], None]) -> None:
            try:
                self.wait(0.0)
                part()
            except BaseException as fault:
                faults.append(fault)
            finally:
                with self._lock:
                    self._sleep()

        threads = [threading.Thread(target=at_once, args=(part,), daemon=True) for part in parts]
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
            alarm.set()
