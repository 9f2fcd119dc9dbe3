# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of requests in time and size, and their cancellation. No bpy."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from ...failure import Cancelled
from .errors import timed_out


@dataclass(frozen=True)
class Bounds:
    """Limits of time, in seconds, and of size, in bytes."""

    response_seconds: float = 60.0
    """Time of a request and its response, from the DNS look-up to the last byte. Calls of the service take a few seconds."""
    bytes_per_second_min: float = 16 * 1024
    """A transfer gets one more second for this many bytes, so that a slow connection is given time and a stalled one is not.
    Below 128 kbit/s a clip of 100 MB would take longer than the 15 minutes for which its upload URL is valid."""
    read_seconds: float = 30.0
    """Time between two bytes."""
    connect_seconds: float = 10.0
    """Time for a connection to each of the addresses that a name resolves to."""
    body_bytes_max: int = 4 * 1024**2
    """Size of a response other than a download."""
    file_bytes_max: int = 512 * 1024**2
    """Size of a download; a result of ten minutes has about 50 MB."""


BOUNDS = Bounds()


class RequestDeadline:
    """Deadline and cancellation of one Transport's requests, of which there is one at a time.

    Whatever blocks calls `check` ten times a second, so no request outlasts its deadline or a cancel.
    """

    bounds: Bounds
    peer: str
    """Host or proxy that is being waited for, for messages."""
    sent: bool
    """Some of the current request may have reached its host."""

    def __init__(self, cancel: threading.Event) -> None:
        self._cancel = cancel

    @contextmanager
    def request(self, peer: str, bounds: Bounds, *, cancellable: bool) -> Generator[None, None, None]:
        """Limit the time of the block. Raise as `check`, also in the place of the failures that the end of a request causes.

        With `cancellable=False`, a cancel ends the request only as long as nothing of it has been sent.
        """
        self.peer, self.bounds, self.sent, self._cancellable = peer, bounds, False, cancellable
        self._end = time.monotonic() + bounds.response_seconds
        self.check()
        try:
            yield
        except Exception:
            self.check()
            raise
        self.check()

    def check(self) -> None:
        """Raise TimedOut or Cancelled if the request has to end."""
        if self._cancel.is_set() and (self._cancellable or not self.sent):
            raise Cancelled
        if time.monotonic() > self._end:
            raise timed_out(self.peer, sent=self.sent)

    def extend(self, count: int) -> None:
        """Extend the deadline for `count` bytes of a body that were transferred. Raise as `check`."""
        self._end += count / self.bounds.bytes_per_second_min
        self.check()
