# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the storage Clip URL, and of what all storages have in common."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from addon.failure import Failure
from addon.service.net.transport import Transport
from addon.service.storage import Published, object_name
from addon.service.storage.eachlabs import EachlabsConfig, EachlabsStorage
from addon.service.storage.given_url import GivenUrlConfig
from addon.service.storage.http_put import HttpPutConfig
from addon.service.storage.s3 import S3Config

from .helpers import Double, InstantTransport, Service, check_storage, no_callbacks
from .servers import Reply, Scripted

NOWHERE = Path("no/such/clip.mp4")
FILMS = "https://films.example/shot.mp4?sig=a%2Fb"


def test_the_clip_url_is_used_unchanged_and_nothing_is_read_or_sent(
    any_service: Service, transport: InstantTransport
) -> None:
    storage = GivenUrlConfig(f" {FILMS}\n").open(any_service, transport)
    assert not storage.needs_export
    assert not storage.can_delete
    uploads: list[Published] = []
    published = storage.publish(NOWHERE, no_callbacks[0], uploads.append)
    assert uploads == [published]
    assert (published.url, published.expires) == (FILMS, 0)
    storage.delete(published)


@pytest.mark.parametrize(
    "url",
    [
        "http://films.example/shot.mp4",
        "https://localhost/shot.mp4",
        "https://192.168.1.5/shot.mp4",
        "https://me:word@films.example/shot.mp4",
        "file:///home/me/shot.mp4",
        "shot.mp4",
    ],
)
def test_a_clip_url_that_is_not_public_is_rejected(url: str, any_service: Service) -> None:
    with pytest.raises(Failure) as raised:
        GivenUrlConfig(url).open(any_service, Transport(threading.Event()))
    assert raised.value.code == "unsafe_url"
    assert raised.value.hint == "Set the public https URL of the clip's mp4, in the sidebar or with --clip-url."
    assert "word" not in raised.value.message


def test_a_missing_clip_counts_as_deleted_unless_it_must_exist(storage: EachlabsStorage, double: Double, clip: Path) -> None:
    published = storage.publish(clip, *no_callbacks)
    double.respond("delete", {"error": "no such file"}, 404, times=2)
    storage.delete(published)
    with pytest.raises(Failure) as raised:
        storage.delete(published, missing_ok=False)
    assert raised.value.code == "not_found"


def test_test_connection_reads_the_start_of_an_mp4(
    any_service: Service, transport: InstantTransport, scripted: Scripted, clip: Path
) -> None:
    storage = GivenUrlConfig(scripted.address + "/shot.mp4?sig=1").open(any_service, transport)
    for status in (200, 206):
        # A server without range requests sends the whole file, of which only the start is read.
        scripted.replies = [Reply(status, clip.read_bytes() + bytes(3_000_000))]
        assert check_storage(storage, transport) == "127.0.0.1 responds with an mp4 video."
    assert [(seen.method, seen.target, seen.headers["range"]) for seen in scripted.seen] == [
        ("GET", "/shot.mp4?sig=1", "bytes=0-1023")
    ] * 2


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (Reply(200, b"<html>a page with a player</html>"), "not_a_video", "not with an mp4 video"),
        (Reply(200), "not_a_video", "not with an mp4 video"),
        (Reply(401), "not_public", "login"),
        (Reply(404), "not_found", "no file at that URL"),
        (Reply(410), "not_found", "no file at that URL"),
        (Reply(302, headers={"Location": "/shot.mp4"}), "bad_answer", "Too many redirects"),
        (Reply(503), "storage_down", "can't process it at the moment"),
    ],
)
def test_a_clip_url_without_an_mp4_is_reported(
    *, reply: Reply, code: str, words: str, any_service: Service, transport: InstantTransport, scripted: Scripted
) -> None:
    scripted.replies = [reply]
    storage = GivenUrlConfig(scripted.address + "/shot.mp4").open(any_service, transport)
    with pytest.raises(Failure) as raised:
        check_storage(storage, transport)
    assert raised.value.code == code
    assert raised.value.message.startswith("Read: ")
    assert words in raised.value.message


@pytest.mark.usefixtures("direct")
def test_no_more_is_read_than_is_needed(any_service: Service, transport: InstantTransport) -> None:
    sent: list[int] = []
    megabytes = 200

    def stream_without_end(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n\x00\x00\x00\x18ftypisom")
            while len(sent) < megabytes:
                connection.sendall(bytes(1_000_000))
                sent.append(1)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=stream_without_end, args=(listening,))
        server.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/shot.mp4"
        assert "mp4" in check_storage(GivenUrlConfig(address).open(any_service, transport), transport)
        server.join(20)
    assert len(sent) < megabytes / 2


@pytest.mark.parametrize("life", [60, 3600, 365 * 24 * 3600])
def test_each_storage_keeps_a_clip_for_the_configured_lifetime(
    *, life: int, service: Service, transport: InstantTransport, double: Double, clip: Path
) -> None:
    published = EachlabsConfig(life).open(service, transport).publish(clip, *no_callbacks)
    assert [upload["lifetime"] for upload in double.state()["uploads"]] == [life]
    assert life - 30 < published.expires - time.time() <= life


@pytest.mark.parametrize("life", [0, 59, 365 * 24 * 3600 + 1])
def test_a_lifetime_beyond_the_limits_is_rejected(
    life: int, service: Service, transport: InstantTransport, double: Double
) -> None:
    with pytest.raises(Failure) as raised:
        EachlabsConfig(life).open(service, transport)
    assert (raised.value.code, str(life) in raised.value.message) == ("storage_setup", True)
    assert double.requests() == []


def test_missing_settings_are_reported(any_service: Service, transport: InstantTransport) -> None:
    for config in (S3Config, HttpPutConfig, GivenUrlConfig):
        with pytest.raises(Failure) as raised:
            config().open(any_service, transport).publish(NOWHERE, *no_callbacks)
        assert raised.value.code == "storage_setup"


def test_object_names_are_random() -> None:
    names = {object_name() for _ in range(1000)}
    assert len(names) == 1000
    # 32 digits of 4 bits; each digit occurs in each position.
    assert {len(name.removesuffix(".mp4")) for name in names} == {32}
    assert {len({name[place] for name in names}) for place in range(32)} == {16}
