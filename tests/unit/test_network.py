# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the other side does, a request ends, in bounded time and bounded memory, and leaves no part of a file."""

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
from addon.service.net import connection, deadline
from addon.service.net import transport as net
from addon.service.net.body import CHUNK_SIZE
from addon.service.net.errors import ConnectionFailed, TemporaryFailure
from addon.service.net.retry_after import RETRY_AFTER_MAX, retry_after
from addon.service.net.transport import Transport

from .parts import Double, Quick, Service, until
from .wire import PATIENCE, Act, Authority, Wire, failure_of, goes_on, head, says, waits, wire

# These servers hang up after each answer; a client that isn't told would at times meet them doing so.
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
# The boxes of a whole mp4, as far as anyone looks at them here.
MP4 = b"\x00\x00\x00\x10ftypisom\x00\x00\x02\x00" + b"\x00\x00\x40\x08mdat" + bytes(16 * 1024)


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that is trusted."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    return authority


@pytest.fixture(autouse=True)
def alone(direct: None) -> Iterator[None]:
    """No proxy; and no thread of the network stays."""
    yield
    until(lambda: not [thread for thread in threading.enumerate() if "network" in thread.name])


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline comes soon, and bytes earn next to nothing."""
    monkeypatch.setattr(deadline, "RESPONSE_SECONDS", 0.3)
    monkeypatch.setattr(deadline, "BYTES_PER_SECOND_MIN", 1e9)


DRIPS = {
    "the status line": goes_on(b"", b"H"),
    "a header": goes_on(OK + b"X-A: ", b"a"),
    "the headers": goes_on(OK, b"X-A: a\r\n"),
    "its 100 Continue": goes_on(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": goes_on(OK + b"Content-Length: 9000\r\n\r\n", b"a"),
    "a body of no length": goes_on(OK + b"Connection: close\r\n\r\n", b"a"),
    "the body's chunks": goes_on(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "a chunk's length": goes_on(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "the trailers": goes_on(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: a\r\n"),
    "nothing": waits,
}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("act", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_meets_the_deadline(act: Act, tls: bool, transport: Quick, secure: Authority) -> None:
    with wire(act, secure.server("localhost") if tls else None) as server:
        began = time.monotonic()
        told = failure_of(lambda: transport.send("GET", server.secure_url if tls else server.url))
    assert time.monotonic() - began < PATIENCE / 2
    assert isinstance(told, TemporaryFailure)
    assert (told.code, told.may_be_done) == ("timeout", True)
    assert "in time" in told.message


@pytest.mark.usefixtures("hurried")
def test_an_upload_that_is_not_read_meets_the_deadline(transport: Quick, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with clip.open("wb") as file:
        file.truncate(64 * 1024**2)
    with wire(waits) as server:
        told = failure_of(lambda: transport.put_file(server.url, clip, {}, lambda done, total: None))
    assert told.code == "timeout"


@pytest.mark.usefixtures("hurried")
def test_a_handshake_that_hangs_meets_the_deadline(transport: Quick) -> None:
    with wire(waits) as server:
        told = failure_of(lambda: transport.send("POST", server.secure_url, json={}))
    assert isinstance(told, TemporaryFailure)
    assert (told.code, told.may_be_done) == ("timeout", False)


def test_a_slow_transfer_that_moves_may_take_its_time(
    transport: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "RESPONSE_SECONDS", 0.5)
    monkeypatch.setattr(deadline, "BYTES_PER_SECOND_MIN", 64 * 1024 / PATIENCE)
    mdat = 12 * 64 * 1024

    def whole(peer: socket.socket, server: Wire) -> None:
        head(peer, server)
        peer.sendall(OK + b"Content-Length: %d\r\n\r\n" % (mdat + 24) + MP4[:16] + (mdat + 8).to_bytes(4) + b"mdat")
        # What is measured is that it takes longer than the deadline of a request that does not move.
        for _ in range(12):
            server.over.wait(0.06)
            peer.sendall(bytes(64 * 1024))

    with wire(whole) as server:
        began = time.monotonic()
        transport.fetch(server.url, tmp_path / "result.mp4", lambda done, total: None)
    assert time.monotonic() - began > 0.5
    assert len(server.heads) == 1


@contextmanager
def full() -> Generator[Wire, None, None]:
    """A port at which connections neither come about nor are refused."""
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
            yield Wire(listener.getsockname()[1])
        finally:
            for sock in waiting:
                sock.close()


def test_a_connection_that_does_not_come_about_is_given_up(transport: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    with full() as server:
        told = failure_of(lambda: transport.send("POST", server.url, json={}))
    assert isinstance(told, TemporaryFailure)
    assert (told.code, told.may_be_done) == ("timeout", False)


@pytest.fixture
def patient() -> Generator[Transport, None, None]:
    made = Transport(threading.Event(), loopback_allowed=True)
    yield made
    made.close()


def ends_when_cancelled(transport: Transport, call: Callable[[], object], *, begun: Callable[[], object]) -> None:
    """Cancels when `begun`, from another thread; `call` must end at once, where nothing else would end it."""
    moments: list[float] = []

    def cancel() -> None:
        begun()
        moments.append(time.monotonic())
        transport.cancel.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        call()
    thread.join()
    # A look takes a tenth of a second; the rest is for a machine that is busy with other tests.
    assert time.monotonic() - moments[0] < 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("start", [b"", OK + b"Content-Length: 9\r\n\r\n1"], ids=["answer", "body"])
def test_a_cancel_ends_a_request_that_waits(start: bytes, tls: bool, patient: Transport, secure: Authority) -> None:
    with wire(goes_on(start, b"", PATIENCE), secure.server("localhost") if tls else None) as server:
        ends_when_cancelled(
            patient,
            lambda: patient.send("GET", server.secure_url if tls else server.url),
            begun=lambda: until(lambda: bool(server.heads)),
        )


def test_a_cancel_ends_an_upload_that_is_not_read(patient: Transport, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with clip.open("wb") as file:
        file.truncate(64 * 1024**2)
    with wire(waits) as server:
        ends_when_cancelled(
            patient,
            lambda: patient.put_file(server.url, clip, {}, lambda done, total: None),
            begun=lambda: until(lambda: server.connections > 0),
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cancel_ends_a_connection_that_does_not_come_about(scheme: str, patient: Transport) -> None:
    # Over TLS it does come about, and then nobody shakes hands.
    with full() if scheme == "http" else wire(waits) as server:
        url = server.url if scheme == "http" else server.secure_url
        before = len(threading.enumerate())
        ends_when_cancelled(
            patient,
            lambda: patient.send("POST", url, json={}, cancellable=False),
            begun=lambda: until(lambda: len(threading.enumerate()) > before + 1),
        )


def test_an_answer_that_must_be_heard_is_heard_in_spite_of_a_cancel(patient: Transport) -> None:
    def act(peer: socket.socket, server: Wire) -> None:
        head(peer, server)
        patient.cancel.set()
        # Three looks later the watch has had its chance.
        server.over.wait(3 * deadline.POLL_SECONDS)
        peer.sendall(OK + b"Content-Length: 2\r\n\r\n{}")

    with wire(act) as server:
        assert patient.send("POST", server.url, json={}, cancellable=False).body == b"{}"
        with pytest.raises(Cancelled):
            patient.send("POST", server.url, json={}, cancellable=False)
    assert len(server.heads) == 1


def test_many_requests_share_one_watch(patient: Transport) -> None:
    with wire(says(OK + b"Content-Length: 2\r\n\r\n{}")) as server:
        for _ in range(20):
            assert patient.send("GET", server.url).body == b"{}"
            assert len([thread for thread in threading.enumerate() if "network" in thread.name]) == 1


MB = 1024**2
ZEROS = gzip.compress(bytes(64 * MB))
PACKED = OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
FLOODS = {
    "announced": goes_on(OK + b"Content-Length: 1073741824\r\n\r\n", bytes(MB), 0),
    "unannounced": goes_on(OK + b"Connection: close\r\n\r\n", bytes(MB), 0),
    "chunked": goes_on(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + bytes(MB) + b"\r\n", 0),
    "a chunk's length": goes_on(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * MB, 0),
    "a status line": goes_on(b"HTTP/1.1 200 ", b"O" * MB, 0),
    "one header": goes_on(OK + b"X-A: ", b"a" * MB, 0),
    "headers": goes_on(OK, b"X-A: a\r\n" * 9999, 0),
    "packed": says(PACKED % (b"gzip", len(ZEROS)) + ZEROS),
    "packed twice": says(PACKED % (b"gzip, gzip", len(twice := gzip.compress(ZEROS))) + twice),
}


@pytest.mark.parametrize("act", FLOODS.values(), ids=FLOODS)
@pytest.mark.parametrize("status", [b"200 OK", b"302 Found\r\nLocation: /other"], ids=["200", "302"])
def test_a_flood_takes_no_memory(act: Act, status: bytes, transport: Quick) -> None:
    """As much as twice the largest body; a gigabyte is on offer."""

    def led(peer: socket.socket, server: Wire) -> None:
        act(_Replacing(peer, OK, b"HTTP/1.1 " + status + b"\r\n"), server)  # pyright: ignore[reportArgumentType]

    with wire(led) as server:
        tracemalloc.start()
        try:
            failure_of(lambda: transport.send("GET", server.url))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2.5 * net.BODY_BYTES_MAX


class _Replacing:
    """A socket that says `new` wherever it is told to say `old`."""

    def __init__(self, peer: socket.socket, old: bytes, new: bytes) -> None:
        self._peer, self._old, self._new = peer, old, new
        self.recv = peer.recv

    def sendall(self, data: bytes) -> None:
        self._peer.sendall(data.replace(self._old, self._new, 1))


def fetched(transport: Transport, server: Wire, folder: Path) -> Path:
    target = folder / "result.mp4"
    transport.fetch(server.url, target, lambda done, total: None)
    return target


def sized(body: bytes, headers: bytes = b"") -> bytes:
    return OK + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


PAGE = b"<html><body>Sign in</body></html>"
DEFLATED = zlib.compress(MP4)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NOT_WHOLE = {
    "shorter than told": (OK + b"Content-Length: 99999\r\n\r\n" + MP4, "connection"),
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
def test_what_does_not_come_whole_is_asked_for_again_and_leaves_nothing(
    answer: bytes, code: str, transport: Quick, tmp_path: Path
) -> None:
    with wire(says(answer)) as server:
        told = failure_of(lambda: fetched(transport, server, tmp_path))
    assert told.code == code
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
def test_what_no_repetition_mends_is_told_at_once(answer: bytes, transport: Quick, tmp_path: Path) -> None:
    with wire(says(answer)) as server:
        told = failure_of(lambda: fetched(transport, server, tmp_path))
    assert told.code == "bad_answer"
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
def test_what_comes_whole_is_kept_however_it_comes(answer: bytes, transport: Quick, tmp_path: Path) -> None:
    with wire(says(answer)) as server:
        assert fetched(transport, server, tmp_path).read_bytes() == MP4
    assert len(server.heads) == 1
    assert b"Accept-Encoding: identity" in server.heads[0]
    assert [file.name for file in tmp_path.iterdir()] == ["result.mp4"]


def test_what_follows_early_hints_is_not_the_answer_to_the_next_request(transport: Quick) -> None:
    def act(peer: socket.socket, server: Wire) -> None:
        if b"/first" in head(peer, server):
            peer.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            if head(peer, server):
                peer.sendall(sized(b'"first"'))
        else:
            peer.sendall(sized(b'"second"'))

    with wire(act) as server:
        base = f"http://127.0.0.1:{server.port}"
        assert failure_of(lambda: transport.send("GET", f"{base}/first")).code == "bad_answer"
        assert transport.send("GET", f"{base}/second").body == b'"second"'


def test_no_cookie_is_kept(transport: Quick) -> None:
    with wire(says(sized(b"{}", b"Set-Cookie: a=b; Path=/\r\n"))) as server:
        for _ in range(2):
            transport.send("GET", server.url)
    assert [sent for sent in server.heads if b"Cookie" in sent] == []


def test_a_full_disk_is_told_as_such_and_leaves_no_part(transport: Quick, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with wire(says(sized(MP4))) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            told = failure_of(lambda: fetched(transport, server, tmp_path))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert told.code == "files"
    assert f"can't be written to {tmp_path}: File too large" in told.message
    assert len(server.heads) == 1
    assert list(tmp_path.iterdir()) == []


class Broken(io.BytesIO):
    """A file on a disk that has gone."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


def test_a_clip_that_cannot_be_read_is_no_fault_of_the_network(
    transport: Quick, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Broken:
        return Broken()

    monkeypatch.setattr(Path, "open", broken)
    with wire(says(sized(b""))) as server:
        told = failure_of(lambda: transport.put_file(server.url, clip, {}, lambda done, total: None))
    assert told.code == "files"


def test_a_cancelled_download_leaves_nothing(transport: Quick, tmp_path: Path) -> None:
    with (
        wire(goes_on(OK + b"Content-Length: 999999\r\n\r\n" + bytes(2 * CHUNK_SIZE), b"")) as server,
        pytest.raises(Cancelled),
    ):
        transport.fetch(server.url, tmp_path / "result.mp4", lambda done, total: transport.cancel.set())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("told", "now", "seconds"),
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
def test_the_time_to_wait_is_read_in_every_form(told: str, now: str, seconds: float) -> None:
    assert retry_after({"Retry-After": told, "Date": now}) == seconds


def test_no_attempt_is_begun_past_the_stages_end(transport: Quick) -> None:
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


def test_a_forgotten_connection_may_be_freed_while_another_request_begins(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python frees what is forgotten at any line, also where the requests under way are written down."""
    start = threading.Thread.start

    def free_first(thread: threading.Thread) -> None:
        gc.collect()
        start(thread)

    def forget_one() -> None:
        forgotten = Transport(threading.Event(), loopback_allowed=True)
        Service(double.key, double.base_url, forgotten).call("GET", "/v1/model")
        # As a failed job's do that a log or a traceback holds: only the collector frees it.
        forgotten.itself = forgotten  # pyright: ignore[reportAttributeAccessIssue]

    def ask(done: threading.Event) -> None:
        # The one thread of the network has to have ended: the next request starts it anew.
        until(lambda: not [thread for thread in threading.enumerate() if "network" in thread.name])
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
