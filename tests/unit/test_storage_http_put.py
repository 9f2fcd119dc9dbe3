# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the storage HTTP PUT: with a real WebDAV server with a login, and with a scripted server."""

import base64
import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Cancelled, Failure
from addon.service.net.transport import Progress, Transport
from addon.service.storage import Published, Storage, check
from addon.service.storage.http_put import HttpPutConfig, parse_headers

from .helpers import InstantTransport, Service, check_storage, no_callbacks
from .servers import Reply, Scripted, Seen, files_for_anyone, rclone

pytestmark = [pytest.mark.oldest, pytest.mark.usefixtures("direct")]

NAME = re.compile(r"[0-9a-f]{32}\.mp4")
USER, PASSWORD = "jülia", "pa:ss wörd"
# Azure's escapes, colons and equals signs must be sent unchanged.
SAS = "sv=2025-05-05&se=2026-12-01T00%3A00%3A00Z&sr=c&sp=rcwd&sig=a%2Fb%2Bc%3D"


@dataclass(frozen=True)
class Dav:
    folder: Path
    config: HttpPutConfig


@pytest.fixture(scope="session")
def _dav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dav]:
    folder = tmp_path_factory.mktemp("dav")
    files = folder / "files"
    (files / "für Julia").mkdir(parents=True)
    login = ("--user", USER, "--pass", PASSWORD)
    with (
        rclone("webdav", *login, folder=files, log=folder / "log") as private,
        files_for_anyone(files) as public,
    ):
        path = "f%C3%BCr%20Julia/{name}"
        yield Dav(files / "für Julia", HttpPutConfig(f"{private}/{path}", f"{public}/{path}", "", USER, PASSWORD))


@pytest.fixture
def dav(_dav: Dav) -> Iterator[Dav]:
    yield _dav
    assert list(_dav.folder.iterdir()) == []


@pytest.fixture
def opened(any_service: Service, transport: InstantTransport) -> Callable[[HttpPutConfig], Storage]:
    return lambda config: config.open(any_service, transport)


def at(scripted: Scripted, path: str = "/{name}") -> HttpPutConfig:
    return HttpPutConfig(scripted.address + path, scripted.address + path)


def failure_of(act: Callable[[], object]) -> Failure:
    with pytest.raises(Failure) as raised:
        act()
    assert raised.value.hint.endswith(".")
    return raised.value


def test_a_clip_is_uploaded_to_a_webdav_and_read_publicly(
    dav: Dav, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport, clip: Path
) -> None:
    storage = opened(dav.config)
    uploads: list[Published] = []
    seen: list[tuple[float, float]] = []
    published = storage.publish(clip, lambda done, total: seen.append((done, total)), uploads.append)
    assert uploads == [published]
    assert NAME.fullmatch(published.id)
    assert published.expires == 0
    assert seen[-1] == (clip.stat().st_size, clip.stat().st_size)
    answer = transport.read(published.url, 1_000_000)
    assert (answer.status, answer.body) == (200, clip.read_bytes())
    assert [path.name for path in dav.folder.iterdir()] == [published.id]
    storage.delete(published)
    assert transport.read(published.url, 1).status == 404
    storage.delete(published)


@pytest.mark.parametrize(
    "change", [{"password": "wr0ng-w0rd"}, {"user": "", "password": ""}, {"user": "", "password": "", "token": "t0ken"}]
)
def test_a_wrong_login_is_reported(
    *, change: dict[str, str], dav: Dav, opened: Callable[[HttpPutConfig], Storage], clip: Path, transport: InstantTransport
) -> None:
    failure = failure_of(lambda: opened(replace(dav.config, **change)).publish(clip, *no_callbacks))
    assert failure.code == "storage_login"
    assert failure.message == "127.0.0.1 refused the upload: the login is missing or wrong (HTTP 401)."
    assert transport.waited == []


def test_a_wrong_folder_is_reported(dav: Dav, opened: Callable[[HttpPutConfig], Storage], clip: Path) -> None:
    upload = dav.config.upload.replace("Julia", "Ida")
    failure = failure_of(lambda: opened(replace(dav.config, upload=upload)).publish(clip, *no_callbacks))
    assert failure.code == "no_folder"
    assert failure.message == "127.0.0.1 refused the upload: the folder in that URL does not exist (HTTP 409)."


def test_an_upload_that_is_cancelled_leaves_nothing(dav: Dav, any_service: Service, tmp_path: Path) -> None:
    clip = tmp_path / "big.mp4"
    clip.write_bytes(bytes(8_000_000))
    cancel = threading.Event()
    uploads: list[Published] = []
    transport = InstantTransport(cancel)

    def progress(done: float, total: float) -> None:
        # More than network buffers hold, so the server has begun to write.
        if done > total / 2:
            cancel.set()

    with pytest.raises(Cancelled):
        dav.config.open(any_service, transport).publish(clip, progress, uploads.append)
    transport.close()
    # The incomplete file is deleted like every clip; the server may lock it at first.
    other = Transport(threading.Event(), loopback_allowed=True)
    dav.config.open(any_service, other).delete(uploads[0])
    assert other.read(uploads[0].url, 1).status == 404
    other.close()


def test_test_connection_uploads_reads_and_deletes(
    dav: Dav, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    assert check_storage(opened(dav.config), transport) == "Uploaded, read back from 127.0.0.1 and deleted."


def test_test_connection_says_that_a_file_stays(
    dav: Dav, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    said = check_storage(opened(replace(dav.config, delete=False)), transport)
    assert "The file stays there, since deletion is off" in said
    [kept] = dav.folder.iterdir()
    kept.unlink()


@pytest.mark.parametrize(
    ("public", "code", "words"),
    [
        ("{private}", "not_public", "refused the download: it requires a login"),
        ("{scripted}", "not_the_clip", "not with the file that was uploaded"),
        ("{nowhere}", "not_found", "there is no file at that URL"),
    ],
)
def test_a_public_url_with_another_file_fails_the_read_back(
    *,
    public: str,
    code: str,
    words: str,
    dav: Dav,
    scripted: Scripted,
    opened: Callable[[HttpPutConfig], Storage],
    transport: InstantTransport,
) -> None:
    scripted.replies = [Reply(200, b"<html>Sign in</html>")]
    nowhere = dav.config.public.replace("Julia", "Ida")
    address = {"{private}": dav.config.upload, "{scripted}": scripted.address + "/{name}", "{nowhere}": nowhere}[public]
    failure = failure_of(lambda: check_storage(opened(replace(dav.config, public=address)), transport))
    assert failure.code == code
    assert failure.message.startswith("Read back: 127.0.0.1 ")
    assert words in failure.message


def azure(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>as Azure says it</Message></Error>".encode()


@pytest.mark.parametrize(
    ("method", "reply", "step", "code"),
    [
        ("PUT", Reply(403), "Upload", "storage_denied"),
        ("PUT", Reply(405), "Upload", "storage_setup"),
        ("PUT", Reply(413), "Upload", "too_large"),
        ("PUT", Reply(507), "Upload", "storage_full"),
        ("PUT", Reply(503), "Upload", "storage_down"),
        ("PUT", Reply(302, headers={"Location": "https://sign-in.example/"}), "Upload", "redirected"),
        ("PUT", Reply(202), "Upload", "bad_answer"),
        ("PUT", Reply(401), "Upload", "storage_login"),
        ("GET", Reply(401), "Read back", "not_public"),
        ("GET", Reply(403), "Read back", "not_public"),
        ("GET", Reply(401, azure("NoAuthenticationInformation")), "Read back", "not_public"),
        ("GET", Reply(409, azure("PublicAccessNotPermitted")), "Read back", "not_public"),
        ("GET", Reply(403, azure("AuthorizationPermissionMismatch")), "Read back", "storage_denied"),
        ("GET", Reply(404), "Read back", "not_found"),
        ("GET", Reply(500), "Read back", "storage_down"),
        ("GET", Reply(302, headers={"Location": "http://10.0.0.1/"}), "Read back", "unsafe_url"),
        ("DELETE", Reply(403), "Delete", "storage_denied"),
        ("DELETE", Reply(405), "Delete", "storage_setup"),
        ("DELETE", Reply(503), "Delete", "storage_down"),
    ],
)
def test_test_connection_names_the_step(
    *,
    method: str,
    reply: Reply,
    step: str,
    code: str,
    scripted: Scripted,
    opened: Callable[[HttpPutConfig], Storage],
    transport: InstantTransport,
) -> None:
    scripted.instead[method] = reply
    failure = failure_of(lambda: check_storage(opened(at(scripted)), transport))
    assert (failure.code, failure.message.partition(": ")[0]) == (code, step)
    # The upload is deleted after every failure.
    last = scripted.seen[-1]
    assert last.method == "DELETE"
    assert last.target == scripted.seen[0].target


def test_a_file_that_a_cache_still_sends_is_reported(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    scripted.instead["DELETE"] = Reply(204)
    assert "still sends the file" in check_storage(opened(at(scripted)), transport)


def test_a_deletion_at_the_wrong_url_is_a_failure(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    config = at(scripted)
    scripted.instead["DELETE"] = Reply(404)
    failure = failure_of(lambda: check_storage(opened(config), transport))
    assert failure.code == "not_found"
    assert failure.message == (
        "Delete: 127.0.0.1 refused the deletion: there is no file at that URL (HTTP 404). The file is still there."
    )
    assert "check the Upload URL" in failure.hint
    scripted.instead["DELETE"] = Reply(410)
    assert "(HTTP 410)" in failure_of(lambda: check_storage(opened(config), transport)).message


def test_a_file_that_the_server_deleted_itself_is_no_failure(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    def gone_before_it_is_deleted(seen: Seen) -> Reply:
        return Reply(404) if seen.method == "DELETE" or len(scripted.seen) > 2 else Reply(200, scripted.seen[0].body)

    scripted.answer = gone_before_it_is_deleted
    assert check_storage(opened(at(scripted)), transport) == "Uploaded, read back from 127.0.0.1 and deleted."


@pytest.mark.parametrize(("deletion", "readings", "code"), [(204, 2, ""), (204, 9, ""), (404, 2, ""), (404, 9, "not_found")])
def test_read_errors_after_the_deletion_are_retried(
    *,
    deletion: int,
    readings: int,
    code: str,
    scripted: Scripted,
    opened: Callable[[HttpPutConfig], Storage],
    transport: InstantTransport,
) -> None:
    """`readings` reads fail after the deletion. If the deletion found no file, one read has to succeed."""

    def answer(seen: Seen) -> Reply:
        asked = [seen.method for seen in scripted.seen]
        if "DELETE" not in asked:
            return Reply(200, scripted.seen[0].body)
        if seen.method == "DELETE":
            return Reply(deletion)
        return Reply(503) if asked[asked.index("DELETE") :].count("GET") <= readings else Reply(404)

    scripted.answer = answer
    if code:
        assert failure_of(lambda: check_storage(opened(at(scripted)), transport)).code == code
    else:
        assert check_storage(opened(at(scripted)), transport) == "Uploaded, read back from 127.0.0.1 and deleted."
    assert [seen.method for seen in scripted.seen].count("GET") == 1 + min(readings + 1, 5)


@pytest.mark.parametrize("step", ["PUT", "GET", "DELETE"])
def test_a_cancelled_test_leaves_nothing(step: str, scripted: Scripted, any_service: Service) -> None:
    cancel = threading.Event()
    transport, other = InstantTransport(cancel), InstantTransport()

    def cancel_meanwhile(seen: Seen) -> Reply | None:
        if seen.method != step or cancel.is_set():
            return None
        cancel.set()
        return Reply(503) if step == "DELETE" else None

    @contextmanager
    def clearing() -> Generator[Storage]:
        yield at(scripted).open(any_service, other)

    scripted.answer = cancel_meanwhile
    with pytest.raises(Cancelled):
        check.check_storage(at(scripted).open(any_service, transport), transport, clearing)
    transport.close()
    assert scripted.seen[-1].method == "DELETE"
    assert other.read(scripted.address + scripted.seen[0].target, 1).status == 404
    other.close()


def test_a_cdn_may_need_a_moment_to_have_a_clip(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    scripted.late = 2
    assert check_storage(opened(at(scripted)), transport) == "Uploaded, read back from 127.0.0.1 and deleted."
    assert [seen.method for seen in scripted.seen] == ["PUT", "GET", "GET", "GET", "DELETE", "GET"]


def test_a_public_url_may_redirect(
    scripted: Scripted, dav: Dav, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    storage = opened(dav.config)

    class RedirectedStorage:
        """Storage whose clips are read at another URL."""

        needs_export = private_allowed = can_delete = True
        real: Published

        def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
            self.real = storage.publish(clip, progress, on_begin)
            scripted.replies = [Reply(302, headers={"Location": self.real.url}), Reply(404)]
            return replace(self.real, url=scripted.address + "/clip.mp4")

        def delete(self, published: Published, *, missing_ok: bool = True) -> None:
            storage.delete(self.real, missing_ok=missing_ok)

    assert check_storage(RedirectedStorage(), transport) == "Uploaded, read back from 127.0.0.1 and deleted."


def test_a_query_and_extra_headers_arrive_as_they_are(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], clip: Path
) -> None:
    headers = " x-ms-blob-type: BlockBlob | X-Note: a:b; c "
    config = replace(at(scripted, f"/clips/{{name}}?{SAS}"), headers=headers)
    storage = opened(config)
    published = storage.publish(clip, *no_callbacks)
    storage.delete(published)
    put, delete = scripted.seen
    target = f"/clips/{published.id}?{SAS}"
    assert [(seen.method, seen.target) for seen in scripted.seen] == [("PUT", target), ("DELETE", target)]
    assert published.url == scripted.address + target
    assert (put.body, put.headers["content-type"]) == (clip.read_bytes(), "video/mp4")
    for seen in (put, delete):
        assert (seen.headers["x-ms-blob-type"], seen.headers["x-note"]) == ("BlockBlob", "a:b; c")
        assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ({"token": "t0k3n=="}, "Bearer t0k3n=="),
        ({"user": USER, "password": PASSWORD}, "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()),
        ({"password": "only"}, "Basic " + base64.b64encode(b":only").decode()),
        ({"headers": "AccessKey: b-unny"}, None),
    ],
)
def test_only_the_upload_url_gets_the_login(
    *,
    login: dict[str, Any],
    sent: str | None,
    scripted: Scripted,
    opened: Callable[[HttpPutConfig], Storage],
    transport: InstantTransport,
) -> None:
    check_storage(opened(replace(at(scripted), **login)), transport)
    heard = [(seen.method, seen.headers.get("authorization"), seen.headers.get("accesskey")) for seen in scripted.seen]
    key = None if sent else "b-unny"
    assert heard == [("PUT", sent, key), ("GET", None, None), ("DELETE", sent, key), ("GET", None, None)]


def test_an_extra_header_replaces_a_default_one(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], clip: Path
) -> None:
    opened(replace(at(scripted), headers="content-type: application/mp4")).publish(clip, *no_callbacks)
    assert scripted.seen[0].headers["content-type"] == "application/mp4"


def test_a_temporary_error_is_retried(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], clip: Path, transport: InstantTransport
) -> None:
    scripted.replies = [Reply(503, headers={"Retry-After": "9"}), Reply(429), Reply(201)]
    opened(at(scripted)).publish(clip, *no_callbacks)
    assert [seen.body for seen in scripted.seen] == [clip.read_bytes()] * 3
    assert len({seen.target for seen in scripted.seen}) == 1
    assert transport.waited[0] >= 9


def test_a_file_that_is_not_to_be_deleted_stays(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], clip: Path
) -> None:
    storage = opened(replace(at(scripted), delete=False))
    storage.delete(storage.publish(clip, *no_callbacks))
    assert [seen.method for seen in scripted.seen] == ["PUT"]


def test_a_file_that_appears_after_its_deletion_is_deleted_again(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], transport: InstantTransport
) -> None:
    published = Published("a.mp4", scripted.address + "/a.mp4")
    scripted.replies = [Reply(404), Reply(204)]
    opened(at(scripted)).delete(published)
    assert [seen.method for seen in scripted.seen] == ["DELETE", "DELETE"]
    assert transport.waited == [2.0]
    opened(at(scripted)).delete(published)
    assert len(scripted.seen) == 3


def test_a_clip_of_other_settings_is_not_deleted(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], clip: Path
) -> None:
    published = opened(at(scripted)).publish(clip, *no_callbacks)
    failure = failure_of(lambda: opened(at(scripted, "/other/{name}")).delete(published))
    assert failure.code == "storage_changed"
    assert [seen.method for seen in scripted.seen] == ["PUT"]


def test_a_clip_is_deleted_with_a_signature_that_was_renewed_since(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], clip: Path
) -> None:
    published = opened(at(scripted, "/clips/{name}?sig=old")).publish(clip, *no_callbacks)
    opened(at(scripted, "/clips/{name}?sig=new")).delete(published)
    assert scripted.seen[-1].method == "DELETE"
    assert scripted.seen[-1].target == f"/clips/{published.id}?sig=new"


def test_a_query_with_the_clips_name_distinguishes_storages(
    scripted: Scripted, opened: Callable[[HttpPutConfig], Storage], clip: Path
) -> None:
    def reading_at(path: str) -> HttpPutConfig:
        return replace(at(scripted), public=f"{scripted.address}/download?path={path}&files={{name}}")

    published = opened(reading_at("one")).publish(clip, *no_callbacks)
    assert failure_of(lambda: opened(reading_at("two")).delete(published)).code == "storage_changed"
    opened(reading_at("one")).delete(published)
    assert [seen.method for seen in scripted.seen] == ["PUT", "DELETE"]


GOOD = "https://cdn.example/{name}"


@pytest.mark.parametrize(
    "template",
    [
        "",
        "https://cdn.example/clips/",
        "https://cdn.example/{file}",
        "https://cdn.example/{name}/{id}",
        "https://{name}.cdn.example/a",
        "https://{name}.cdn.example/{name}",
        "https://cdn.example/#{name}",
        "https://cdn.example/{name} b",
        "https://cdn.example/ü/{name}",
        "https://[::1/{name}",
    ],
)
@pytest.mark.parametrize("which", ["upload", "public"])
def test_an_invalid_template_is_rejected_before_anything_is_sent(
    which: str, template: str, opened: Callable[[HttpPutConfig], Storage]
) -> None:
    failure = failure_of(lambda: opened(replace(HttpPutConfig(GOOD, GOOD), **{which: template})))
    assert failure.code == "storage_setup"
    assert f"The {which.capitalize()} URL of the storage" in failure.message
    assert "{name}" in failure.hint


@pytest.mark.parametrize(
    "template",
    [
        "http://cdn.example/{name}",
        "http://10.0.0.1/{name}",
        "https://127.0.0.1/{name}",
        "https://169.254.169.254/{name}",
        "ftp://cdn.example/{name}",
        "https://me:word@cdn.example/{name}",
    ],
)
@pytest.mark.parametrize("which", ["upload", "public"])
def test_only_https_urls_are_used(which: str, template: str, any_service: Service) -> None:
    config = replace(HttpPutConfig(GOOD, GOOD), **{which: template})
    failure = failure_of(lambda: config.open(any_service, Transport(threading.Event())))
    assert (failure.code, f"Check the {which.capitalize()} URL" in failure.hint) == ("unsafe_url", True)
    assert "word" not in failure.message


@pytest.mark.parametrize("host", ["10.0.0.1", "172.31.0.1", "192.168.1.5", "[fd12::5]"])
def test_the_upload_url_may_be_in_the_local_network_but_not_the_public_url(host: str, any_service: Service) -> None:
    private = f"https://{host}/{{name}}"
    HttpPutConfig(private, GOOD).open(any_service, Transport(threading.Event()))
    failure = failure_of(lambda: HttpPutConfig(GOOD, private).open(any_service, Transport(threading.Event())))
    assert (failure.code, "Eachlabs must be able to reach it" in failure.hint) == ("unsafe_url", True)


@pytest.mark.parametrize(
    "change",
    [
        {"headers": "X-A: b\rX-Evil: 1"},
        {"headers": "X A: b"},
        {"headers": ": b"},
        {"headers": "X-A: 日本"},
        {"headers": "Content-Length: 1"},
        {"headers": "host: elsewhere"},
        {"headers": "BlockBlob"},
        {"token": "a b"},
        {"token": "a\r\nb"},
        {"token": "a", "user": "b"},
    ],
    ids=str,
)
def test_invalid_headers_and_logins_are_rejected_before_anything_is_sent(
    change: dict[str, Any], opened: Callable[[HttpPutConfig], Storage]
) -> None:
    assert failure_of(lambda: opened(replace(HttpPutConfig(GOOD, GOOD), **change))).code == "storage_setup"


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("", ()),
        ("X-A: b", (("X-A", "b"),)),
        ("X-A:b:c|X-D: e\nX-F:", (("X-A", "b:c"), ("X-D", "e"), ("X-F", ""))),
        (" | \n", ()),
    ],
)
def test_headers_are_written_in_one_line(text: str, headers: tuple[tuple[str, str], ...]) -> None:
    assert parse_headers(text) == headers


def test_a_header_without_a_colon_is_reported() -> None:
    assert failure_of(lambda: parse_headers("X-A: b | BlockBlob")).code == "storage_setup"
