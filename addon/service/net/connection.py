# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP connections: http.client over streams that end with their RequestDeadline. No bpy."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

from requests import PreparedRequest
from requests.utils import default_headers

from .addresses import is_allowed_address
from .deadline import RequestDeadline
from .environment import Proxy, tls_context
from .errors import address_not_allowed, name_not_resolved, tls_failed, tunnel_failed
from .stream import AddressInfo, Stream, TcpStream, TlsStream


@dataclass(frozen=True)
class Route:
    """Where a connection leads. It is reused for requests with the same route only."""

    tls: bool
    host: str
    port: int
    proxy: Proxy | None
    loopback_allowed: bool
    private_allowed: bool


class Connection(HTTPConnection):
    """Connection for several requests, one at a time. It is made with the first one, and never made again."""

    def __init__(self, route: Route, deadline: RequestDeadline) -> None:
        super().__init__(route.host, route.port)
        self.default_port = 443 if route.tls else 80
        self.route = route
        self._deadline = deadline
        self._tcp: TcpStream | None = None

    def exchange(self, request: PreparedRequest, body: Iterable[bytes] | None = None) -> HTTPResponse:
        """Send a request, with `body` instead of its own, and return the response, of which the body has not been read.

        Raise OSError, HTTPException, ValueError for an invalid request, Failure, Cancelled.
        """
        headers = default_headers()
        headers.update({"Accept-Encoding": "identity", **request.headers})
        target, proxy = request.path_url, self.route.proxy
        if proxy and not self.route.tls:
            target = request.url or ""
            headers.update({"Proxy-Authorization": proxy.login} if proxy.login else {})
        # A server may respond without reading the whole body, and close the connection.
        with suppress(ConnectionError):
            self.request(request.method or "", target, body or request.body, headers)
        return self.getresponse()

    def connect(self) -> None:
        """Connect, through the proxy if there is one. http.client calls this. Raise TemporaryFailure, Failure, Cancelled."""
        route, proxy, deadline = self.route, self.route.proxy, self._deadline
        deadline.peer = proxy.name if proxy else route.host
        stream: Stream = TcpStream(_addresses(route, deadline), deadline)
        self._tcp = stream
        if proxy and proxy.tls:
            stream = _encrypted(stream, proxy.host, proxy.name)
        if proxy and route.tls:
            _open_tunnel(stream, route, proxy)
        deadline.peer = route.host
        self.sock: Any = _encrypted(stream, route.host, route.host) if route.tls else stream

    def send(self, data: Any) -> None:
        """Send a part of the request, after connecting. What is sent to a proxy and in a handshake is not part of it."""
        if self.sock is None:
            self.connect()
        self._deadline.check()
        self._deadline.sent = True
        super().send(data)

    def is_reusable(self) -> bool:
        """Return whether neither side has closed the connection, which is idle."""
        return self.sock is not None and self._tcp is not None and not self._tcp.has_input()

    def hang_up(self) -> None:
        if self._tcp:
            self._tcp.hang_up()


def _addresses(route: Route, deadline: RequestDeadline) -> list[AddressInfo]:
    """Look up the host, or the proxy, and return the addresses to which a connection may be made. Raise Failure, Cancelled.

    The connection is made to the very address that was checked, so that no second look-up can return another one. With a
    proxy, the proxy looks up the host, and the proxy's own address may be of any kind.
    """
    near = route.proxy or route
    try:
        found = socket.getaddrinfo(near.host, near.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        deadline.check()
        raise name_not_resolved(deadline.peer) from None
    if route.proxy:
        return list(found)
    loopback, private = route.loopback_allowed, route.private_allowed
    is_allowed = partial(is_allowed_address, route.host, loopback_allowed=loopback, private_allowed=private)
    if allowed := [row for row in found if is_allowed(str(row[4][0]))]:
        return allowed
    raise address_not_allowed(route.host, private_allowed=private)


def _encrypted(stream: Stream, host: str, peer: str) -> Stream:
    try:
        return TlsStream(stream, tls_context(), host)
    except (OSError, ValueError) as fault:
        raise tls_failed(fault, peer) from None


def _open_tunnel(stream: Stream, route: Route, proxy: Proxy) -> None:
    """Let the proxy connect to the host. Raise ProxyFailed, TimedOut, Cancelled."""
    host = f"[{route.host}]:{route.port}" if ":" in route.host else f"{route.host}:{route.port}"
    login = f"Proxy-Authorization: {proxy.login}\r\n" if proxy.login else ""
    status = 0
    with suppress(OSError, HTTPException, ValueError):
        stream.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{login}\r\n".encode("ascii"))
        response = HTTPResponse(stream, method="CONNECT")  # pyright: ignore[reportArgumentType]
        response.begin()
        status = response.status
    if status != 200:
        raise tunnel_failed(status, route.host, proxy.name)
