# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhook calls of the service when a run has ended, received on a loopback port behind the user's tunnel. No bpy.

Off by default. A call only ends a wait early. The state of the run comes from the poll that follows, never from the call:
anyone may find the public URL, so every request other than a call for an active job is rejected and changes nothing.
"""

import hmac
import json
import os
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from ...failure import Cancelled, Failure
from ..net.addresses import check_url
from ..net.clock import CLOCK, Clock

BODY_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 16
READ_SECONDS = 5.0
"""Timeout between two bytes."""
REQUEST_SECONDS = 10.0
"""Timeout of a whole request. The service itself waits for 30 s."""

_HOST = "127.0.0.1"
_SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105  # a name
# Names of the run's id in the brief and in the vendor's documentation.
_ID_FIELDS = ("exec_id", "execution_id", "predictionID", "id", "flow_id")
_EARLY_IDS_MAX = 8
_CANCEL_POLL_SECONDS = 0.1
_STOP_POLL_SECONDS = 0.05


class PortUnavailable(Failure):
    code = "webhook_port"
    default_hint = "Choose another port in Preferences > Add-ons > MMAudio for the Sequencer, or disable the webhook."


@dataclass(frozen=True)
class WebhookConfig:
    """Settings of the webhook. The user's tunnel or reverse proxy forwards from the public URL to the port."""

    public_url: str
    """https URL that the service calls."""
    port: int
    """Port on this machine; with 0 the system chooses one."""

    def check(self) -> None:
        """Raise Failure if the settings are invalid."""
        check_url(self.public_url, loopback_allowed=False, hint="Set the webhook's public https URL in the preferences.")
        if not 0 <= self.port <= 65535:
            raise PortUnavailable(f"The port {self.port} is invalid.")


class Webhook:
    """Receiver of the calls for all jobs. It listens from the first expected call until the last one is closed."""

    def __init__(self, config: WebhookConfig) -> None:
        self.config = config
        self.port = config.port
        """Port that it listens on; 0 before the system has chosen one."""
        self._lock = threading.Lock()
        self._stopped = False
        self._calls: list[Call] = []
        self._server: _Server | None = None

    def expect(self) -> "Call | None":
        """Return the expected call for one run, with its own secret, or None after `stop`.

        Raise Failure if calls can't be received, such as on a port in use.
        """
        with self._lock:
            if self._stopped:
                return None
            self.config.check()
            if self._server is None:
                self._server = self._start_server()
            call = Call(self.config.public_url, self._remove)
            self._calls.append(call)
            return call

    def stop(self) -> None:
        """Close the port for good. Jobs continue by polling. May be called again."""
        with self._lock:
            self._stopped = True
            for call in self._calls:
                call.end_wait()
            self._calls.clear()
            self._stop_server()

    @property
    def listening(self) -> bool:
        return self._server is not None

    def _remove(self, call: "Call") -> None:
        with self._lock:
            if call in self._calls:
                self._calls.remove(call)
            if not self._calls:
                self._stop_server()

    def _start_server(self) -> "_Server":
        try:
            server = _Server(self.port, self._receive)
        except OSError:
            text = f"Port {self.port} of this machine is in use or not permitted, so Eachlabs can't call the webhook."
            raise PortUnavailable(text) from None
        self.port = server.server_address[1]
        serve = partial(server.serve_forever, _STOP_POLL_SECONDS)
        threading.Thread(target=serve, name="mmaudio webhook", daemon=True).start()
        return server

    def _stop_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _receive(self, secret: bytes, body: bytes) -> int:
        """Pass a request to the expected call with its secret, and return the HTTP status of the response."""
        with self._lock:
            matching = [call for call in self._calls if hmac.compare_digest(call.secret.encode(), secret)]
        if not matching:
            return 403
        ids = _run_ids(body)
        if not ids:
            return 400
        return 204 if matching[0].receive(ids) else 404


class Call:
    """Expected call for one run. It may come before the run's id is known, late, twice or never."""

    def __init__(self, public_url: str, remove: Callable[["Call"], None]) -> None:
        self.secret = secrets.token_urlsafe(32)
        self._public_url = public_url
        self._remove = remove
        self._lock = threading.Lock()
        self._received = threading.Event()
        self._run_id = ""
        self._early_ids: set[str] = set()
        """Ids in calls that came before `expect_run`."""

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def fields(self) -> Mapping[str, str]:
        """Fields of the create call for which the service calls the webhook."""
        return {"webhook_url": self._public_url, "webhook_secret": self.secret}

    def expect_run(self, run_id: str) -> None:
        """Set the run's id. End the wait if the call for it came before."""
        with self._lock:
            self._run_id = run_id
            if run_id in self._early_ids:
                self.end_wait()

    def wait(self, seconds: float, cancel: threading.Event, clock: Clock = CLOCK) -> bool:
        """Wait for the call, and return whether it came within `seconds` or can no longer come. Raise Cancelled."""
        end = clock.now() + seconds
        while True:
            left = end - clock.now()
            received = clock.wait(min(max(left, 0), _CANCEL_POLL_SECONDS), self._received)
            if cancel.is_set():
                raise Cancelled
            if received:
                self._received.clear()
                return True
            if left <= 0:
                return False

    def receive(self, ids: frozenset[str]) -> bool:
        """Receive a call with the right secret, and return whether it is for this run."""
        with self._lock:
            if not self._run_id:
                self._early_ids |= set(list(ids)[: _EARLY_IDS_MAX - len(self._early_ids)])
                return True
            if self._run_id not in ids:
                return False
            self.end_wait()
            return True

    def end_wait(self) -> None:
        """End the wait, since the call came or can no longer come."""
        self._received.set()

    def close(self) -> None:
        """Stop expecting the call. May be called again."""
        self._remove(self)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX
    # On Windows this option would allow two programs to share a port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, port: int, receive: Callable[[bytes, bytes], int]) -> None:
        """`receive` gets the secret and the body of a request, and returns the status of the response."""
        self.receive = receive
        self._free_connections = threading.Semaphore(CONNECTIONS_MAX)
        super().__init__((_HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind without the look-up of this machine's name that http.server makes, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, self.server_address[1]

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if not self._free_connections.acquire(blocking=False):
            # The service repeats the call later, and the job polls anyway.
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)  # pyright: ignore[reportArgumentType]  # passed on unchanged
        except Exception:
            self._free_connections.release()
            raise

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        timeout = threading.Timer(REQUEST_SECONDS, _shut_down, [request])
        timeout.daemon = True
        timeout.start()
        try:
            super().process_request_thread(request, client_address)  # pyright: ignore[reportArgumentType]  # passed on unchanged
        finally:
            timeout.cancel()
            self._free_connections.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close their connection or send nothing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mmaudio"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(READ_SECONDS)

    def do_POST(self) -> None:
        self._respond(self._status())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Respond to requests that http.server rejects, without its error page, which repeats the request."""
        self._respond(405 if code == 501 else code)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, not even the client's address."""

    def _status(self) -> int:
        """Read the request and return the status of the response."""
        assert isinstance(self.server, _Server)
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            return 411
        # The length of the text comes first, since int() raises ValueError above 4300 digits.
        if len(lengths[0]) > len(str(BODY_BYTES_MAX)) or int(lengths[0]) > BODY_BYTES_MAX:
            return 413
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            return 400
        values = self.headers.get_all(_SECRET_HEADER, [])
        return self.server.receive(values[0].encode("latin-1", "replace"), body) if len(values) == 1 else 403

    def _respond(self, status: int) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Connection", "close")
        self.send_header("Content-Length", "0")
        self.end_headers()


def _run_ids(body: bytes) -> frozenset[str]:
    """Return the ids in a call's body, none if it is invalid."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    values = [content.get(name) for name in _ID_FIELDS] if isinstance(content, dict) else []
    return frozenset(value for value in values if isinstance(value, str) and value)


def _shut_down(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
