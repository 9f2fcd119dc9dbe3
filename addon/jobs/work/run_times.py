# SPDX-License-Identifier: GPL-3.0-or-later
"""How long runs of the model take, and when it is worth looking whether one has ended. No bpy."""

from collections import deque

_KEPT = 10
_SHORTEST_SECONDS = 3.0
"""Taken for the shortest run before any was seen. One of eight seconds of sound takes about 5 s."""
_PAUSE_MIN_SECONDS, _PAUSE_MAX_SECONDS = 0.1, 0.5
_LONG_SECONDS = 20.0
_PAUSE_LONG_SECONDS = 2.0
"""A run that takes this much longer than others waits for a cold start of the model, which takes minutes."""


class RunTimes:
    """The latest runs of this session. For all threads.

    Polls begin at half of the time of the shortest run and continue at intervals of a sixth of it, but of half a second at
    most. So an end is seen within half a second, and a run of 5 s is polled at most eight times.
    """

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        """Note that a run took so many seconds."""
        self._seconds.append(seconds)

    def until_poll(self, elapsed: float) -> float:
        """Return the seconds until the next poll of a run that was created `elapsed` seconds ago."""
        seen = tuple(self._seconds) or (_SHORTEST_SECONDS,)
        if elapsed > max(_LONG_SECONDS, 2 * max(seen)):
            return _PAUSE_LONG_SECONDS
        first = min(seen) / 2
        if elapsed < first:
            return first - elapsed
        pause = min(max(_PAUSE_MIN_SECONDS, min(seen) / 6), _PAUSE_MAX_SECONDS)
        # Counted from the first poll, however long the polls themselves take. A little early counts as on time.
        polls = int((elapsed - first) / pause + 0.01) + 1
        return first + polls * pause - elapsed
