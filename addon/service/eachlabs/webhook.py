# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's call that a run has ended, heard on a loopback port behind the user's own tunnel. Off by default. No bpy.

A call only ends a wait early. What became of the run is told by the poll that follows, never by the call: anyone may find
the public address, so whatever is no call for a job in flight is refused and changes nothing.
"""

import hmac
import json
import os
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from ...failure import Cancelled, Failure
from ..net.addresses import check_url

BODY_MAX = 64 * 1024
CONNECTIONS_MAX = 16
READ_SECONDS = 5.0
REQUEST_SECONDS = 10.0
"""How long a whole request may take, however slowly it drips; the service itself waits for 30 s."""

_HOST = "127.0.0.1"
_SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105  # a name
# The names under which the brief and the vendor's documentation give the run's id.
_ID_FIELDS = ("exec_id", "execution_id", "predictionID", "id", "flow_id")
_EARLY_MAX = 8
_CANCEL_SECONDS = 0.1
_STOP_SECONDS = 0.05
_HINT = "Choose another port in Preferences > Add-ons > MMAudio for the Sequencer, or leave the webhook off."


@dataclass(frozen=True)
class WebhookConfig:
    """The user's tunnel or reverse proxy leads from the https address to the port on this machine.

    With port 0 the system chooses one.
    """

    public_url: str
    port: int

    def check(self) -> None:
        """Raises Failure where the settings can't be right."""
        hint = "Give the webhook's public https address in the preferences."
        check_url(self.public_url, loopback_allowed=False, hint=hint)
        if not 0 <= self.port <= 65535:
            raise Failure("webhook_port", f"There is no port {self.port}.", _HINT)


class Webhook:
    """Listens while calls are expected: from the first job on, until the last one has closed its call.

    One is enough for all jobs. `port` is where it listens, from the first time on that it has.
    """

    def __init__(self, config: WebhookConfig) -> None:
        self.config = config
        self.port = config.port
        self._lock = threading.Lock()
        self._stopped = False
        self._calls: list[Call] = []
        self._server: _Server | None = None

    def expect(self) -> "Call | None":
        """A call for one run, with a secret of its own; None once it is stopped.

        Raises Failure where none can be heard, such as on a taken port.
        """
        with self._lock:
            if self._stopped:
                return None
            self.config.check()
            if self._server is None:
                self._server = self._started()
            call = Call(self.config.public_url, self._forget)
            self._calls.append(call)
            return call

    def stop(self) -> None:
        """Closes its port for good; jobs that still wait, or have runs to come, go on by polling. May be called again."""
        with self._lock:
            self._stopped = True
            for call in self._calls:
                call.wake()
            self._calls.clear()
            self._stop_server()

    @property
    def listening(self) -> bool:
        return self._server is not None

    def _forget(self, call: "Call") -> None:
        with self._lock:
            if call in self._calls:
                self._calls.remove(call)
            if not self._calls:
                self._stop_server()

    def _started(self) -> "_Server":
        try:
            server = _Server(self.port, self._judge)
        except OSError:
            text = f"Port {self.port} of this machine is taken or not allowed, so calls of Eachlabs can't be heard."
            raise Failure("webhook_port", text, _HINT) from None
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(_STOP_SECONDS,), name="mmaudio webhook", daemon=True).start()
        return server

    def _stop_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _judge(self, secret: bytes, body: bytes) -> int:
        """The status that a call is answered with; a good one wakes its job."""
        with self._lock:
            meant = [call for call in self._calls if hmac.compare_digest(call.secret.encode(), secret)]
        if not meant:
            return 403
        named = _runs_named(body)
        if not named:
            return 400
        return 204 if meant[0].deliver(named) else 404


class Call:
    """The call that one job expects. It may come before the run's id is known, late, twice, or never."""

    def __init__(self, public_url: str, forget: Callable[["Call"], None]) -> None:
        self.secret = secrets.token_urlsafe(32)
        self._public_url = public_url
        self._forget = forget
        self._lock = threading.Lock()
        self._received = threading.Event()
        self._run = ""
        self._early: set[str] = set()

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def fields(self) -> Mapping[str, str]:
        """What the create call carries, so that the service calls back."""
        return {"webhook_url": self._public_url, "webhook_secret": self.secret}

    def meant_for(self, run: str) -> None:
        """The run has this id: calls for it count from now on, and one that came before counts too."""
        with self._lock:
            self._run = run
            if run in self._early:
                self.wake()

    def wait(self, seconds: float, cancel: threading.Event) -> bool:
        """Waits for the service's call, at most so many seconds; True if it came, or never will. Raises Cancelled."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            received = self._received.wait(min(max(left, 0), _CANCEL_SECONDS))
            if cancel.is_set():
                raise Cancelled
            if received:
                self._received.clear()
                return True
            if left <= 0:
                return False

    def deliver(self, named: frozenset[str]) -> bool:
        """Takes a call with the right secret; False where it is for another run."""
        with self._lock:
            if not self._run:
                self._early |= set(list(named)[: _EARLY_MAX - len(self._early)])
                return True
            if self._run not in named:
                return False
            self.wake()
            return True

    def wake(self) -> None:
        """Ends the wait: the call has come, or none will come any more."""
        self._received.set()

    def close(self) -> None:
        """Expects nothing any more. May be called again."""
        self._forget(self)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX
    # On Windows that option would let two programs share a port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, port: int, judge: Callable[[bytes, bytes], int]) -> None:
        self.judge = judge
        self._room = threading.Semaphore(CONNECTIONS_MAX)
        super().__init__((_HOST, port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of this machine's name that http.server makes, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, self.server_address[1]

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if not self._room.acquire(blocking=False):
            # The service tries again in a while, and the poll goes on anyway.
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)  # pyright: ignore[reportArgumentType]  # as it came
        except Exception:
            self._room.release()
            raise

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        end = threading.Timer(REQUEST_SECONDS, _hang_up, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)  # pyright: ignore[reportArgumentType]  # as it came
        finally:
            end.cancel()
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever hangs up, or hasn't said anything, is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mmaudio"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(READ_SECONDS)

    def do_POST(self) -> None:
        self._answer(self._status())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, such as any other method, without the page that repeats the request."""
        self._answer(405 if code == 501 else code)

    def log_message(self, format: str, *args: object) -> None:
        """Not even the address is told."""

    def _status(self) -> int:
        assert isinstance(self.server, _Server)
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            return 411
        # A number of a thousand digits is not read as one.
        if len(lengths[0]) > len(str(BODY_MAX)) or int(lengths[0]) > BODY_MAX:
            return 413
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            return 400
        given = self.headers.get_all(_SECRET_HEADER, [])
        return self.server.judge(given[0].encode("latin-1", "replace"), body) if len(given) == 1 else 403

    def _answer(self, status: int) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", "0")
        self.end_headers()


def _runs_named(body: bytes) -> frozenset[str]:
    """The ids in a call's body; none where it is not what the service sends."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    values = [said.get(name) for name in _ID_FIELDS] if isinstance(said, dict) else []
    return frozenset(value for value in values if isinstance(value, str) and value)


def _hang_up(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
