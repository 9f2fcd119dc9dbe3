# SPDX-License-Identifier: GPL-3.0-or-later
"""How a connection comes about: to allowed addresses alone, ended by its Line, its faults in plain words. No bpy.

requests and urllib3 do the rest. Whom a name leads to is seen to between looking it up and connecting to just that
address, so that no second look-up can lead elsewhere. With a proxy it is the proxy that looks up, and its own address may
be of any kind.

Proxies and certificates are those of requests: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; REQUESTS_CA_BUNDLE and
CURL_CA_BUNDLE in the place of certifi's authorities. It does not read SSL_CERT_FILE, nor the system's own store.
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
from .addresses import may_reach
from .deadline import LOOK_SECONDS, READ_SECONDS, RequestDeadline
from .errors import host_of, insecure, not_allowed, proxy_name, silent, socks, unconnected, unresolved, untunnelled

CONNECT_SECONDS = 10.0
"""For each of the addresses that a name has."""


def session(deadline: RequestDeadline, *, private_allowed: bool = False) -> requests.Session:
    """A session whose connections are the line's. It keeps no cookies, and looks at no redirect.

    A pool hands a connection to any request to its host, so what may go to private addresses has a session of its own.
    """
    made = _Session()
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        made.mount(scheme, _Adapter(deadline, private_allowed))
    return made


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: else requests would read a redirect's whole body, of whatever size, also when not to follow it."""
        return None


class _Adapter(HTTPAdapter):
    def __init__(self, deadline: RequestDeadline, private_allowed: bool) -> None:
        self._pools = {
            "http": partial(_PlainPool, deadline, private_allowed),
            "https": partial(_SecurePool, deadline, private_allowed),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools  # pyright: ignore[reportAttributeAccessIssue]

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise socks(host_of(proxy))
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


class _WithDeadline:
    """What both kinds of connections have of us. `proxy`, `_dns_host` and `_tunnel_host` are urllib3's, 1.26 to 2."""

    deadline: RequestDeadline
    private_allowed: bool
    _handle: socket.socket | None = None
    _tunnelled = False

    def _new_conn(self: Any) -> socket.socket:
        sock = _reach(
            self.deadline,
            self._via(),
            self._dns_host,
            self.port,
            self.socket_options or (),
            private_allowed=self.private_allowed,
        )
        self._handle = self.deadline.hold(sock)
        return sock

    def connect(self: Any) -> None:
        self._tunnelled = False
        host = self._tunnel_host or self.host
        try:
            super().connect()  # pyright: ignore[reportAttributeAccessIssue]
        except (Failure, Cancelled):
            raise
        except (OSError, ValueError, HTTPException, HTTPError) as fault:
            self.deadline.check()
            raise insecure(fault, host if self._tunnelled or not self._via() else proxy_name(self._via())) from None
        finally:
            # What a proxy and a handshake were told is no part of the request.
            self.deadline.sent = False

    def _tunnel(self: Any) -> None:
        self.deadline.peer = proxy_name(self._via())
        try:
            super()._tunnel()  # pyright: ignore[reportAttributeAccessIssue]
        except (OSError, ValueError, HTTPException) as fault:
            self.deadline.check()
            raise untunnelled(fault, self._tunnel_host, self._via()) from None
        # Headers that were cut off by hanging up look as if they had ended.
        self.deadline.check()
        self.deadline.peer = self._tunnel_host
        self._tunnelled = True

    def send(self: Any, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.deadline.begin_sending()
        super().send(data)  # pyright: ignore[reportAttributeAccessIssue]

    def close(self: Any) -> None:
        super().close()  # pyright: ignore[reportAttributeAccessIssue]
        if self._handle is not None:
            self.deadline.give_up(self._handle)
            self._handle = None

    def _via(self: Any) -> str:
        """The proxy's host; empty without one."""
        return self.proxy.host if self.proxy is not None else ""


class _Plain(_WithDeadline, HTTPConnection):
    pass


class _Secure(_WithDeadline, HTTPSConnection):
    pass


class _PoolWithDeadline(HTTPConnectionPool):
    """Its connections know the line that they are on, and where they may go."""

    def __init__(self, deadline: RequestDeadline, private_allowed: bool, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline = deadline
        self._private_allowed = private_allowed

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.deadline = self._deadline
        connection.private_allowed = self._private_allowed
        return connection


class _PlainPool(_PoolWithDeadline):
    ConnectionCls = _Plain  # pyright: ignore[reportAssignmentType]  # its protocol is narrower than its own class


class _SecurePool(_PoolWithDeadline, HTTPSConnectionPool):
    ConnectionCls = _Secure  # pyright: ignore[reportAssignmentType]


def _reach(
    deadline: RequestDeadline, proxy: str, host: str, port: int, options: Sequence[Any], *, private_allowed: bool
) -> socket.socket:
    """A socket that is connected to `host`, which is the proxy where there is one."""
    peer = proxy_name(proxy) if proxy else host
    deadline.peer = peer
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        deadline.check()
        raise unresolved(peer) from None
    may = partial(may_reach, host, loopback_allowed=deadline.loopback_allowed, private_allowed=private_allowed)
    allowed = [row for row in found if proxy or may(str(row[4][0]))]
    if not allowed:
        raise not_allowed(host, private_allowed=private_allowed)
    late = False
    for family, kind, protocol, _, address in allowed:
        deadline.check()
        try:
            return _connected(deadline, socket.socket(family, kind, protocol), address, options)
        except OSError as fault:
            late = isinstance(fault, TimeoutError)
    raise silent(peer, sent=False) if late else unconnected(peer)


def _connected(deadline: RequestDeadline, sock: socket.socket, address: Any, options: Sequence[Any]) -> socket.socket:
    try:
        for option in options:
            sock.setsockopt(*option)
        _connect(deadline, sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(deadline: RequestDeadline, sock: socket.socket, address: Any) -> None:
    sock.setblocking(False)
    fault = sock.connect_ex(address)
    if fault in (errno.EINPROGRESS, errno.EWOULDBLOCK):
        end = time.monotonic() + CONNECT_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            while not selector.select(LOOK_SECONDS):
                deadline.check()
                if time.monotonic() > end:
                    raise TimeoutError
        fault = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if fault:
        raise OSError(fault, os.strerror(fault))
    sock.settimeout(READ_SECONDS)
