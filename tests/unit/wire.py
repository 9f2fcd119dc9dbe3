# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of bare sockets on loopback, which answer as no library would; a proxy; certificates for them."""

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
PATIENCE = 20.0
"""Seconds after which a server that goes on and on ends all the same, and with it a test that has failed."""

Act = Callable[[socket.socket, "Wire"], None]


class Wire:
    """What has come to a server: the bytes of all requests' heads, and how many connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heads: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def secure_url(self) -> str:
        return f"https://localhost:{self.port}{PATH}"


@contextmanager
def wire(act: Act, context: ssl.SSLContext | None = None) -> Generator[Wire, None, None]:
    """Hands each connection to `act`, on a thread of its own, and hangs up after it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Wire(listener.getsockname()[1])
    open_ones: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            with connection:
                act(connection, server)
                # What was sent shall arrive, also where not all was read.
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
        server.over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            connection.close()


def head(connection: socket.socket, server: Wire) -> bytes:
    """Reads a request to the end of its headers."""
    came = b""
    while b"\r\n\r\n" not in came:
        block = connection.recv(65536)
        if not block:
            break
        came += block
    server.heads.append(came)
    return came


def says(*parts: bytes) -> Act:
    def act(connection: socket.socket, server: Wire) -> None:
        head(connection, server)
        for part in parts:
            connection.sendall(part)

    return act


def goes_on(start: bytes, piece: bytes, pause: float = 0.02) -> Act:
    """Answers with `start` and then `piece` again and again."""

    def act(connection: socket.socket, server: Wire) -> None:
        head(connection, server)
        connection.sendall(start)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not server.over.wait(pause):
            connection.sendall(piece)

    return act


def waits(connection: socket.socket, server: Wire) -> None:
    """Reads nothing, says nothing."""
    server.over.wait(PATIENCE)


def resets(connection: socket.socket, server: Wire) -> None:
    """Hangs up with bytes unread, which makes a reset of it."""
    connection.recv(1)


def hangs_up(connection: socket.socket, server: Wire) -> None:
    """Hangs up before a word."""


def proxy_to(port: int) -> Act:
    """A proxy that leads to a port of this machine, whatever name it is asked for."""

    return lambda connection, server: _tunnel(connection, server, lambda _: port)


def proxy_by_name(ports: Mapping[str, int]) -> Act:
    """A proxy that leads names to ports of this machine."""
    return lambda connection, server: _tunnel(connection, server, ports.__getitem__)


def _tunnel(connection: socket.socket, server: Wire, port_of: Callable[[str], int]) -> None:
    asked = head(connection, server).split()[1].decode()
    with socket.create_connection(("127.0.0.1", port_of(asked.rpartition(":")[0]))) as other:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_pour, args=(other, connection), daemon=True)
        back.start()
        _pour(connection, other)
        back.join(PATIENCE)


def stands_before(port: int) -> Act:
    """Hands on all that comes, to a port of this machine and back. One thread does it: a TLS connection is not for two."""

    def act(connection: socket.socket, server: Wire) -> None:
        with socket.create_connection(("127.0.0.1", port)) as other:
            while not server.over.is_set():
                decrypted = isinstance(connection, ssl.SSLSocket) and connection.pending()
                ready = [connection] if decrypted else select.select([connection, other], [], [], PATIENCE)[0]
                for source, target in ((connection, other), (other, connection)):
                    if source in ready:
                        block = source.recv(65536)
                        if not block:
                            return
                        target.sendall(block)

    return act


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    # Also after a reset: the other end would wait for ever.
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def refusing_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Authority:
    """A certificate authority; its file is for REQUESTS_CA_BUNDLE."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def server(self, *names: str, from_days: float = -1, to_days: float = 1) -> ssl.SSLContext:
        """What a server of these names needs, its certificate good within these days of now."""
        now = datetime.now(UTC)
        first, last = now + timedelta(days=from_days), now + timedelta(days=to_days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, not_before=first, not_after=last).configure_cert(context)
        return context

    def own(self) -> ssl.SSLContext:
        """The authority's own certificate, as if it were a server's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = self.file.with_name("own.pem")
        pem.write_bytes(self._ca.private_key_pem.bytes() + self._ca.cert_pem.bytes())
        context.load_cert_chain(pem)
        return context


def failure_of(call: Callable[[], object]) -> Failure:
    """The failure that `call` ends in, which tells no secret."""
    try:
        call()
    except Failure as told:
        shown = f"{told!r} {told} {told.message} {told.hint}"
        assert [secret for secret in SECRETS if secret in shown] == []
        assert told.message.endswith(".")
        return told
    raise AssertionError("it went well")
