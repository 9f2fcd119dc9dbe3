# SPDX-License-Identifier: GPL-3.0-or-later
"""When a request is over, whatever the other side does: its deadline, and the artist's cancel. No bpy.

A timeout of `requests` counts from one byte to the next, so an answer that drips never meets it, and a thread that waits
for a byte sees no cancel. Here one thread looks at all requests under way and hangs up what is over; the blocked read
or write then ends at once.
"""

import math
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from ...failure import Cancelled
from .errors import silent

ANSWER_SECONDS = 60.0
"""For a request and its answer from name to last byte; the service's own calls answer within a few seconds."""
SLOWEST = 16 * 1024
"""Bytes a second. A transfer gets a second more for each of these, so a slow line may take its time and a stalled one not;
with less than 128 kbit/s a clip of 100 MB would take longer than the quarter of an hour that its address lives."""
READ_SECONDS = 30.0
"""Between one byte and the next."""
LOOK_SECONDS = 0.1


class RequestDeadline:
    """The connections of one Transport, which carry one request at a time.

    loopback_allowed  whether this machine may be spoken to
    peer              who is waited for at the moment, for the words of a fault
    sent              whether anything of the request under way may have reached its host
    """

    def __init__(self, cancel: threading.Event, *, loopback_allowed: bool = False) -> None:
        self.loopback_allowed = loopback_allowed
        self.peer = ""
        self.sent = False
        self._cancel = cancel
        self._heed_cancel = True
        self._began = 0.0
        self._end = math.inf
        self._fault = ""
        self._sockets: set[socket.socket] = set()
        self._given_up: set[socket.socket] = set()

    @contextmanager
    def request(self, host: str, *, cancellable: bool = True) -> Generator[None, None, None]:
        """Bounds what happens within. Raises TryAgain and Cancelled, in the place of what hanging up brings about.

        `heed_cancel=False` lets a cancel end the request only as long as nothing of it has been sent.
        """
        self.peer, self.sent, self._fault, self._heed_cancel = host, False, "", cancellable
        self._began = time.monotonic()
        self._end = self._began + ANSWER_SECONDS
        _watch.add(self)
        try:
            yield
        except Exception:
            self.check()
            raise
        else:
            self.check()
        finally:
            _watch.remove(self)
            self._drop(self._given_up)

    def check(self) -> None:
        """Raises TryAgain or Cancelled if the request is over."""
        with _lock:
            self._judge()
            fault = self._fault
        if fault == "cancel":
            raise Cancelled
        if fault:
            raise silent(self.peer, sent=self.sent)

    def moved(self, done: int) -> None:
        """Told of each block of a body, with all its bytes so far: they earn the time for more. Raises as `check`."""
        self._end = self._began + ANSWER_SECONDS + done / SLOWEST
        self.check()

    def begin_sending(self) -> None:
        """From here on a request that shall be heard to its end is. Raises as `check`."""
        with _lock:
            self._judge()
            self.sent = self.sent or not self._fault
        self.check()

    def hold(self, sock: socket.socket) -> socket.socket:
        """A second handle of a connected socket: TLS takes the first one away, and answers outlive their connections."""
        handle = sock.dup()
        with _lock:
            self._sockets.add(handle)
        return handle

    def give_up(self, handle: socket.socket) -> None:
        """The connection is closed for further requests; the answer under way may still be read from it."""
        with _lock:
            self._given_up.add(handle)

    def close(self) -> None:
        self._drop(set(self._sockets))

    def look(self) -> None:
        """For the watch alone, with the lock. Hangs up again each time: a connection may have come up since the last."""
        self._judge()
        if self._fault:
            for handle in self._sockets:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def _judge(self) -> None:
        if self._fault:
            return
        if self._cancel.is_set() and (self._heed_cancel or not self.sent):
            self._fault = "cancel"
        elif time.monotonic() > self._end:
            self._fault = "deadline"

    def _drop(self, handles: set[socket.socket]) -> None:
        with _lock:
            self._sockets -= handles
            while handles:
                handles.pop().close()


class _Watch:
    """One thread for all lines; it ends when no request is under way."""

    def __init__(self) -> None:
        self._deadlines: set[RequestDeadline] = set()
        self._thread: threading.Thread | None = None

    def add(self, deadline: RequestDeadline) -> None:
        with _lock:
            self._deadlines.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="mmaudio network watch", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    # Python is shutting down and starts no more threads. Reads still have their timeout.
                    self._thread = None

    def remove(self, deadline: RequestDeadline) -> None:
        with _lock:
            self._deadlines.discard(deadline)

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with _lock:
                if not self._deadlines:
                    self._thread = None
                    return
                for deadline in self._deadlines:
                    deadline.look()


# Reentrant: the garbage collector may close an unreferenced connection while this thread holds the lock.
_lock = threading.RLock()
_watch = _Watch()
