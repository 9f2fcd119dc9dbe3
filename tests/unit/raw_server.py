# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers on bare sockets, which misbehave as no library would; a proxy; certificates."""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from addon.failure import Failure

NAME = "cdn.example"
SIGNATURE = "s1gnature"
PATH = f"/clip/secret-name.mp4?X-Amz-Signature={SIGNATURE}"
PASSWORD = "pr0xy-w0rd"
KEY = "k3y-0123456789"
SECRETS = (SIGNATURE, "secret-name", PASSWORD, KEY)
TIMEOUT_SECONDS = 20.0
"""Seconds after which an endless server, and so a failed test, ends anyway."""

Behavior = Callable[[socket.socket, "RawServer"], None]


class RawServer:
    """Record of what a server has received: the heads of all requests and the number of connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heads: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def secure_url(self) -> str:
        return f"https://localhost:{self.port}{PATH}"


@contextmanager
def raw_server(behavior: Behavior, context: ssl.SSLContext | None = None) -> Generator[RawServer, None, None]:
    """Serve each connection by `behavior`, in a thread of its own, and close it afterwards."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(listener.getsockname()[1])
    open_ones: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                behavior(connection, server)
                # So that what was sent arrives, even if not all of the request was read.
                connection.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                server.connections += 1
                open_ones.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server.stopped.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            connection.close()


def read_head(connection: socket.socket, server: RawServer) -> bytes:
    """Read a request to the end of its headers."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(65536)
        if not block:
            break
        received += block
    server.heads.append(received)
    return received


def respond(*parts: bytes) -> Behavior:
    def act(connection: socket.socket, server: RawServer) -> None:
        read_head(connection, server)
        for part in parts:
            connection.sendall(part)

    return act


def respond_endlessly(start: bytes, piece: bytes, pause: float = 0.02) -> Behavior:
    """Respond with `start` and then repeat `piece`."""

    def act(connection: socket.socket, server: RawServer) -> None:
        read_head(connection, server)
        connection.sendall(start)
        end = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < end and not server.stopped.wait(pause):
            connection.sendall(piece)

    return act


def never_respond(connection: socket.socket, server: RawServer) -> None:
    """Read nothing and send nothing."""
    server.stopped.wait(TIMEOUT_SECONDS)


def reset_connection(connection: socket.socket, server: RawServer) -> None:
    """Close the connection with unread bytes, which resets it."""
    connection.recv(1)


def close_at_once(connection: socket.socket, server: RawServer) -> None:
    """Close the connection without a response."""


def proxy_to(port: int) -> Behavior:
    """Return a proxy that connects every name to a port of this machine."""

    return lambda connection, server: _tunnel(connection, server, lambda _: port)


def proxy_by_name(ports: Mapping[str, int]) -> Behavior:
    """Return a proxy that connects names to ports of this machine."""
    return lambda connection, server: _tunnel(connection, server, ports.__getitem__)


def _tunnel(connection: socket.socket, server: RawServer, port_of: Callable[[str], int]) -> None:
    target = read_head(connection, server).split()[1].decode()
    with socket.create_connection(("127.0.0.1", port_of(target.rpartition(":")[0]))) as other:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_copy, args=(other, connection), daemon=True)
        back.start()
        _copy(connection, other)
        back.join(TIMEOUT_SECONDS)


def forward_to(port: int) -> Behavior:
    """Forward all bytes to a port of this machine and back, in one thread: threads can't share a TLS connection."""

    def act(connection: socket.socket, server: RawServer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as other:
            while not server.stopped.is_set():
                decrypted = isinstance(connection, ssl.SSLSocket) and connection.pending()
                ready = [connection] if decrypted else select.select([connection, other], [], [], TIMEOUT_SECONDS)[0]
                for source, target in ((connection, other), (other, connection)):
                    if source in ready:
                        block = source.recv(65536)
                        if not block:
                            return
                        target.sendall(block)

    return act


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    # Also after a reset, since the other end would wait forever.
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def closed_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Authority:
    """Certificate authority, with a file for REQUESTS_CA_BUNDLE."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def server(self, *names: str, from_days: float = -1, to_days: float = 1) -> ssl.SSLContext:
        """Return the TLS context of a server with these names. Its certificate is valid between these days from now."""
        now = datetime.now(UTC)
        first, last = now + timedelta(days=from_days), now + timedelta(days=to_days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, not_before=first, not_after=last).configure_cert(context)
        return context

    def own(self) -> ssl.SSLContext:
        """Return a TLS context that uses the authority's own certificate as the server's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = self.file.with_name("own.pem")
        pem.write_bytes(self._ca.private_key_pem.bytes() + self._ca.cert_pem.bytes())
        context.load_cert_chain(pem)
        return context


def failure_of(call: Callable[[], object]) -> Failure:
    """Return the failure that `call` raises. Fail if it contains a secret."""
    try:
        call()
    except Failure as failure:
        shown = f"{failure!r} {failure} {failure.message} {failure.hint}"
        assert [secret for secret in SECRETS if secret in shown] == []
        assert failure.message.endswith(".")
        return failure
    raise AssertionError("no failure was raised")
