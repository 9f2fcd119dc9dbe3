# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions of requests whose connections go to allowed addresses only and end with their RequestDeadline. No bpy.

The rest is requests and urllib3. A host's address is checked between the DNS look-up and the connection to that same
address, so that no second look-up can return another one. With a proxy, the proxy looks up the host, and the proxy's own
address may be of any kind.

Proxies and certificates are those of requests: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; REQUESTS_CA_BUNDLE and
CURL_CA_BUNDLE instead of certifi's authorities. requests does not read SSL_CERT_FILE, nor the system's own store.
"""

import errno
import os
import selectors
import socket
import time
from collections.abc import Sequence
from functools import partial
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from ...failure import Cancelled, Failure
from .addresses import is_allowed_address
from .deadline import POLL_SECONDS, READ_SECONDS, RequestDeadline
from .errors import (
    address_not_allowed,
    host_of,
    name_not_resolved,
    not_connected,
    proxy_name,
    socks_not_supported,
    timed_out,
    tls_failed,
    tunnel_failed,
)

CONNECT_SECONDS = 10.0
"""Timeout for each of the addresses that a name resolves to."""


def create_session(deadline: RequestDeadline, *, private_allowed: bool = False) -> requests.Session:
    """Return a session whose connections belong to `deadline`. It keeps no cookies and follows no redirect.

    A pool reuses a connection for any request to its host, so requests that may go to private addresses need a separate
    session.
    """
    session = _Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(deadline, private_allowed))
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None, since requests reads a redirect's whole body, of any size, even if it doesn't follow the redirect."""
        return None


class _Adapter(HTTPAdapter):
    def __init__(self, deadline: RequestDeadline, private_allowed: bool) -> None:
        self._pools = {
            "http": partial(_HttpPool, deadline, private_allowed),
            "https": partial(_HttpsPool, deadline, private_allowed),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools  # pyright: ignore[reportAttributeAccessIssue]

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise socks_not_supported(host_of(proxy))
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


class _DeadlineMixin:
    """Base of both kinds of connections. `proxy`, `_dns_host` and `_tunnel_host` are urllib3's, from 1.26 to 2."""

    deadline: RequestDeadline
    private_allowed: bool
    _socket_copy: socket.socket | None = None
    _has_tunnel = False

    def _new_conn(self: Any) -> socket.socket:
        sock = _open_socket(
            self.deadline,
            self._proxy_host(),
            self._dns_host,
            self.port,
            self.socket_options or (),
            private_allowed=self.private_allowed,
        )
        self._socket_copy = self.deadline.add_socket(sock)
        return sock

    def connect(self: Any) -> None:
        self._has_tunnel = False
        host = self._tunnel_host or self.host
        try:
            super().connect()  # pyright: ignore[reportAttributeAccessIssue]
        except (Failure, Cancelled):
            raise
        except (OSError, ValueError, HTTPException, HTTPError) as fault:
            self.deadline.check()
            proxy = self._proxy_host()
            raise tls_failed(fault, host if self._has_tunnel or not proxy else proxy_name(proxy)) from None
        finally:
            # What was sent to a proxy and in a handshake is not part of the request.
            self.deadline.sent = False

    def _tunnel(self: Any) -> None:
        self.deadline.peer_name = proxy_name(self._proxy_host())
        try:
            super()._tunnel()  # pyright: ignore[reportAttributeAccessIssue]
        except (OSError, ValueError, HTTPException) as fault:
            self.deadline.check()
            raise tunnel_failed(fault, self._tunnel_host, self._proxy_host()) from None
        # Headers that were truncated by closing the socket look complete.
        self.deadline.check()
        self.deadline.peer_name = self._tunnel_host
        self._has_tunnel = True

    def send(self: Any, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.deadline.begin_sending()
        super().send(data)  # pyright: ignore[reportAttributeAccessIssue]

    def close(self: Any) -> None:
        super().close()  # pyright: ignore[reportAttributeAccessIssue]
        if self._socket_copy is not None:
            self.deadline.release_socket(self._socket_copy)
            self._socket_copy = None

    def _proxy_host(self: Any) -> str:
        """Return the proxy's host, empty without a proxy."""
        return self.proxy.host if self.proxy is not None else ""


class _HttpConnection(_DeadlineMixin, HTTPConnection):
    pass


class _HttpsConnection(_DeadlineMixin, HTTPSConnection):
    pass


class _DeadlinePool(HTTPConnectionPool):
    """Base of both kinds of pools. It passes the deadline and `private_allowed` to its connections."""

    def __init__(self, deadline: RequestDeadline, private_allowed: bool, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline = deadline
        self._private_allowed = private_allowed

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.deadline = self._deadline
        connection.private_allowed = self._private_allowed
        return connection


class _HttpPool(_DeadlinePool):
    ConnectionCls = _HttpConnection  # pyright: ignore[reportAssignmentType]  # its protocol is narrower than its own class


class _HttpsPool(_DeadlinePool, HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection  # pyright: ignore[reportAssignmentType]


def _open_socket(
    deadline: RequestDeadline, proxy: str, host: str, port: int, options: Sequence[Any], *, private_allowed: bool
) -> socket.socket:
    """Return a socket connected to `host`, which is the proxy's host if there is a proxy."""
    peer = proxy_name(proxy) if proxy else host
    deadline.peer_name = peer
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        deadline.check()
        raise name_not_resolved(peer) from None
    is_allowed = partial(
        is_allowed_address, host, loopback_allowed=deadline.loopback_allowed, private_allowed=private_allowed
    )
    allowed = [row for row in resolved if proxy or is_allowed(str(row[4][0]))]
    if not allowed:
        raise address_not_allowed(host, private_allowed=private_allowed)
    last_timed_out = False
    for family, kind, protocol, _, address in allowed:
        deadline.check()
        try:
            return _connected(deadline, socket.socket(family, kind, protocol), address, options)
        except OSError as fault:
            last_timed_out = isinstance(fault, TimeoutError)
    raise timed_out(peer, sent=False) if last_timed_out else not_connected(peer)


def _connected(deadline: RequestDeadline, sock: socket.socket, address: Any, options: Sequence[Any]) -> socket.socket:
    """Connect the socket and return it. Close it if that fails."""
    try:
        for option in options:
            sock.setsockopt(*option)
        _connect(deadline, sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(deadline: RequestDeadline, sock: socket.socket, address: Any) -> None:
    """Connect, polling the deadline. Raise OSError, TimeoutError after CONNECT_SECONDS."""
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
        end = time.monotonic() + CONNECT_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            while not selector.select(POLL_SECONDS):
                deadline.check()
                if time.monotonic() > end:
                    raise TimeoutError
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    sock.settimeout(READ_SECONDS)
