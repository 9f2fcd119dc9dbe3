# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of connections: public addresses only, through the proxy that is set, with a valid certificate."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure
from addon.service.eachlabs.client import KeyAuth
from addon.service.eachlabs.results import download
from addon.service.net import stream
from addon.service.net.addresses import check_url, is_allowed_address
from addon.service.net.deadline import Bounds
from addon.service.net.errors import TemporaryFailure
from addon.service.net.response import Response
from addon.service.net.transport import Transport

from .helpers import InstantTransport
from .raw_server import (
    KEY,
    NAME,
    PASSWORD,
    PATH,
    SECRETS,
    Authority,
    Behavior,
    RawServer,
    close_at_once,
    closed_port,
    failure_of,
    forward_to,
    proxy_to,
    raw_server,
    reset_connection,
    respond,
    respond_endlessly,
)

pytestmark = pytest.mark.oldest

WELL = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
PROXY = "127.0.0.1"


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    return authority


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class StrictTransport(InstantTransport):
    """Transport as in production: connections to this machine are not allowed."""

    def __init__(self) -> None:
        Transport.__init__(self, threading.Event())
        self.waited = []


@pytest.fixture
def public() -> Iterator[StrictTransport]:
    made = StrictTransport()
    yield made
    made.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Resolve every name to these addresses."""

    def found(_host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in zip(families, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)


PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_public_name_that_resolves_to_a_private_address_is_rejected(
    address: str, public: StrictTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(respond(WELL)) as server:
        resolve_to(monkeypatch, address)
        url = f"https://{NAME}:{server.port}{PATH}"
        failure = failure_of(lambda: public.send("POST", url, auth=KeyAuth(KEY), json={}))
    assert failure.code == "unsafe_url"
    assert not isinstance(failure, TemporaryFailure)
    assert NAME in failure.message
    assert server.connections == 0


def test_only_the_public_addresses_of_a_name_are_tried(public: StrictTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def connect(sock: socket.socket, address: tuple[str, int], _deadline: object) -> socket.socket:
        tried.append(address[0])
        sock.close()
        raise ConnectionRefusedError

    monkeypatch.setattr(stream, "connect", connect)
    resolve_to(monkeypatch, "127.0.0.1", "8.8.8.8", "10.0.0.1", "2606:4700::1111")
    assert failure_of(lambda: public.send("GET", f"https://{NAME}/")).code == "connection"
    assert tried == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_a_public_name_may_resolve_to_any_public_address(address: str) -> None:
    assert is_allowed_address(NAME, address, loopback_allowed=False)
    # Plain http is allowed to this machine only.
    assert not is_allowed_address("localhost", address, loopback_allowed=True)


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "017700000001", "10.1", "1.2.3", "0", "0x"),
        *("127.0.0.1.", "10.0.0.1.", "localhost.", "a.localhost.", "LOCALHOST", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]"),
        *(
            "[fe80::1%25eth0]",
            "[::]",
            "0.0.0.0",
            "１２７.０.０.１",
            "127。0。0。1",
            "127．0．0．1",
            "ⓛocalhost",
            "①②⑦.⓪.⓪.①",
        ),
        *("%31%32%37.0.0.1", "a b.example", "a\\.example", "a..example", ".example", "-" * 70 + ".example", "ex\tample.com"),
        *("user@cdn.example", "user:word@cdn.example", "@cdn.example", "127.0.0.1\\@cdn.example", "cdn.example:99999"),
        *("cdn.example:0", "cdn.example:port", "cdn\u200b.example\n", "\u202ecdn.example", "xn--.example\u00ad.\u00ad"),
    ],
)
def test_a_host_that_is_not_a_plain_public_name_is_rejected(host: str) -> None:
    with pytest.raises(Failure) as raised:
        check_url(f"https://{host}/clip.mp4", loopback_allowed=False)
    assert raised.value.code == "unsafe_url"
    assert "word" not in raised.value.message


@pytest.mark.parametrize("scheme", ["http", "file", "ftp", "ws", "data", "http+unix", "javascript", ""])
def test_a_scheme_other_than_https_is_refused(scheme: str) -> None:
    with pytest.raises(Failure):
        check_url(f"{scheme}://{NAME}/clip.mp4", loopback_allowed=True)


@pytest.mark.parametrize(
    "url", ["HTTPS://CDN.EXAMPLE/a", "https://cdn.example./a", "https://müller.example/ä b", "https://1e100.net/"]
)
def test_unusual_public_addresses_are_fine(url: str) -> None:
    check_url(url, loopback_allowed=False)


def use_proxy(monkeypatch: pytest.MonkeyPatch, server: RawServer, variable: str = "HTTPS_PROXY") -> None:
    monkeypatch.setenv(variable, f"http://artist:{PASSWORD}@{PROXY}:{server.port}")


def ask(transport: Transport, url: str = f"https://{NAME}{PATH}") -> Response:
    return transport.send("POST", url, auth=KeyAuth(KEY), json={"prompt": "rain"})


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_configured_proxy_is_used(
    variable: str, public: StrictTransport, trusted: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(respond(WELL), trusted.server(NAME)) as server, raw_server(proxy_to(server.port)) as proxy:
        use_proxy(monkeypatch, proxy, variable)
        assert ask(public).body == b"{}"
    assert proxy.heads[0].startswith(f"CONNECT {NAME}:443 ".encode())
    assert b"Proxy-Authorization: Basic " in proxy.heads[0]
    assert b"Proxy-Authorization" not in server.heads[0]
    assert KEY.encode() not in proxy.heads[0]
    assert KEY.encode() in server.heads[0]


def test_a_proxy_may_require_tls(transport: InstantTransport, trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        raw_server(respond(WELL), trusted.server("localhost")) as server,
        raw_server(proxy_to(server.port)) as plain,
        raw_server(forward_to(plain.port), trusted.server(PROXY)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"https://artist:{PASSWORD}@{PROXY}:{proxy.port}")
        assert ask(transport, server.secure_url).body == b"{}"
    assert b"Proxy-Authorization: Basic " in plain.heads[0]
    assert b"Proxy-Authorization" not in server.heads[0]


@pytest.mark.parametrize(("networks", "connections"), [("127.0.0.0/8", 0), ("10.0.0.0/8,192.168.1.1", 1)])
def test_networks_go_without_proxy(
    networks: str, connections: int, transport: InstantTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(respond(WELL)) as server, raw_server(respond(WELL)) as proxy:
        use_proxy(monkeypatch, proxy, "HTTP_PROXY")
        monkeypatch.setenv("NO_PROXY", networks)
        assert transport.send("GET", server.url).status == 200
    assert (proxy.connections, server.connections) == (connections, 1 - connections)
    assert [head.split()[1] for head in proxy.heads] == [server.url.encode()] * connections
    assert [head for head in proxy.heads if b"Proxy-Authorization: Basic " not in head] == []


def test_no_proxy_is_respected(transport: InstantTransport, trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(respond(WELL), trusted.server("localhost")) as server, raw_server(close_at_once) as proxy:
        use_proxy(monkeypatch, proxy)
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert ask(transport, server.secure_url).status == 200
    assert proxy.connections == 0


def test_no_private_address_is_requested_from_a_proxy(public: StrictTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server(respond(WELL)) as proxy:
        use_proxy(monkeypatch, proxy)
        assert failure_of(lambda: ask(public, "https://10.0.0.1/a")).code == "unsafe_url"
    assert proxy.connections == 0


def refuse_tunnel(status: bytes) -> Behavior:
    return respond(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")


PROXIES = {
    "wants a login": (refuse_tunnel(b"407 Proxy Authentication Required"), "proxy", "requires a login", False),
    "forbids it": (refuse_tunnel(b"403 Forbidden"), "proxy", "refused to connect", False),
    "cannot reach it": (refuse_tunnel(b"502 Bad Gateway"), "proxy", "could not connect", True),
    "is too busy": (refuse_tunnel(b"503 Service Unavailable"), "proxy", "could not connect", True),
    "hangs up": (close_at_once, "proxy", "could not connect", True),
    "reset_connection": (reset_connection, "proxy", "could not connect", True),
    "is none": (respond(b"220 mail.example ESMTP\r\n"), "proxy", "could not connect", True),
    "drips": (respond_endlessly(b"HTTP/1.1 200 OK\r\n", b"X-A: a\r\n"), "timeout", "in time", True),
    "hangs": (respond_endlessly(b"", b""), "timeout", "in time", True),
}


@pytest.mark.parametrize(("act", "code", "said", "again"), PROXIES.values(), ids=PROXIES)
def test_a_failing_proxy_is_named(
    *, act: Behavior, code: str, said: str, again: bool, public: StrictTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    public.bounds = Bounds(response_seconds=0.3)
    with raw_server(act) as proxy:
        use_proxy(monkeypatch, proxy)
        told = failure_of(lambda: ask(public))
    assert told.code == code
    assert said in told.message
    assert f"The proxy {PROXY} " in told.message
    assert "HTTPS_PROXY" in told.hint
    assert isinstance(told, TemporaryFailure) is again
    assert not (isinstance(told, TemporaryFailure) and told.may_be_done)


@pytest.mark.parametrize(
    ("proxy", "code", "said"),
    [
        (f"http://artist:{PASSWORD}@127.0.0.1:{{port}}", "connection", "the proxy 127.0.0.1"),
        (f"http://artist:{PASSWORD}@proxy.invalid:8080", "connection", "the proxy proxy.invalid"),
        (f"socks5://artist:{PASSWORD}@127.0.0.1:{{port}}", "proxy", "SOCKS"),
        (f"socks5h://artist:{PASSWORD}@127.0.0.1:{{port}}", "proxy", "SOCKS"),
        ("http://", "proxy", "proxy URL that is set on this machine"),
    ],
)
def test_an_unreachable_proxy_is_named(
    proxy: str, code: str, said: str, public: StrictTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.format(port=closed_port()))
    failure = failure_of(lambda: ask(public))
    assert failure.code == code
    assert said in failure.message
    assert "PROXY" in failure.hint


def old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


CERTIFICATES: dict[str, tuple[Callable[[Authority], ssl.SSLContext], str, str, str]] = {
    "expired": (lambda a: a.server("localhost", from_days=-9, to_days=-1), "certificate", "has expired", "clock"),
    "of tomorrow": (lambda a: a.server("localhost", from_days=1, to_days=9), "certificate", "not valid yet", "clock"),
    "of another name": (lambda a: a.server("other.example"), "certificate", "another host name", "URL"),
    "of an IP address": (lambda a: a.server("127.0.0.1"), "certificate", "another host name", "URL"),
    "of an old protocol": (lambda a: old_tls(a.server("localhost")), "tls", "secure connection", "port"),
}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
@pytest.mark.parametrize(("make", "code", "said", "hint"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_nothing_is_sent_with_an_invalid_certificate(
    *,
    make: Callable[[Authority], ssl.SSLContext],
    code: str,
    said: str,
    hint: str,
    proxied: bool,
    transport: InstantTransport,
    trusted: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with raw_server(respond(WELL), make(trusted)) as server, raw_server(proxy_to(server.port)) as proxy:
        if proxied:
            use_proxy(monkeypatch, proxy)
        told = failure_of(lambda: ask(transport, server.secure_url))
    assert (told.code, isinstance(told, TemporaryFailure)) == (code, False)
    assert "localhost" in told.message
    assert said in told.message
    assert "nothing was sent" in told.message
    assert hint in told.hint
    # It may have been connected to, but was sent no request.
    assert b"".join(server.heads) == b""


def test_an_unknown_authority_is_reported_with_a_hint(transport: InstantTransport, authority: Authority) -> None:
    contexts = {"signed by an authority that": authority.server("localhost"), "is self-signed": authority.own()}
    for said, context in contexts.items():
        with raw_server(respond(WELL), context) as server:
            failure = failure_of(lambda: ask(transport, server.secure_url))
        assert failure.code == "certificate"
        assert said in failure.message
        assert "REQUESTS_CA_BUNDLE" in failure.hint
        assert server.heads == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_studios_own_authority_is_trusted_when_it_is_configured(
    variable: str, transport: InstantTransport, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(authority.file))
    with raw_server(respond(WELL), authority.server("localhost")) as server:
        assert ask(transport, server.secure_url).status == 200


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_an_invalid_ca_bundle_is_reported(
    text: str | None, transport: InstantTransport, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    if text is not None:
        bundle.write_text(text)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with raw_server(respond(WELL), authority.server("localhost")) as server:
        failure = failure_of(lambda: ask(transport, server.secure_url))
    assert failure.code == "certificate"
    assert "REQUESTS_CA_BUNDLE" in failure.hint
    assert server.heads == []


HANDSHAKES = {
    "hangs up": (close_at_once, "connection", True),
    "reset_connection": (reset_connection, "connection", True),
    "speaks plain HTTP": (lambda c, s: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls", False),
}


@pytest.mark.parametrize(("act", "code", "again"), HANDSHAKES.values(), ids=HANDSHAKES)
def test_nothing_is_sent_if_the_handshake_fails(act: Behavior, code: str, again: bool, transport: InstantTransport) -> None:
    with raw_server(act) as server:
        failure = failure_of(lambda: ask(transport, server.secure_url))
    assert failure.code == code
    assert isinstance(failure, TemporaryFailure) is again
    assert not (isinstance(failure, TemporaryFailure) and failure.may_be_done)
    assert "localhost" in failure.message


LOST = {
    "before an answer": close_at_once,
    "by a reset": reset_connection,
    "within the headers": respond(b"HTTP/1.1 200 OK\r\nX-A"),
    "within the body": respond(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
    "within a chunk": respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("act", LOST.values(), ids=LOST)
def test_a_request_whose_response_was_lost_may_be_done(
    act: Behavior, tls: bool, transport: InstantTransport, trusted: Authority
) -> None:
    with raw_server(act, trusted.server("localhost") if tls else None) as server:
        url = server.secure_url if tls else server.url
        if act is LOST["within the headers"]:
            # http.client accepts truncated headers; the JSON is then missing.
            assert ask(transport, url).body == b""
            return
        failure = failure_of(lambda: ask(transport, url))
    assert isinstance(failure, TemporaryFailure)
    assert (failure.code, failure.may_be_done) == ("connection", True)


@pytest.mark.parametrize("host", ["nobody.invalid", "127.0.0.1"])
def test_a_request_without_a_connection_was_not_sent(
    host: str, public: StrictTransport, transport: InstantTransport
) -> None:
    if host == "127.0.0.1":
        failure = failure_of(lambda: ask(transport, f"http://{host}:{closed_port()}{PATH}"))
    else:
        failure = failure_of(lambda: ask(public, f"https://{host}{PATH}"))
    assert isinstance(failure, TemporaryFailure)
    assert (failure.code, failure.may_be_done) == ("connection", False)
    assert host in failure.message


@pytest.mark.parametrize(
    "headers",
    [{"X-A": "a\r\nX-B: b"}, {"X-A\n": "b"}, {"X-A": "ü\u2028"}],
    ids=["fold", "name", "text"],
)
def test_invalid_headers_are_a_final_failure(headers: dict[str, str], transport: InstantTransport, clip: Path) -> None:
    with raw_server(respond(WELL)) as server:
        failure = failure_of(lambda: transport.put_file(server.url, clip, headers, lambda done, total: None))
    assert (failure.code, isinstance(failure, TemporaryFailure)) == ("bad_answer", False)
    assert server.heads == []


@pytest.mark.parametrize(
    "location", ["http://cdn.example/a", "https://127.1/a", "//10.0.0.1/a", "file:///etc/passwd", "FTP://a.example/"]
)
def test_a_result_is_not_led_to_where_nothing_public_is(location: str, transport: InstantTransport, tmp_path: Path) -> None:
    with raw_server(respond(f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\n\r\n".encode())) as server:
        told = failure_of(lambda: download(transport, server.url, tmp_path / "result.mp4", lambda done, total: None))
    assert told.code == "unsafe_url"
    assert len(server.heads) == 1


RECORDED: dict[str, Behavior] = {
    **LOST,
    "well": respond(WELL),
    "a line that is no header": respond(b"HTTP/1.1 200 OK\r\nX-A: b\r\nno header at all\r\n\r\n"),
    "a redirect": respond(b"HTTP/1.1 302 Found\r\nLocation: " + PATH.encode() + b"\r\nContent-Length: 0\r\n\r\n"),
    "busy": respond(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
@pytest.mark.parametrize("act", RECORDED.values(), ids=RECORDED)
def test_no_record_of_a_log_holds_a_secret(
    *,
    act: Behavior,
    proxied: bool,
    transport: InstantTransport,
    trusted: Authority,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("urllib3", "requests", "addon")):
            caplog.set_level(logging.DEBUG, name)
    with raw_server(act, trusted.server("localhost")) as server, raw_server(proxy_to(server.port)) as proxy:
        if proxied:
            use_proxy(monkeypatch, proxy)
        for call in (
            lambda: ask(transport, server.secure_url),
            lambda: transport.read(server.secure_url, 10),
        ):
            try:
                call()
            except Failure as failure:
                assert [secret for secret in SECRETS if secret in f"{failure!r} {failure.hint}"] == []
    assert server.connections
    form = logging.Formatter("%(name)s %(message)s")
    shown = " ".join(f"{form.format(record)} {record.args!r}" for record in caplog.records)
    assert [secret for secret in SECRETS if secret in shown] == []
