# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that tests inject into the double, and the request handler that applies them."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

_CHUNK = 64 * 1024

Action = Callable[[], tuple[int, bytes]]
"""Performs the request; returns the status and the body of the response."""


class Faults:
    """Injected faults.

    A fault is {"at": route, "do": kind, …}, with these options:

    times      how often it triggers, 1 by default
    after      how many matching requests it lets pass first
    where      triggers only for runs with this input, such as {"seed": 8}

    Kinds at a route:

    status     respond with `status`, `body` and `headers`
    headers    add `headers` to the normal response
    drop       close the connection without a response
    reset      reset the connection in the middle of the request
    close      send the normal response, then close the connection without `Connection: close`
    truncate   close the connection in the middle of the response
    break      reset the connection in the middle of the response
    stall      wait for `seconds` before the normal response
    slow       send the response in pieces over `seconds`
    flood      respond with `body` and then spaces, without end or up to `bytes`; with `content_length`, send that header

    With "carried_out", "status" and "drop" perform the request nevertheless.

    Kinds at "run", for the next run that is created:

    fail       end in an error, for a `reason`
    cancel     end as cancelled
    respond    respond with `body` to each get call
    short      make the result shorter by `seconds`
    silent     make a result without an audio track
    signalled  signal the AAC encoder delay in the result

    Kinds at "webhook", for the next run that is created:

    twice         make the call twice
    late          make the call `seconds` late
    early         make an additional call before the response to the create call
    never         make no call
    wrong_secret  send a wrong secret
    unknown_run   send the id of an unknown run
    newest        send the body that the newest documentation describes
    """

    def __init__(self) -> None:
        self.triggered: list[str] = []
        """Where faults have been triggered, in order."""
        self._faults: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def inject(self, fault: dict[str, Any]) -> None:
        with self._lock:
            self._faults.append({"times": 1, **fault})

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def trigger(self, at: str, run_input: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the faults to apply to this request, and count them down."""
        with self._lock:
            matching = [
                fault
                for fault in self._faults
                if fault["at"] == at and fault["times"] > 0 and fault.get("where", {}).items() <= (run_input or {}).items()
            ]
            triggered = [fault for fault in matching if fault.get("after", 0) <= 0]
            for fault in matching:
                fault["after"] = fault.get("after", 0) - 1
            for fault in triggered:
                fault["times"] -= 1
                self.triggered.append(at)
            return triggered


class FaultyHandler(BaseHTTPRequestHandler):
    """Request handler that can apply faults to its responses."""

    protocol_version = "HTTP/1.1"
    # Headers and body are sent by two writes; with Nagle's algorithm a kept-alive connection would wait 40 ms between them.
    disable_nagle_algorithm = True

    def apply_fault(self, fault: dict[str, Any], action: Action) -> None:
        """Apply a fault that leaves the request without a response, or with an incomplete or unusual one."""
        match fault["do"]:
            case "drop":
                if "carried_out" in fault:
                    action()
                self._close()
            case "reset":
                self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
                self._reset()
            case "close":
                self.reply(*action())
                self._close()
            case "truncate":
                self._reply_partially(action()[1])
                self._close()
            case "break":
                self._reply_partially(action()[1])
                self._reset()
            case "slow":
                self._reply_slowly(action()[1], fault["seconds"])
            case "flood":
                action()
                self._flood(fault.get("body", "").encode(), fault.get("bytes", 1 << 40), "content_length" in fault)
            case other:
                raise ValueError(other)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        raise NotImplementedError

    def _send_headers(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _reply_partially(self, body: bytes) -> None:
        self._send_headers(len(body))
        self.wfile.write(body[: len(body) // 2])

    def _reply_slowly(self, body: bytes, seconds: float) -> None:
        self._send_headers(len(body))
        pieces = 50
        size = -(-len(body) // pieces)
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            time.sleep(seconds / pieces)

    def _flood(self, body: bytes, size: int, content_length: bool) -> None:
        """Send spaces until `size` is reached, or the client closes the connection, which raises an OSError here."""
        self.close_connection = True
        self.send_response(200)
        self.send_header(*(("Content-Length", str(size)) if content_length else ("Connection", "close")))
        self.end_headers()
        self.wfile.write(body)
        sent = len(body)
        while sent < size:
            sent += self.wfile.write(b" " * min(_CHUNK, size - sent))

    def _close(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Close the descriptor itself: other references to the socket object would keep it open and shut it down orderly.
        socket.close(self.connection.detach())
