# SPDX-License-Identifier: GPL-3.0-or-later
"""How the double misbehaves where a test has ordered it."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

_CHUNK = 64 * 1024

Act = Callable[[], tuple[int, bytes]]
"""Carries out what was asked; returns the status and the body of the answer."""


class Faults:
    """Ordered misbehaviour: {"at": route, "do": what, "times": n, …}. Each counts down as it strikes; `struck` says where.

    status     answers `status`, `body`, `headers`
    headers    answers as it should, with `headers` beside
    drop       hangs up; reset: breaks off in the middle of the request. Neither has an answer
    close      answers, then hangs up without having said so
    truncate   hangs up in the middle of the answer; break: resets the connection there
    stall      waits for `seconds` first; slow: answers bit by bit, for so long
    flood      answers with `body`, then blanks without end, or up to `bytes`; `announced` tells how many there will be

    With "carried_out", "status" and "drop" do what was asked all the same. {"where": {"seed": 8}} strikes only runs whose
    input says so.
    With {"after": 2} it lets two pass first.
    At "run", for the run that is created next: "fail" for a `reason`, "cancel", "say" an answer's `body` whenever it is
    asked about, "short" by `seconds`, "silent", or "signalled".
    At "webhook", for the run that is created next: "twice", "late" by `seconds`, "early" (before the create call is
    answered, too), "never", "wrong_secret", "unknown_run", or "newest", the body of the newest documentation.
    """

    def __init__(self) -> None:
        self.struck: list[str] = []
        self._orders: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def order(self, order: dict[str, Any]) -> None:
        with self._lock:
            self._orders.append({"times": 1, **order})

    def clear(self) -> None:
        with self._lock:
            self._orders.clear()

    def take(self, at: str, asked: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._lock:
            met = [
                order
                for order in self._orders
                if order["at"] == at and order["times"] > 0 and order.get("where", {}).items() <= (asked or {}).items()
            ]
            struck = [order for order in met if order.get("after", 0) <= 0]
            for order in met:
                order["after"] = order.get("after", 0) - 1
            for order in struck:
                order["times"] -= 1
                self.struck.append(at)
            return struck


class Faulty(BaseHTTPRequestHandler):
    """Answers that go wrong on their way."""

    protocol_version = "HTTP/1.1"
    # Head and body go out as two writes; without this each kept connection waits 40 ms between them.
    disable_nagle_algorithm = True

    def break_off(self, fault: dict[str, Any], act: Act) -> None:
        """The faults after which there is no answer, or no whole one."""
        match fault["do"]:
            case "drop":
                if "carried_out" in fault:
                    act()
                self._hang_up()
            case "reset":
                self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
                self._reset()
            case "close":
                self.reply(*act())
                self._hang_up()
            case "truncate":
                self._reply_in_part(act()[1])
                self._hang_up()
            case "break":
                self._reply_in_part(act()[1])
                self._reset()
            case "slow":
                self._reply_slowly(act()[1], fault["seconds"])
            case "flood":
                act()
                self._flood(fault.get("body", "").encode(), fault.get("bytes", 1 << 40), "announced" in fault)
            case other:
                raise ValueError(other)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        raise NotImplementedError

    def _begin(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _reply_in_part(self, body: bytes) -> None:
        self._begin(len(body))
        self.wfile.write(body[: len(body) // 2])

    def _reply_slowly(self, body: bytes, seconds: float) -> None:
        self._begin(len(body))
        pieces = 50
        size = -(-len(body) // pieces)
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            time.sleep(seconds / pieces)

    def _flood(self, body: bytes, size: int, announced: bool) -> None:
        """Until the client hangs up, which ends this by an OSError."""
        self.close_connection = True
        self.send_response(200)
        self.send_header(*(("Content-Length", str(size)) if announced else ("Connection", "close")))
        self.end_headers()
        self.wfile.write(body)
        sent = len(body)
        while sent < size:
            sent += self.wfile.write(b" " * min(_CHUNK, size - sent))

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed for good at once: what else holds this socket would only say goodbye first.
        socket.close(self.connection.detach())
