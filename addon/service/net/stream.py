# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections below HTTP: TCP and TLS, whose every step ends with the RequestDeadline. No bpy."""

import errno
import io
import os
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .deadline import RequestDeadline
from .errors import not_connected, timed_out

SLICE_SECONDS = 0.1
"""Longest time for which a step blocks before the deadline is checked again."""
_BLOCK_BYTES = 64 * 1024

T = TypeVar("T")
AddressInfo = tuple[Any, Any, int, str, Any]
"""Row of `socket.getaddrinfo`."""


class Stream(io.RawIOBase):
    """What http.client uses of a socket. It closes it after each response, which must leave the connection open."""

    def receive(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end. Raise OSError, TimedOut, Cancelled."""
        raise NotImplementedError

    def send(self, data: memoryview) -> int:
        """Send the first bytes of `data` and return their number. Raise OSError, TimedOut, Cancelled."""
        raise NotImplementedError

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        block = self.receive(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        pass


class TcpStream(Stream):
    """TCP connection to the first of several addresses that accepts one."""

    def __init__(self, addresses: Iterable[AddressInfo], deadline: RequestDeadline) -> None:
        """Connect. Raise TemporaryFailure, Cancelled."""
        self._deadline = deadline
        failure = not_connected(deadline.peer)
        for family, kind, protocol, _, address in addresses:
            deadline.check()
            try:
                self._socket = connect(socket.socket(family, kind, protocol), address, deadline)
                return
            except OSError as fault:
                failure = timed_out(deadline.peer, sent=False) if isinstance(fault, TimeoutError) else failure
        raise failure

    def receive(self, size: int) -> bytes:
        return self._repeat(lambda: self._socket.recv(size))

    def send(self, data: memoryview) -> int:
        return self._repeat(lambda: self._socket.send(data))

    def _repeat(self, step: Callable[[], T]) -> T:
        end = time.monotonic() + self._deadline.bounds.read_seconds
        while True:
            self._deadline.check()
            try:
                return step()
            except TimeoutError as fault:
                # One with a number is ETIMEDOUT, from the system.
                if fault.errno or time.monotonic() > end:
                    raise timed_out(self._deadline.peer, sent=self._deadline.sent) from None

    def has_input(self) -> bool:
        """Return whether something can be read: on an idle connection, that the server has closed it."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            return bool(selector.select(0))

    def hang_up(self) -> None:
        self._socket.close()


def connect(sock: socket.socket, address: Any, deadline: RequestDeadline) -> socket.socket:
    """Connect the socket and return it. Raise OSError, TimedOut, Cancelled, after which it is closed."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            end = time.monotonic() + deadline.bounds.connect_seconds
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_WRITE)
                while not selector.select(SLICE_SECONDS):
                    deadline.check()
                    if time.monotonic() > end:
                        raise TimeoutError
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        sock.settimeout(SLICE_SECONDS)
    except BaseException:
        sock.close()
        raise
    return sock


class TlsStream(Stream):
    """TLS over another stream: TCP, or the TLS of a proxy, over which no SSLSocket could go."""

    def __init__(self, below: Stream, context: ssl.SSLContext, host: str) -> None:
        """Shake hands. Raise OSError, ValueError for an invalid host, TimedOut, Cancelled."""
        self._below = below
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=host.removesuffix("."))
        self._repeat(self._tls.do_handshake)

    def receive(self, size: int) -> bytes:
        try:
            return self._repeat(lambda: self._tls.read(size))
        except ssl.SSLEOFError:
            # Many servers close the connection without notice. Whether the response is complete is for HTTP to say.
            return b""

    def send(self, data: memoryview) -> int:
        return self._repeat(lambda: self._tls.write(data))

    def _repeat(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._below.sendall(self._to_send.read())
                if block := self._below.receive(_BLOCK_BYTES):
                    self._received.write(block)
                else:
                    self._received.write_eof()
            else:
                self._below.sendall(self._to_send.read())
                return result
