# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that every request ends in bounded time and memory, and leaves no incomplete file."""

import errno
import gc
import gzip
import io
import resource
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from addon.failure import Cancelled, Failure
from addon.service.eachlabs.results import download
from addon.service.net import stream
from addon.service.net import transport as net
from addon.service.net.deadline import BOUNDS, Bounds
from addon.service.net.errors import ConnectionFailed, TemporaryFailure
from addon.service.net.response import BLOCK_BYTES, RETRY_AFTER_MAX, Response
from addon.service.net.transport import Transport

from .helpers import Double, InstantTransport, Service, wait_until
from .raw_server import (
    TIMEOUT_SECONDS,
    Authority,
    Behavior,
    RawServer,
    failure_of,
    never_respond,
    raw_server,
    read_head,
    respond,
    respond_endlessly,
)

pytestmark = pytest.mark.oldest

# These servers close the connection after each response, and a client that does not know might reuse it.
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
# The boxes of a complete mp4, as far as they are checked.
MP4 = b"\x00\x00\x00\x10ftypisom\x00\x00\x02\x00" + b"\x00\x00\x40\x08mdat" + bytes(16 * 1024)


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Trusted certificate authority."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    return authority


@pytest.fixture(autouse=True)
def alone(direct: None) -> Iterator[None]:
    """Use no proxy, and check that the watchdog thread ends."""
    yield
    wait_until(lambda: not [thread for thread in threading.enumerate() if "network" in thread.name])


@pytest.fixture
def short_timeouts(transport: InstantTransport) -> None:
    """Shorten the deadline, and extend it hardly at all for transferred bytes."""
    transport.bounds = Bounds(response_seconds=0.3, bytes_per_second_min=1e9)


DRIPS = {
    "the status line": respond_endlessly(b"", b"H"),
    "a header": respond_endlessly(OK + b"X-A: ", b"a"),
    "the headers": respond_endlessly(OK, b"X-A: a\r\n"),
    "its 100 Continue": respond_endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": respond_endlessly(OK + b"Content-Length: 9000\r\n\r\n", b"a"),
    "a body of no length": respond_endlessly(OK + b"Connection: close\r\n\r\n", b"a"),
    "the body's chunks": respond_endlessly(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "a chunk's length": respond_endlessly(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "the trailers": respond_endlessly(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: a\r\n"),
    "nothing": never_respond,
}


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("act", DRIPS.values(), ids=DRIPS)
def test_a_slow_drip_of_bytes_ends_at_the_deadline(
    act: Behavior, tls: bool, transport: InstantTransport, secure: Authority
) -> None:
    with raw_server(act, secure.server("localhost") if tls else None) as server:
        began = time.monotonic()
        failure = failure_of(lambda: transport.send("GET", server.secure_url if tls else server.url))
    assert time.monotonic() - began < TIMEOUT_SECONDS / 2
    assert isinstance(failure, TemporaryFailure)
    assert (failure.code, failure.may_be_done) == ("timeout", True)
    assert "in time" in failure.message


@pytest.mark.usefixtures("short_timeouts")
def test_an_upload_that_is_not_read_ends_at_the_deadline(transport: InstantTransport, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with clip.open("wb") as file:
        file.truncate(64 * 1024**2)
    with raw_server(never_respond) as server:
        failure = failure_of(lambda: transport.put_file(server.url, clip, {}, lambda done, total: None))
    assert failure.code == "timeout"


@pytest.mark.usefixtures("short_timeouts")
def test_a_handshake_that_hangs_ends_at_the_deadline(transport: InstantTransport) -> None:
    with raw_server(never_respond) as server:
        failure = failure_of(lambda: transport.send("POST", server.secure_url, json={}))
    assert isinstance(failure, TemporaryFailure)
    assert (failure.code, failure.may_be_done) == ("timeout", False)


def test_a_slow_transfer_that_moves_may_take_its_time(transport: InstantTransport, tmp_path: Path) -> None:
    transport.bounds = Bounds(response_seconds=0.5, bytes_per_second_min=64 * 1024 / TIMEOUT_SECONDS)
    mdat = 12 * 64 * 1024

    def whole(peer: socket.socket, server: RawServer) -> None:
        read_head(peer, server)
        peer.sendall(OK + b"Content-Length: %d\r\n\r\n" % (mdat + 24) + MP4[:16] + (mdat + 8).to_bytes(4) + b"mdat")
        # It takes longer than the deadline of a request without progress.
        for _ in range(12):
            server.stopped.wait(0.06)
            peer.sendall(bytes(64 * 1024))

    with raw_server(whole) as server:
        began = time.monotonic()
        download(transport, server.url, tmp_path / "result.mp4", lambda done, total: None)
    assert time.monotonic() - began > 0.5
    assert len(server.heads) == 1


def test_a_slow_upload_that_moves_may_take_its_time(transport: InstantTransport, tmp_path: Path) -> None:
    transport.bounds = Bounds(response_seconds=1.0, bytes_per_second_min=64 * 1024 / TIMEOUT_SECONDS)
    clip = tmp_path / "clip.mp4"
    size = 16 * 1024**2
    clip.write_bytes(bytes(size))

    def slow(peer: socket.socket, server: RawServer) -> None:
        left = size - len(read_head(peer, server).partition(b"\r\n\r\n")[2])
        for pause in [0.15] * 10 + [0.0] * size:
            server.stopped.wait(pause)
            left -= len(peer.recv(min(left, 1024**2)))
            if not left:
                break
        peer.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    with raw_server(slow) as server:
        began = time.monotonic()
        assert transport.put_file(server.url, clip, {}, lambda done, total: None).body == b"{}"
    assert time.monotonic() - began > 1


def test_a_server_that_refuses_an_upload_before_its_end_is_heard(transport: InstantTransport, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(16 * 1024**2))
    with raw_server(respond(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")) as server:
        assert transport.put_file(server.url, clip, {}, lambda done, total: None).status == 413


@contextmanager
def full() -> Generator[RawServer, None, None]:
    """Yield a port whose connections are neither accepted nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting: list[socket.socket] = []
        try:
            for _ in range(4):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
                waiting.append(sock)
            yield RawServer(listener.getsockname()[1])
        finally:
            for sock in waiting:
                sock.close()


def test_a_connection_that_does_not_come_about_is_given_up(transport: InstantTransport) -> None:
    transport.bounds = Bounds(connect_seconds=0.2)
    with full() as server:
        began = time.monotonic()
        told = failure_of(lambda: transport.send("POST", server.url, json={}))
    assert time.monotonic() - began < TIMEOUT_SECONDS / 2
    assert isinstance(told, TemporaryFailure)
    assert (told.code, told.may_be_done) == ("timeout", False)


@pytest.fixture
def patient() -> Generator[Transport, None, None]:
    made = Transport(threading.Event(), loopback_allowed=True)
    yield made
    made.close()


def check_cancel_ends(transport: Transport, call: Callable[[], object], *, when: Callable[[], object]) -> None:
    """Cancel from another thread after `when` returns. Check that `call` then ends at once; nothing else would end it."""
    moments: list[float] = []

    def cancel() -> None:
        when()
        moments.append(time.monotonic())
        transport.cancel.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        call()
    thread.join()
    # A poll takes 0.1 s; the rest is for a machine that is busy with other tests.
    assert time.monotonic() - moments[0] < 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("start", [b"", OK + b"Content-Length: 9\r\n\r\n1"], ids=["answer", "body"])
def test_a_cancel_ends_a_request_that_waits(start: bytes, tls: bool, patient: Transport, secure: Authority) -> None:
    with raw_server(respond_endlessly(start, b"", TIMEOUT_SECONDS), secure.server("localhost") if tls else None) as server:
        check_cancel_ends(
            patient,
            lambda: patient.send("GET", server.secure_url if tls else server.url),
            when=lambda: wait_until(lambda: bool(server.heads)),
        )


def test_a_cancel_ends_an_upload_that_is_not_read(patient: Transport, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with clip.open("wb") as file:
        file.truncate(64 * 1024**2)
    with raw_server(never_respond) as server:
        check_cancel_ends(
            patient,
            lambda: patient.put_file(server.url, clip, {}, lambda done, total: None),
            when=lambda: wait_until(lambda: server.connections > 0),
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cancel_ends_a_connection_attempt(scheme: str, patient: Transport) -> None:
    # With TLS, the connection is made, but there is no handshake.
    with full() if scheme == "http" else raw_server(never_respond) as server:
        url = server.url if scheme == "http" else server.secure_url
        check_cancel_ends(
            patient,
            lambda: patient.send("POST", url, json={}, cancellable=False),
            # The server does not see a connection attempt, which begins at once.
            when=lambda: time.sleep(0.3),
        )


def test_a_cancel_does_not_interrupt_an_uncancellable_request(patient: Transport) -> None:
    def act(peer: socket.socket, server: RawServer) -> None:
        read_head(peer, server)
        patient.cancel.set()
        # Three looks later the client has had its chance.
        server.stopped.wait(3 * stream.SLICE_SECONDS)
        peer.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    with raw_server(act) as server:
        assert patient.send("POST", server.url, json={}, cancellable=False).body == b"{}"
        with pytest.raises(Cancelled):
            patient.send("POST", server.url, json={}, cancellable=False)
    assert len(server.heads) == 1


def test_a_cancel_is_no_failure_of_the_connection_that_ends_with_it(patient: Transport) -> None:
    def act(peer: socket.socket, server: RawServer) -> None:
        read_head(peer, server)
        patient.cancel.set()

    with raw_server(act) as server, pytest.raises(Cancelled):
        patient.send("GET", server.url)


def test_requests_start_no_thread(patient: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start, own = threading.Thread.start, threading.current_thread()

    def note(thread: threading.Thread) -> None:
        started.extend([thread] if threading.current_thread() is own else [])
        start(thread)

    with raw_server(respond(OK + b"Content-Length: 2\r\n\r\n{}")) as server:
        monkeypatch.setattr(threading.Thread, "start", note)
        for _ in range(20):
            assert patient.send("GET", server.url).body == b"{}"
    assert started == []


MB = 1024**2
ZEROS = gzip.compress(bytes(64 * MB))
PACKED = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
FLOODS = {
    "announced": respond_endlessly(OK + b"Content-Length: 1073741824\r\n\r\n", bytes(MB), 0),
    "unannounced": respond_endlessly(OK + b"Connection: close\r\n\r\n", bytes(MB), 0),
    "chunked": respond_endlessly(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + bytes(MB) + b"\r\n", 0),
    "a chunk's length": respond_endlessly(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * MB, 0),
    "a status line": respond_endlessly(b"HTTP/1.1 200 ", b"O" * MB, 0),
    "one header": respond_endlessly(OK + b"X-A: ", b"a" * MB, 0),
    "headers": respond_endlessly(OK, b"X-A: a\r\n" * 9999, 0),
    "packed": respond(PACKED % (b"gzip", len(ZEROS)) + ZEROS),
    "packed twice": respond(PACKED % (b"gzip, gzip", len(twice := gzip.compress(ZEROS))) + twice),
}


@pytest.mark.parametrize("act", FLOODS.values(), ids=FLOODS)
@pytest.mark.parametrize("status", [b"200 OK", b"302 Found\r\nLocation: /other"], ids=["200", "302"])
def test_an_endless_response_needs_little_memory(act: Behavior, status: bytes, transport: InstantTransport) -> None:
    """At most about twice the largest body is allocated, of a gigabyte that is sent."""

    def redirect(peer: socket.socket, server: RawServer) -> None:
        act(_Replacing(peer, OK, b"HTTP/1.1 " + status + b"\r\n"), server)  # pyright: ignore[reportArgumentType]

    with raw_server(redirect) as server:
        tracemalloc.start()
        try:
            failure_of(lambda: transport.send("GET", server.url))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2.5 * BOUNDS.body_bytes_max


class _Replacing:
    """Socket that sends `new` in the place of `old`."""

    def __init__(self, peer: socket.socket, old: bytes, new: bytes) -> None:
        self._peer, self._old, self._new = peer, old, new
        self.recv = peer.recv

    def sendall(self, data: bytes) -> None:
        self._peer.sendall(data.replace(self._old, self._new, 1))


def fetched(transport: Transport, server: RawServer, folder: Path) -> Path:
    target = folder / "result.mp4"
    download(transport, server.url, target, lambda done, total: None)
    return target


def sized(body: bytes, headers: bytes = b"") -> bytes:
    return OK + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


PAGE = b"<html><body>Sign in</body></html>"
DEFLATED = zlib.compress(MP4)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NOT_WHOLE = {
    "shorter than its Content-Length": (OK + b"Content-Length: 99999\r\n\r\n" + MP4, "connection"),
    "no length, cut short": (OK + b"\r\n" + MP4[:-1], "connection"),
    "a chunk cut short": (CHUNKED + b"9000\r\n" + MP4, "connection"),
    "no last chunk": (CHUNKED + b"10\r\n" + MP4[:16] + b"\r\n", "connection"),
    "a chunk of no length": (CHUNKED + b"zz\r\n" + MP4, "connection"),
    "packed, cut short": (sized(DEFLATED[:-9], b"Content-Encoding: deflate\r\n"), "connection"),
    "not packed after all": (sized(MP4, b"Content-Encoding: gzip\r\n"), "connection"),
    "headers cut short": (OK + b"Content-Le", "bad_answer"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "connection"),
    "two lengths": (OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n" + MP4, "connection"),
    "nothing": (b"", "connection"),
    "an empty file": (sized(b""), "bad_answer"),
    "a page": (sized(PAGE, b"Content-Type: text/html\r\n"), "bad_answer"),
    "a page that says it is a video": (sized(PAGE, b"Content-Type: video/mp4\r\n"), "bad_answer"),
    "an error as JSON": (sized(b'{"error": "gone"}'), "bad_answer"),
    "103": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + sized(MP4), "bad_answer"),
}


@pytest.mark.parametrize(("answer", "code"), NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_an_incomplete_download_is_retried_and_leaves_nothing(
    answer: bytes, code: str, transport: InstantTransport, tmp_path: Path
) -> None:
    with raw_server(respond(answer)) as server:
        failure = failure_of(lambda: fetched(transport, server, tmp_path))
    assert failure.code == code
    assert len(server.heads) == net.ATTEMPTS
    assert list(tmp_path.iterdir()) == []


FINAL = {
    "packed in an odd way": sized(MP4, b"Content-Encoding: br\r\n"),
    "packed twice": sized(MP4, b"Content-Encoding: gzip, gzip\r\n"),
    "announced too large": OK + b"Content-Length: 99999999999\r\n\r\n",
    "announced beyond measure": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "206": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\na",
    "300": b"HTTP/1.1 300 Multiple Choices\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
    "a redirect to nowhere": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "a redirect to no address": b"HTTP/1.1 302 Found\r\nLocation: https://[bad/\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", FINAL.values(), ids=FINAL)
def test_a_final_failure_is_not_retried(answer: bytes, transport: InstantTransport, tmp_path: Path) -> None:
    with raw_server(respond(answer)) as server:
        failure = failure_of(lambda: fetched(transport, server, tmp_path))
    assert failure.code == "bad_answer"
    assert len(server.heads) == 1
    assert list(tmp_path.iterdir()) == []


WHOLE = {
    "a length": sized(MP4),
    "no length": OK + b"\r\n" + MP4,
    "chunks": CHUNKED + b"10\r\n" + MP4[:16] + b"\r\n%x\r\n" % (len(MP4) - 16) + MP4[16:] + b"\r\n0\r\n\r\n",
    "gzip": sized(packed := gzip.compress(MP4), b"Content-Encoding: gzip\r\n"),
    "deflate": sized(DEFLATED, b"Content-Encoding: deflate\r\n"),
    "identity": sized(MP4, b"Content-Encoding: identity\r\n"),
    "a length that is none": OK + b"Content-Length: abc\r\n\r\n" + MP4,
    "a length below nothing": OK + b"Content-Length: -5\r\n\r\n" + MP4,
    "an odd type": sized(MP4, b"Content-Type: application/octet-stream\r\n"),
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
def test_a_complete_download_is_kept_in_every_encoding(answer: bytes, transport: InstantTransport, tmp_path: Path) -> None:
    with raw_server(respond(answer)) as server:
        assert fetched(transport, server, tmp_path).read_bytes() == MP4
    assert len(server.heads) == 1
    assert b"Accept-Encoding: identity" in server.heads[0]
    assert [file.name for file in tmp_path.iterdir()] == ["result.mp4"]


def test_early_hints_are_not_followed_by_a_wrong_response(transport: InstantTransport) -> None:
    def act(peer: socket.socket, server: RawServer) -> None:
        if b"/first" in read_head(peer, server):
            peer.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            if read_head(peer, server):
                peer.sendall(sized(b'"first"'))
        else:
            peer.sendall(sized(b'"second"'))

    with raw_server(act) as server:
        base = f"http://127.0.0.1:{server.port}"
        assert failure_of(lambda: transport.send("GET", f"{base}/first")).code == "bad_answer"
        assert transport.send("GET", f"{base}/second").body == b'"second"'


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_requests_to_one_host_share_a_connection(tls: bool, transport: InstantTransport, secure: Authority) -> None:
    def act(peer: socket.socket, server: RawServer) -> None:
        while read_head(peer, server):
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw_server(act, secure.server("localhost") if tls else None) as server:
        for _ in range(5):
            assert transport.send("GET", server.secure_url if tls else server.url).body == b"{}"
    assert server.connections == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_was_closed_is_opened_again(tls: bool, transport: InstantTransport, secure: Authority) -> None:
    answered, hung_up = threading.Semaphore(0), threading.Semaphore(0)

    def act(peer: socket.socket, server: RawServer) -> None:
        read_head(peer, server)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        answered.acquire(timeout=TIMEOUT_SECONDS)
        peer.shutdown(socket.SHUT_RDWR)
        hung_up.release()

    with raw_server(act, secure.server("localhost") if tls else None) as server:
        for _ in range(3):
            assert transport.send("GET", server.secure_url if tls else server.url).body == b"{}"
            answered.release()
            assert hung_up.acquire(timeout=TIMEOUT_SECONDS)
            time.sleep(0.05)
    assert server.connections == 3


@pytest.mark.parametrize("headers", [b"Content-Encoding: gzip\r\n", b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n"])
def test_the_request_of_an_undecodable_response_may_be_done(headers: bytes, transport: InstantTransport) -> None:
    with raw_server(respond(sized(gzip.compress(b"{}")[:-1], headers))) as server:
        told = failure_of(lambda: transport.send("POST", server.url, json={}))
    assert isinstance(told, TemporaryFailure)
    assert (told.code, told.may_be_done) == ("connection" if headers.count(b"gzip") == 1 else "bad_answer", True)


def test_no_cookie_is_kept(transport: InstantTransport) -> None:
    with raw_server(respond(sized(b"{}", b"Set-Cookie: a=b; Path=/\r\n"))) as server:
        for _ in range(2):
            transport.send("GET", server.url)
    assert [sent for sent in server.heads if b"Cookie" in sent] == []


def test_a_full_disk_is_reported_and_leaves_no_partial_file(transport: InstantTransport, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with raw_server(respond(sized(MP4))) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            failure = failure_of(lambda: fetched(transport, server, tmp_path))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert failure.code == "files"
    assert f"can't be written to {tmp_path}: File too large" in failure.message
    assert len(server.heads) == 1
    assert list(tmp_path.iterdir()) == []


class Broken(io.BytesIO):
    """File on a disk that was removed."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


def test_an_unreadable_clip_is_no_network_error(
    transport: InstantTransport, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Broken:
        return Broken()

    monkeypatch.setattr(Path, "open", broken)
    with raw_server(respond(sized(b""))) as server:
        failure = failure_of(lambda: transport.put_file(server.url, clip, {}, lambda done, total: None))
    assert failure.code == "files"


def test_a_cancelled_download_leaves_nothing(transport: InstantTransport, tmp_path: Path) -> None:
    with (
        raw_server(respond_endlessly(OK + b"Content-Length: 999999\r\n\r\n" + bytes(2 * BLOCK_BYTES), b"")) as server,
        pytest.raises(Cancelled),
    ):
        download(transport, server.url, tmp_path / "result.mp4", lambda done, total: transport.cancel.set())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "now", "seconds"),
    [
        ("7", "", 7),
        ("1.5", "", 1.5),
        ("999999", "", RETRY_AFTER_MAX),
        ("1e999", "", 0),
        ("nan", "", 0),
        ("-5", "", 0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 30),
        ("Wed, 21 Oct 2026 09:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", RETRY_AFTER_MAX),
        ("Wed, 21 Oct 2026 07:00:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "soon", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "", RETRY_AFTER_MAX),
        ("Wed, 99 Oct 99999 07:28:30 GMT", "", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", "", 0),
        ("soon", "", 0),
        ("", "", 0),
    ],
)
def test_retry_after_is_read_in_every_form(value: str, now: str, seconds: float) -> None:
    assert Response(503, {"Retry-After": value, "Date": now}, b"").retry_after == seconds


def test_no_attempt_begins_after_the_time_limit(transport: InstantTransport) -> None:
    tries: list[int] = []

    def attempt() -> None:
        tries.append(len(tries))
        raise ConnectionFailed(f"Try {len(tries)} failed.", retry_after=40)

    with pytest.raises(Failure, match="Try 1 failed"):
        transport.retry(attempt, attempts=99, seconds=30)
    assert transport.waited == []
    with pytest.raises(Failure, match="Try 6 failed"):
        transport.retry(attempt)
    assert len(transport.waited) == net.ATTEMPTS - 1


def test_a_connection_may_be_garbage_collected_while_another_request_begins(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python may collect garbage at any line, also while the set of current requests is changed."""
    start = threading.Thread.start

    def free_first(thread: threading.Thread) -> None:
        gc.collect()
        start(thread)

    def forget_one() -> None:
        forgotten = Transport(threading.Event(), loopback_allowed=True)
        Service(double.key, double.base_url, forgotten).call("GET", "/v1/model")
        # As with a failed job's connection that is held by a traceback: only the garbage collector frees it.
        forgotten.itself = forgotten  # pyright: ignore[reportAttributeAccessIssue]

    def ask(done: threading.Event) -> None:
        # The watchdog thread must have ended, so that the next request starts a new one.
        wait_until(lambda: not [thread for thread in threading.enumerate() if "network" in thread.name])
        monkeypatch.setattr(threading.Thread, "start", free_first)
        with closing(Transport(threading.Event(), loopback_allowed=True)) as transport:
            Service(double.key, double.base_url, transport).call("GET", "/v1/model")
        done.set()

    gc.collect()
    gc.disable()
    try:
        forget_one()
        done = threading.Event()
        asking = threading.Thread(target=ask, args=(done,), daemon=True)
        asking.start()
        assert done.wait(10)
    finally:
        gc.enable()
