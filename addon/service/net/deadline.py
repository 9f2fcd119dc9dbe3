# SPDX-License-Identifier: GPL-3.0-or-later
"""Deadline and cancellation of requests, even if the server never stops sending. No bpy.

A timeout of `requests` applies between two bytes, so a slow drip of bytes never reaches it, and a thread that waits for a
byte notices no cancellation. Here one watchdog thread checks all current requests and shuts down the sockets of those that
have ended; the blocked read or write then returns at once.
"""

import math
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from ...failure import Cancelled
from .errors import timed_out

RESPONSE_SECONDS = 60.0
"""Timeout of a request and its response, from the DNS look-up to the last byte. Calls of the service take a few seconds."""
BYTES_PER_SECOND_MIN = 16 * 1024
"""A transfer gets one more second for this many bytes, so that a slow connection is given time and a stalled one is not.
Below 128 kbit/s a clip of 100 MB would take longer than the 15 minutes for which its upload URL is valid."""
READ_SECONDS = 30.0
"""Timeout between two bytes."""
POLL_SECONDS = 0.1
"""Interval at which the watchdog checks the requests."""


class RequestDeadline:
    """Deadline of one Transport's requests, of which there is one at a time."""

    loopback_allowed: bool
    """Connections to this machine are allowed."""
    peer_name: str
    """Host or proxy that is being waited for, for messages."""
    sent: bool
    """Some of the current request may have reached its host."""

    def __init__(self, cancel: threading.Event, *, loopback_allowed: bool = False) -> None:
        self.loopback_allowed = loopback_allowed
        self.peer_name = ""
        self.sent = False
        self._cancel = cancel
        self._cancellable = True
        self._began = 0.0
        self._end = math.inf
        self._ended_by = ""
        """Empty, "cancel" or "deadline"."""
        self._sockets: set[socket.socket] = set()
        self._released: set[socket.socket] = set()

    @contextmanager
    def request(self, host: str, *, cancellable: bool = True) -> Generator[None, None, None]:
        """Limit the time of the block. Raise TimedOut or Cancelled instead of the errors that closing its sockets causes.

        With `cancellable=False`, a cancel ends the request only as long as nothing of it has been sent.
        """
        self.peer_name, self.sent, self._ended_by, self._cancellable = host, False, "", cancellable
        self._began = time.monotonic()
        self._end = self._began + RESPONSE_SECONDS
        _watchdog.add(self)
        try:
            yield
        except Exception:
            self.check()
            raise
        else:
            self.check()
        finally:
            _watchdog.remove(self)
            self._close(self._released)

    def check(self) -> None:
        """Raise TimedOut or Cancelled if the request has ended."""
        with _lock:
            self._update()
            ended_by = self._ended_by
        if ended_by == "cancel":
            raise Cancelled
        if ended_by:
            raise timed_out(self.peer_name, sent=self.sent)

    def progress(self, done: int) -> None:
        """Extend the deadline for the `done` bytes of the body transferred so far. Raise as `check`."""
        self._end = self._began + RESPONSE_SECONDS + done / BYTES_PER_SECOND_MIN
        self.check()

    def begin_sending(self) -> None:
        """Note that the request is sent from now on. Raise as `check`."""
        with _lock:
            self._update()
            self.sent = self.sent or not self._ended_by
        self.check()

    def add_socket(self, sock: socket.socket) -> socket.socket:
        """Return a duplicate of a connected socket. TLS detaches the original, and responses outlive their connections."""
        duplicate = sock.dup()
        with _lock:
            self._sockets.add(duplicate)
        return duplicate

    def release_socket(self, duplicate: socket.socket) -> None:
        """Close the socket after the current request. Its response may still be read from it."""
        with _lock:
            self._released.add(duplicate)

    def close(self) -> None:
        self._close(set(self._sockets))

    def enforce(self) -> None:
        """Shut down the sockets if the request has ended. Only the watchdog calls this, again and again, with the lock held.

        A connection may have been made since the previous call.
        """
        self._update()
        if self._ended_by:
            for duplicate in self._sockets:
                with suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)

    def _update(self) -> None:
        """Set `_ended_by` if the request has been cancelled or is past its deadline. With the lock held."""
        if self._ended_by:
            return
        if self._cancel.is_set() and (self._cancellable or not self.sent):
            self._ended_by = "cancel"
        elif time.monotonic() > self._end:
            self._ended_by = "deadline"

    def _close(self, duplicates: set[socket.socket]) -> None:
        with _lock:
            self._sockets -= duplicates
            while duplicates:
                duplicates.pop().close()


class _Watchdog:
    """One thread for all deadlines. It ends when there is no request."""

    def __init__(self) -> None:
        self._deadlines: set[RequestDeadline] = set()
        self._thread: threading.Thread | None = None

    def add(self, deadline: RequestDeadline) -> None:
        with _lock:
            self._deadlines.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mmaudio network watch", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    # Python is shutting down and starts no more threads. Reads still have their timeout.
                    self._thread = None

    def remove(self, deadline: RequestDeadline) -> None:
        with _lock:
            self._deadlines.discard(deadline)

    def _run(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            with _lock:
                if not self._deadlines:
                    self._thread = None
                    return
                for deadline in self._deadlines:
                    deadline.enforce()


# Reentrant: the garbage collector may close an unreferenced connection while this thread holds the lock.
_lock = threading.RLock()
_watchdog = _Watchdog()
