# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip that the artist has published by hand; and what all ways to a public address have in common."""

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

from .parts import Double, Quick, Service, check_storage, unheard
from .servers import Reply, Scripted

NOWHERE = Path("no/such/clip.mp4")
FILMS = "https://films.example/shot.mp4?sig=a%2Fb"


def test_the_address_is_used_as_it_is_and_nothing_is_read_or_sent(any_service: Service, transport: Quick) -> None:
    storage = GivenUrlConfig(f" {FILMS}\n").open(any_service, transport)
    assert not storage.needs_export
    assert not storage.can_delete
    begun: list[Published] = []
    published = storage.publish(NOWHERE, unheard[0], begun.append)
    assert begun == [published]
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
def test_an_address_that_the_service_cannot_read_is_refused(url: str, any_service: Service) -> None:
    with pytest.raises(Failure) as told:
        GivenUrlConfig(url).open(any_service, Transport(threading.Event()))
    assert told.value.code == "unsafe_url"
    assert told.value.hint == "Set the public https URL of the clip's mp4, in the sidebar or with --clip-url."
    assert "word" not in told.value.message


def test_what_has_gone_already_counts_as_deleted_unless_that_matters(
    storage: EachlabsStorage, double: Double, clip: Path
) -> None:
    published = storage.publish(clip, *unheard)
    double.answer("delete", {"error": "no such file"}, 404, times=2)
    storage.delete(published)
    with pytest.raises(Failure) as told:
        storage.delete(published, missing_ok=False)
    assert told.value.code == "not_found"


def test_test_connection_reads_the_start_of_an_mp4(
    any_service: Service, transport: Quick, scripted: Scripted, clip: Path
) -> None:
    storage = GivenUrlConfig(scripted.address + "/shot.mp4?sig=1").open(any_service, transport)
    for status in (200, 206):
        # A server without ranges sends the whole file, of which only the start is taken.
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
def test_an_address_that_leads_to_no_mp4_is_told_so(
    *, reply: Reply, code: str, words: str, any_service: Service, transport: Quick, scripted: Scripted
) -> None:
    scripted.replies = [reply]
    storage = GivenUrlConfig(scripted.address + "/shot.mp4").open(any_service, transport)
    with pytest.raises(Failure) as told:
        check_storage(storage, transport)
    assert told.value.code == code
    assert told.value.message.startswith("Read: ")
    assert words in told.value.message


@pytest.mark.usefixtures("direct")
def test_no_more_is_read_than_is_needed(any_service: Service, transport: Quick) -> None:
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
def test_the_services_own_storage_keeps_a_clip_as_long_as_is_set(
    *, life: int, service: Service, transport: Quick, double: Double, clip: Path
) -> None:
    published = EachlabsConfig(life).open(service, transport).publish(clip, *unheard)
    assert [upload["life"] for upload in double.state()["uploads"]] == [life]
    assert life - 30 < published.expires - time.time() <= life


@pytest.mark.parametrize("life", [0, 59, 365 * 24 * 3600 + 1])
def test_a_life_beyond_the_services_limits_is_refused(life: int, service: Service, transport: Quick, double: Double) -> None:
    with pytest.raises(Failure) as told:
        EachlabsConfig(life).open(service, transport)
    assert (told.value.code, str(life) in told.value.message) == ("storage_setup", True)
    assert double.requests() == []


def test_settings_that_nobody_has_filled_in_are_told_of(any_service: Service, transport: Quick) -> None:
    for config in (S3Config, HttpPutConfig, GivenUrlConfig):
        with pytest.raises(Failure) as told:
            config().open(any_service, transport).publish(NOWHERE, *unheard)
        assert told.value.code == "storage_setup"


def test_a_name_is_as_good_as_a_secret() -> None:
    names = {object_name() for _ in range(1000)}
    assert len(names) == 1000
    # 32 digits of 4 bits; each place takes each digit.
    assert {len(name.removesuffix(".mp4")) for name in names} == {32}
    assert {len({name[place] for name in names}) for place in range(32)} == {16}
