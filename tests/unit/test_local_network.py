# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that URLs from the preferences may lead into the local network, and URLs from a server's response may not.

Names and addresses of the local network are looked up as such here, and then lead to a server on loopback.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Cancelled, Failure
from addon.service.eachlabs.results import download
from addon.service.net import stream
from addon.service.net.addresses import check_url, is_allowed_address
from addon.service.net.deadline import Bounds
from addon.service.net.errors import TemporaryFailure
from addon.service.net.transport import Progress, Transport
from addon.service.storage import Published, Storage
from addon.service.storage.eachlabs import EachlabsStorage
from addon.service.storage.given_url import GivenUrlConfig
from addon.service.storage.http_put import HttpPutConfig
from addon.service.storage.s3 import S3Config

from .helpers import InstantTransport, Service, check_storage, no_callbacks
from .raw_server import KEY, Authority, Behavior, RawServer, failure_of, never_respond, raw_server

pytestmark = pytest.mark.oldest

NAS, CDN = "nas.example", "cdn.example"
PRIVATE, PUBLIC = "192.168.1.5", "8.8.8.8"
ADDRESSES = {NAS: PRIVATE, CDN: PUBLIC}
NEVER = [
    *("169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"),
    *("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "100.100.100.200", "100.64.0.1"),
    *("0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1", "::", "ff02::1", "2001:db8::1"),
    *("127.0.0.1", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::"),
]


class StrictTransport(InstantTransport):
    """Transport as in production: connections to this machine are not allowed."""

    def __init__(self, cancel: threading.Event | None = None) -> None:
        super().__init__(cancel, loopback_allowed=False)


@pytest.fixture
def field() -> Iterator[StrictTransport]:
    made = StrictTransport()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that were connected to; each connection goes to the same port of this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    seen: list[str] = []
    real: Callable[..., socket.socket] = stream.connect

    def found(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        address = ADDRESSES.get(host, host)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    def connected(sock: socket.socket, address: tuple[str, int], deadline: object) -> socket.socket:
        seen.append(address[0])
        sock.close()
        return real(socket.socket(), ("127.0.0.1", address[1]), deadline)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(stream, "connect", connected)
    return seen


@pytest.fixture
def context(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    return authority.server(NAS, CDN, PRIVATE)


def file_server(files: dict[bytes, bytes], location: str = "") -> Behavior:
    """Return a server that stores, sends and deletes files over persistent connections; `location` redirects a GET."""

    def answer(method: bytes, path: bytes, body: bytes) -> bytes:
        if method == b"PUT":
            files[path] = body
            return b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
        if method == b"DELETE":
            found = files.pop(path, None) is not None
            return b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % (b"200 OK" if found else b"404 Not Found")
        if location:
            return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % location.encode()
        if path not in files:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(files[path]), files[path])

    def act(sock: socket.socket, server: RawServer) -> None:
        came = b""
        while True:
            while b"\r\n\r\n" not in came:
                if not (block := sock.recv(65536)):
                    return
                came += block
            head, _, came = came.partition(b"\r\n\r\n")
            server.heads.append(head)
            method, target = head.split()[:2]
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            length = int(lengths[0].partition(b":")[2]) if lengths else 0
            while len(came) < length:
                came += sock.recv(65536)
            sock.sendall(answer(method, target.partition(b"?")[0], came[:length]))
            came = came[length:]

    return act


def put_config(host: str, server: RawServer, public: str = NAS) -> HttpPutConfig:
    return HttpPutConfig(f"https://{host}:{server.port}/{{name}}", f"https://{public}:{server.port}/{{name}}")


@contextmanager
def local_storage(context: ssl.SSLContext, files: dict[bytes, bytes], location: str = "") -> Generator[RawServer]:
    with raw_server(file_server(files, location), context) as server:
        yield server


def service_over(transport: Transport) -> Service:
    return Service(KEY, "https://api.example", transport)


@pytest.mark.parametrize("host", [NAS, PRIVATE])
def test_a_storage_in_the_local_network_stores_a_clip_and_deletes_it(
    host: str, field: StrictTransport, context: ssl.SSLContext, clip: Path, reached: list[str]
) -> None:
    files: dict[bytes, bytes] = {}
    with local_storage(context, files) as server:
        storage = put_config(host, server).open(service_over(field), field)
        published = storage.publish(clip, *no_callbacks)
        assert list(files.values()) == [clip.read_bytes()]
        storage.delete(published)
    assert (files, set(reached)) == ({}, {PRIVATE})


def bucket(server: RawServer) -> S3Config:
    return S3Config(f"https://{NAS}:{server.port}", "media", access_key="key", secret_key="word")


@pytest.mark.parametrize("config", [lambda server: put_config(NAS, server), bucket], ids=["HTTP PUT", "S3"])
def test_test_connection_reads_back_at_a_public_name_that_this_network_resolves_to_a_private_address(
    config: Callable[[RawServer], Any], field: StrictTransport, context: ssl.SSLContext, reached: list[str]
) -> None:
    with local_storage(context, {}) as server:
        storage: Storage = config(server).open(service_over(field), field)
        assert check_storage(storage, field) == f"Uploaded, read back from {NAS} and deleted."
    assert set(reached) == {PRIVATE}


def test_a_clip_url_may_resolve_to_a_private_address(field: StrictTransport, context: ssl.SSLContext, clip: Path) -> None:
    with local_storage(context, {b"/clip.mp4": clip.read_bytes()}) as server:
        config = GivenUrlConfig(f"https://{NAS}:{server.port}/clip.mp4")
        assert check_storage(config.open(service_over(field), field), field) == f"{NAS} responds with an mp4 video."


@pytest.mark.parametrize("host", [NAS, PRIVATE])
def test_the_service_may_be_reached_through_the_local_network(
    host: str, field: StrictTransport, context: ssl.SSLContext
) -> None:
    with local_storage(context, {b"/v1/model": b'{"slug": "mmaudio"}'}) as server:
        service = Service(KEY, f"https://{host}:{server.port}", field)
        assert service.call("GET", "/v1/model") == {"slug": "mmaudio"}


class FixedUrlClient:
    """Client whose upload and public URL are `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return {"id": "7", "presigned_url": self.url, "public_url": self.url} if method == "POST" else {}


def presigned(transport: Transport, url: str, clip: Path) -> object:
    tickets: Any = FixedUrlClient(url)
    return EachlabsStorage(tickets, transport).publish(clip, *no_callbacks)


def read_back(transport: Transport, url: str, clip: Path) -> object:
    """Read a URL that Eachlabs returned, as Test Connection does."""

    class Named(EachlabsStorage):
        def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
            return Published("7", url)

    tickets: Any = FixedUrlClient(url)
    return check_storage(Named(tickets, transport), transport)


NAMED_BY_A_SERVER = {
    "a result": lambda transport, url, clip: download(
        transport, url, clip.with_name("result.mp4"), lambda done, total: None
    ),
    "a presigned upload": presigned,
    "an address of Eachlabs that is read back": read_back,
}


@pytest.mark.parametrize("before", [False, True], ids=["", "right after a request that may go there"])
@pytest.mark.parametrize("host", [NAS, PRIVATE])
@pytest.mark.parametrize("ask", NAMED_BY_A_SERVER.values(), ids=NAMED_BY_A_SERVER)
def test_a_url_from_a_server_may_not_lead_into_the_local_network(
    *,
    ask: Callable[[Transport, str, Path], object],
    host: str,
    before: bool,
    field: StrictTransport,
    context: ssl.SSLContext,
    clip: Path,
    reached: list[str],
) -> None:
    url_path = "/result.mp4"
    with local_storage(context, {url_path.encode(): clip.read_bytes()}) as server:
        url = f"https://{host}:{server.port}{url_path}"
        if before:
            # Its connection stays open, and is to the same host.
            assert field.send("DELETE", f"https://{host}:{server.port}/a", private_allowed=True).status == 404
        failure = failure_of(lambda: ask(field, url, clip))
        assert (len(server.heads), server.connections) == (int(before), int(before))
    assert (failure.code, isinstance(failure, TemporaryFailure)) == ("unsafe_url", False)
    assert "not public" in failure.message or "not a public" in failure.message
    assert reached == [PRIVATE] * before


@pytest.mark.parametrize("host", [NAS, PRIVATE])
def test_a_redirect_may_not_lead_into_the_local_network_not_even_from_within_it(
    host: str, field: StrictTransport, context: ssl.SSLContext, tmp_path: Path
) -> None:
    with local_storage(context, {}) as target:
        location = f"https://{host}:{target.port}/clip.mp4"
        with local_storage(context, {}, location) as server:
            failure = failure_of(lambda: field.read(f"https://{NAS}:{server.port}/clip.mp4", 9, private_allowed=True))
            assert failure.code == "unsafe_url"
            result = f"https://{CDN}:{server.port}/clip.mp4"
            assert failure_of(lambda: download(field, result, tmp_path / "a", lambda done, total: None)).code == "unsafe_url"
        assert len(server.heads) == 2
    assert target.connections == 0


def test_a_redirect_may_lead_from_the_local_network_to_the_internet(field: StrictTransport, context: ssl.SSLContext) -> None:
    with (
        local_storage(context, {b"/clip.mp4": b"clip"}) as target,
        local_storage(context, {}, f"https://{CDN}:{target.port}/clip.mp4") as server,
    ):
        answer = field.read(f"https://{NAS}:{server.port}/clip.mp4", 9, private_allowed=True)
    assert (answer.status, answer.body) == (200, b"clip")


def test_a_redirect_does_not_use_the_connection_to_a_private_address(
    field: StrictTransport, context: ssl.SSLContext
) -> None:
    """It leads to the same host, whose open connection may be used only for URLs from the preferences."""
    with local_storage(context, {}, "/elsewhere.mp4") as server:
        failure = failure_of(lambda: field.read(f"https://{NAS}:{server.port}/clip.mp4", 9, private_allowed=True))
        assert (failure.code, len(server.heads), server.connections) == ("unsafe_url", 1, 1)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_link_local_and_special_addresses_are_never_connected_to(
    address: str, field: StrictTransport, monkeypatch: pytest.MonkeyPatch, reached: list[str]
) -> None:
    monkeypatch.setitem(ADDRESSES, NAS, address)
    failure = failure_of(lambda: field.send("PUT", f"https://{NAS}/a", private_allowed=True))
    assert (failure.code, reached) == ("unsafe_url", [])
    assert "neither public nor in the local network" in failure.message
    literal = f"https://[{address.replace('%', '%25')}]/a" if ":" in address else f"https://{address}/a"
    with pytest.raises(Failure):
        check_url(literal, loopback_allowed=False, private_allowed=True)


@pytest.mark.parametrize("host", ["10.1", "0xa000001", "167772161", "localhost", "a.localhost"])
def test_an_unusual_notation_is_no_private_address(host: str) -> None:
    with pytest.raises(Failure):
        check_url(f"https://{host}/a", loopback_allowed=False, private_allowed=True)
    assert not is_allowed_address("localhost", PRIVATE, loopback_allowed=True, private_allowed=True)


def test_only_https_is_used_in_the_local_network() -> None:
    with pytest.raises(Failure) as raised:
        check_url(f"http://{PRIVATE}/a", loopback_allowed=True, private_allowed=True)
    assert "not an https URL" in raised.value.message


def test_a_request_into_the_local_network_ends_by_a_cancel(context: ssl.SSLContext, clip: Path) -> None:
    cancel = threading.Event()
    field = StrictTransport(cancel)
    with raw_server(never_respond, context) as server:
        timer = threading.Timer(0.3, cancel.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            field.put_file(f"https://{NAS}:{server.port}/a", clip, {}, lambda done, total: None, private_allowed=True)
    assert time.monotonic() - began < 5
    field.close()


def test_a_request_into_the_local_network_ends_by_its_deadline(field: StrictTransport, context: ssl.SSLContext) -> None:
    field.bounds = Bounds(response_seconds=0.4)
    with raw_server(never_respond, context) as server:
        told = failure_of(lambda: field.send("DELETE", f"https://{NAS}:{server.port}/a", private_allowed=True))
    assert (told.code, isinstance(told, TemporaryFailure)) == ("timeout", True)
