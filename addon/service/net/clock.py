# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock of all waits between requests. No bpy."""

import threading
import time


class Clock:
    """This machine's clock, or one that is `speed` times as fast, for tests. All waits keep their proportions."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    def now(self) -> float:
        """Return the time in seconds. Only differences between two times have a meaning."""
        return time.monotonic() * self._speed

    def wait(self, seconds: float, event: threading.Event) -> bool:
        """Wait until the event is set, but at most `seconds`. Return whether it is set."""
        return event.wait(seconds / self._speed)


CLOCK = Clock()
