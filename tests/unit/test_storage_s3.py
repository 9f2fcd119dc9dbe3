# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the storage S3, with servers that check signatures: rclone and SeaweedFS."""

import datetime
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import aws_request_signer
import pytest

from addon.failure import Cancelled, Failure
from addon.service.net.response import Response
from addon.service.net.transport import Transport
from addon.service.storage import Published, Storage, error_responses, s3
from addon.service.storage.error_responses import storage_error
from addon.service.storage.s3 import S3Config

from .helpers import InstantTransport, Service, check_storage, no_callbacks, wait_until
from .servers import OTHER_BUCKET, VIRTUAL_HOST, Reply, S3Server, Scripted, with_session_token

pytestmark = [pytest.mark.oldest, pytest.mark.usefixtures("direct")]

NAME = re.compile(r"[0-9a-f]{32}\.mp4")
BIG = 8_000_000
"""Bytes, more than network buffers hold."""


@pytest.fixture(params=["rclone_server", "seaweed_server"])
def server(request: pytest.FixtureRequest) -> S3Server:
    return request.getfixturevalue(request.param)


@pytest.fixture
def opened(any_service: Service, transport: InstantTransport) -> Callable[[S3Config], Storage]:
    return lambda config: config.open(any_service, transport)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.mp4"
    path.write_bytes(bytes(BIG))
    return path


def read(transport: Transport, url: str) -> Response:
    return transport.read(url, 1_000_000)


def failure_of(act: Callable[[], object]) -> Failure:
    with pytest.raises(Failure) as raised:
        act()
    assert raised.value.message.endswith(").")
    assert raised.value.hint.endswith(".")
    return raised.value


def signing_at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the signer's clock off by so many seconds."""

    def utcnow() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=seconds)

    monkeypatch.setattr(aws_request_signer, "datetime", SimpleNamespace(datetime=SimpleNamespace(utcnow=utcnow)))


def test_a_clip_is_published_read_by_anyone_and_deleted(
    server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport, clip: Path
) -> None:
    storage = opened(replace(server.config, lifetime=600))
    uploads: list[Published] = []
    seen: list[tuple[float, float]] = []
    published = storage.publish(clip, lambda done, total: seen.append((done, total)), uploads.append)
    assert uploads == [published]
    assert NAME.fullmatch(published.id)
    assert 590 < published.expires - time.time() <= 600
    size = clip.stat().st_size
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {size}
    assert seen[-1] == (size, size)
    answer = read(transport, published.url)
    assert (answer.status, answer.body) == (200, clip.read_bytes())
    assert answer.headers["Content-Type"] == "video/mp4"
    assert read(transport, published.url.partition("?")[0]).status in (400, 403)
    storage.delete(published)
    assert read(transport, published.url).status == 404
    storage.delete(published)


@pytest.mark.parametrize("prefix", ["clips", "/a//b/", "für Julia/clips & cuts", "日本/x+y=z?#%&.", "it's (new)!*~"])
def test_a_prefix_may_have_any_folder_names(
    *, prefix: str, server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport, clip: Path
) -> None:
    storage = opened(replace(server.config, prefix=prefix))
    published = storage.publish(clip, *no_callbacks)
    folders, _, name = published.id.rpartition("/")
    assert folders == prefix.strip("/").replace("//", "/")
    assert NAME.fullmatch(name)
    assert read(transport, published.url).body == clip.read_bytes()
    storage.delete(published)
    assert read(transport, published.url).status == 404


def test_a_bucket_may_be_part_of_the_host(
    seaweed_server: S3Server,
    any_service: Service,
    transport: InstantTransport,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # These names can't be resolved, so the server is used as a proxy for them, whose requests it accepts.
    by_number = seaweed_server.config.endpoint
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, by_number)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    endpoint = by_number.replace("127.0.0.1", VIRTUAL_HOST)
    storage = replace(seaweed_server.config, endpoint=endpoint, virtual_host=True).open(any_service, transport)
    published = storage.publish(clip, *no_callbacks)
    assert published.url.startswith(endpoint.replace("//", "//media.") + "/" + published.id + "?")
    assert read(transport, published.url).body == clip.read_bytes()
    elsewhere = read(transport, published.url.replace("//media.", "//other."))
    assert storage_error(elsewhere, "the download", endpoint).code in ("storage_key", "no_bucket")
    storage.delete(published)
    assert read(transport, published.url).status == 404


def test_temporary_credentials_come_with_their_token(
    seaweed_server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport, clip: Path
) -> None:
    config = with_session_token(seaweed_server.config)
    storage = opened(config)
    published = storage.publish(clip, *no_callbacks)
    assert read(transport, published.url).body == clip.read_bytes()
    without = re.sub(r"X-Amz-Security-Token=[^&]*&", "", published.url)
    assert without != published.url
    assert read(transport, without).status == 403
    storage.delete(published)
    assert read(transport, published.url).status == 404
    for token in ("", config.session_token[:-6] + "AAAAAA"):
        failure = failure_of(lambda token=token: opened(replace(config, session_token=token)).publish(clip, *no_callbacks))
        assert failure.code == "storage_key"


def test_a_token_is_signed_too(
    rclone_server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport, clip: Path
) -> None:
    storage = opened(replace(rclone_server.config, session_token="t/o+k=e n"))
    published = storage.publish(clip, *no_callbacks)
    assert read(transport, published.url).status == 200
    assert "t%2Fo%2Bk%3De%20n" in published.url
    assert read(transport, published.url.replace("t%2Fo", "t%2Fp")).status == 403
    storage.delete(published)


WRONG = [
    ({"secret_key": "wr0ng-s3cret"}, "storage_key", "the secret key is wrong"),
    ({"access_key": "AKIDNOBODY"}, "storage_key", "the access key is unknown"),
    ({"bucket": "no-such-bucket"}, "no_bucket", "the bucket does not exist"),
]


@pytest.mark.parametrize(("change", "code", "words"), WRONG)
def test_wrong_settings_are_reported_in_plain_words(
    *,
    change: dict[str, str],
    code: str,
    words: str,
    server: S3Server,
    opened: Callable[[S3Config], Storage],
    transport: InstantTransport,
    clip: Path,
) -> None:
    config = replace(server.config, **change)
    failure = failure_of(lambda: opened(config).publish(clip, *no_callbacks))
    assert failure.code == code
    assert failure.message.startswith("127.0.0.1 refused the upload: ")
    assert words in failure.message
    assert [secret for secret in secrets_of(config) if secret in failure.message + failure.hint] == []
    assert transport.waited == []


def test_a_key_of_another_bucket_is_reported(
    seaweed_server: S3Server, opened: Callable[[S3Config], Storage], clip: Path
) -> None:
    assert seaweed_server.limited is not None
    assert seaweed_server.limited.bucket == OTHER_BUCKET
    failure = failure_of(lambda: opened(seaweed_server.limited or S3Config()).publish(clip, *no_callbacks))
    assert (failure.code, "credentials don't permit it" in failure.message) == ("storage_denied", True)


@pytest.mark.parametrize("change", [change for change, _, _ in WRONG])
def test_a_large_upload_that_is_refused_early_is_reported_in_the_same_way(
    *, change: dict[str, str], server: S3Server, opened: Callable[[S3Config], Storage], big: Path
) -> None:
    failure = failure_of(lambda: opened(replace(server.config, **change)).publish(big, *no_callbacks))
    assert failure.code in ("storage_key", "no_bucket")


ALTERED = [
    (r"/[0-9a-f]{32}\.mp4", "/00000000000000000000000000000000.mp4"),
    (r"X-Amz-Expires=\d+", "X-Amz-Expires=604800"),
    (r"X-Amz-Signature=\w{8}", "X-Amz-Signature=00000000"),
    (r"X-Amz-Date=2", "X-Amz-Date=3"),
    (r"(X-Amz-Content-Sha256)=[^&]*", r"\1=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
]


@pytest.mark.parametrize(("what", "into"), ALTERED)
def test_a_modified_url_is_rejected(
    *, what: str, into: str, server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport, clip: Path
) -> None:
    storage = opened(server.config)
    published = storage.publish(clip, *no_callbacks)
    altered = re.sub(what, into, published.url)
    assert altered != published.url
    answer = read(transport, altered)
    assert answer.status in (400, 403)
    failure = storage_error(answer, "the download", altered)
    assert (failure.code, "a proxy changed the request" in failure.message) == ("storage_key", True)
    storage.delete(published)


def test_a_url_expires(
    server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport, clip: Path
) -> None:
    storage = opened(replace(server.config, lifetime=1))
    published = storage.publish(clip, *no_callbacks)
    wait_until(lambda: read(transport, published.url).status != 200, 5)
    assert published.expires <= time.time()
    failure = storage_error(read(transport, published.url), "the download", published.url)
    assert (failure.code, "has expired" in failure.message) == ("lapsed", True)
    storage.delete(published)


def test_a_slow_clock_is_reported(
    server: S3Server, opened: Callable[[S3Config], Storage], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing_at(monkeypatch, -3600)
    assert failure_of(lambda: opened(server.config).publish(clip, *no_callbacks)).code == "lapsed"
    monkeypatch.setattr(error_responses, "time", SimpleNamespace(time=lambda: time.time() - 3600))
    failure = failure_of(lambda: opened(server.config).publish(clip, *no_callbacks))
    assert (failure.code, "clock is 60 minutes behind" in failure.message) == ("clock", True)


def test_an_upload_that_is_cancelled_leaves_nothing(server: S3Server, any_service: Service, big: Path) -> None:
    cancel = threading.Event()
    transport = InstantTransport(cancel)
    uploads: list[Published] = []
    seen: list[float] = []

    def progress(done: float, total: float) -> None:
        seen.append(done)
        if done > total / 2:
            cancel.set()

    with pytest.raises(Cancelled):
        server.config.open(any_service, transport).publish(big, progress, uploads.append)
    assert BIG / 2 < seen[-1] < BIG
    transport.close()
    other = InstantTransport()
    assert read(other, uploads[0].url).status == 404
    server.config.open(any_service, other).delete(uploads[0])
    other.close()


def test_test_connection_uploads_reads_and_deletes(
    server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport
) -> None:
    said = check_storage(opened(replace(server.config, prefix="clips")), transport)
    assert said == "Uploaded, read back from 127.0.0.1 and deleted."


def test_test_connection_names_the_step(
    seaweed_server: S3Server,
    opened: Callable[[S3Config], Storage],
    transport: InstantTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = seaweed_server.config
    failure = failure_of(lambda: check_storage(opened(replace(config, secret_key="wrong")), transport))
    assert (failure.code, failure.message.startswith("Upload: 127.0.0.1 refused")) == ("storage_key", True)
    real = s3.presigned
    for method, step in (("GET", "Read back"), ("DELETE", "Delete")):
        # The signature of one step is wrong.
        monkeypatch.setattr(
            s3, "presigned", lambda asked, *rest, method=method: real("HEAD" if asked == method else asked, *rest)
        )
        failure = failure_of(lambda: check_storage(opened(config), transport))
        assert (failure.code, failure.message.startswith(f"{step}: 127.0.0.1 refused")) == ("storage_key", True)


def test_a_deletion_that_finds_no_file_is_a_failure(
    scripted: Scripted, opened: Callable[[S3Config], Storage], transport: InstantTransport
) -> None:
    scripted.instead["DELETE"] = Reply(404, xml("NoSuchKey"))
    with pytest.raises(Failure, match=r"^Delete: .* \(HTTP 404, NoSuchKey\)\. The file is still there\.$"):
        check_storage(opened(at(scripted)), transport)


def xml(code: str, message: str = "") -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()


ELSEWHERE = {"x-amz-bucket-region": "eu-west-3"}
HOUR_AGO = {"Date": formatdate(time.time() - 3600)}
HOUR_AHEAD = {"Date": formatdate(time.time() + 3600)}


# Responses that neither server sends, as AWS, R2, B2 and Azure document them.
@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (Reply(301, xml("PermanentRedirect"), ELSEWHERE), "region", "in the region eu-west-3"),
        (Reply(301, xml("PermanentRedirect"), {"x-amz-bucket-region": "<b>&"}), "region", "in another region"),
        (Reply(307, xml("TemporaryRedirect"), {"Location": "http://127.0.0.1:9/"}), "region", "in another region"),
        (Reply(400, xml("AuthorizationHeaderMalformed")), "region", "in another region"),
        (Reply(400, xml("AuthorizationQueryParametersError"), ELSEWHERE), "region", "in the region eu-west-3"),
        (Reply(403, xml("RequestTimeTooSkewed")), "clock", "clock is wrong"),
        (Reply(403, xml("RequestTimeTooSkewed"), HOUR_AGO), "clock", "minutes ahead"),
        (Reply(403, xml("AccessDenied", "Request has expired"), HOUR_AHEAD), "clock", "minutes behind"),
        (Reply(403, xml("AccessDenied", "Request has expired")), "lapsed", "has expired"),
        (Reply(403, xml("AccessDenied")), "storage_denied", "credentials don't permit it"),
        (Reply(403, xml("AccessDenied"), {"Date": "yesterday"}), "storage_denied", "credentials don't permit it"),
        (
            Reply(403, xml("AuthenticationFailed", "Signature not valid in the specified time frame: s3cret")),
            "lapsed",
            "signature in the URL has expired",
        ),
        (Reply(403, xml("AuthenticationFailed", "Signature did not match.")), "storage_key", "signature in the URL is"),
        (Reply(401, xml("Unauthorized")), "storage_key", "the access key is unknown"),
        (
            Reply(400, xml("InvalidArgument", "Credential access key has length 40, should be 32")),
            "storage_key",
            "the access key is unknown",
        ),
        (Reply(400, xml("InvalidArgument", "Invalid Argument")), "bad_answer", "unexpected"),
        (Reply(400, xml("ExpiredToken")), "storage_key", "token is wrong or has expired"),
        (Reply(400, xml("EntityTooLarge")), "too_large", "too large"),
        (Reply(302, b"", {"Location": "https://sign-in.example/"}), "redirected", "another URL"),
        (Reply(418, b"<html>I am a teapot</html>"), "bad_answer", "unexpected"),
        (Reply(200 + 6), "bad_answer", "unexpected"),
        (Reply(507), "storage_full", "no space"),
    ],
)
def test_error_responses_of_buckets_are_understood(
    *, reply: Reply, code: str, words: str, scripted: Scripted, opened: Callable[[S3Config], Storage], clip: Path
) -> None:
    scripted.replies = [reply]
    failure = failure_of(lambda: opened(at(scripted)).publish(clip, *no_callbacks))
    assert failure.code == code
    assert words in failure.message
    assert f"(HTTP {reply.status}" in failure.message
    assert len(scripted.seen) == 1


@pytest.mark.parametrize(
    "reply", [Reply(503, xml("SlowDown")), Reply(500, xml("InternalError")), Reply(400, xml("RequestTimeout")), Reply(429)]
)
def test_a_temporary_error_is_retried_with_the_same_object(
    reply: Reply, scripted: Scripted, opened: Callable[[S3Config], Storage], clip: Path, transport: InstantTransport
) -> None:
    scripted.replies = [replace(reply, headers={"Retry-After": "7"}), reply, Reply()]
    uploads: list[Published] = []
    opened(at(scripted)).publish(clip, no_callbacks[0], uploads.append)
    assert [(seen.method, seen.body) for seen in scripted.seen] == [("PUT", clip.read_bytes())] * 3
    assert {seen.target.partition("?")[0] for seen in scripted.seen} == {f"/media/{uploads[0].id}"}
    assert len(uploads) == 1
    assert transport.waited[0] >= 7


HOSTILE = [
    xml("SignatureDoesNotMatch", "s3cret-0123456789 " * 10),
    b"<Error><Code>" + b"A" * 4_000_000,
    b"<!DOCTYPE x [<!ENTITY a 'SlowDown'>]><Error><Code>&a;</Code></Error>",
    xml("s3cretTokenThatIsRepeated"),
    xml("sEcReTtOkEnOfTheArtist"),
    xml("<script>alert(1)</script>"),
    xml("Code\r\nX-Evil: 1"),
    b"\xff\xfe\x00" * 1000,
    b" " * 70_000 + xml("NoSuchBucket"),
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_the_body_the_message_is_a_short_sentence(
    body: bytes, scripted: Scripted, opened: Callable[[S3Config], Storage], clip: Path
) -> None:
    scripted.replies = [Reply(403, body)]
    failure = failure_of(lambda: opened(at(scripted)).publish(clip, *no_callbacks))
    assert re.fullmatch(
        r"127\.0\.0\.1 refused the upload: [a-z ,]+ \(HTTP 403(, SignatureDoesNotMatch)?\)\.", failure.message
    )


def at(scripted: Scripted) -> S3Config:
    return S3Config(scripted.address, "media", access_key="AKID0123456789", secret_key="s3cret-0123456789")


def secrets_of(config: S3Config) -> list[str]:
    return [secret for secret in (config.access_key, config.secret_key, config.session_token) if secret]


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "env-secret"}
ALL_OF_IT = {**ENVIRONMENT, "AWS_SESSION_TOKEN": "env-tok", "AWS_REGION": "eu-north-1"}
SET = S3Config("https://s3.example", "media", "us-west-2", access_key="AKIDSET", secret_key="set", session_token="tok")
OF_SETTINGS = ("AKIDSET", "set", "tok")
NO_KEY = {"access_key": "", "secret_key": ""}


@pytest.mark.parametrize(
    ("change", "environment", "region", "key"),
    [
        ({}, {}, "us-west-2", OF_SETTINGS),
        ({}, ALL_OF_IT, "us-west-2", OF_SETTINGS),
        ({"session_token": ""}, ALL_OF_IT, "us-west-2", ("AKIDSET", "set", "")),
        (NO_KEY, ALL_OF_IT, "us-west-2", ("AKIDENV", "env-secret", "env-tok")),
        # A token is used with its own key only.
        (NO_KEY, ENVIRONMENT, "us-west-2", ("AKIDENV", "env-secret", "")),
        ({**NO_KEY, "region": " "}, ALL_OF_IT, "eu-north-1", ("AKIDENV", "env-secret", "env-tok")),
        ({"region": ""}, {"AWS_REGION": "eu-north-1"}, "eu-north-1", OF_SETTINGS),
        ({"region": ""}, {"AWS_REGION": ""}, "us-east-1", OF_SETTINGS),
        ({"region": ""}, {}, "us-east-1", OF_SETTINGS),
        # Half a key is not used: it makes no signature with the other half of another key.
        (NO_KEY, {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SESSION_TOKEN": "x"}, "us-west-2", ("", "", "tok")),
        (NO_KEY, {"AWS_SECRET_ACCESS_KEY": "env-secret"}, "us-west-2", ("", "", "tok")),
        # An incomplete key in the settings is an error, and not replaced.
        ({"secret_key": ""}, ALL_OF_IT, "us-west-2", ("AKIDSET", "", "tok")),
        ({"access_key": ""}, ALL_OF_IT, "us-west-2", ("", "set", "tok")),
    ],
)
def test_empty_settings_are_completed_from_the_environment(
    *, change: dict[str, str], environment: dict[str, str], region: str, key: tuple[str, str, str]
) -> None:
    config = replace(SET, **change).with_environment(environment)
    assert (config.region, (config.access_key, config.secret_key, config.session_token)) == (region, key)
    assert config.key_from_environment is (key[0] == "AKIDENV")


def test_the_hint_for_a_wrong_key_names_the_environment(
    rclone_server: S3Server, opened: Callable[[S3Config], Storage], clip: Path
) -> None:
    config = replace(rclone_server.config, **NO_KEY).with_environment(ENVIRONMENT)
    failure = failure_of(lambda: opened(config).publish(clip, *no_callbacks))
    assert "AWS_ACCESS_KEY_ID in the environment" in failure.hint


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": ""},
        {"endpoint": "  "},
        {"endpoint": "https://s3.example/?x"},
        {"endpoint": "https://[::1"},
        {"bucket": ""},
        {"bucket": "a/b"},
        {"bucket": "../b"},
        {"bucket": "Media", "virtual_host": True},
        {"bucket": "my.media", "virtual_host": True},
        {"endpoint": "https://8.8.8.8", "virtual_host": True},
        {"region": ""},
        {"region": "eu west"},
        {"access_key": ""},
        {"secret_key": " "},
        {"prefix": "a/../b"},
        {"prefix": "./a"},
        {"prefix": "a\nb"},
        {"lifetime": 0},
        {"lifetime": 604_801},
    ],
    ids=str,
)
def test_invalid_settings_are_rejected_before_anything_is_sent(
    change: dict[str, str | int | bool], opened: Callable[[S3Config], Storage]
) -> None:
    with pytest.raises(Failure) as raised:
        opened(replace(SET, **change))
    assert raised.value.code == "storage_setup"
    assert raised.value.hint


@pytest.mark.parametrize("endpoint", ["http://s3.example", "https://10.0.0.1", "ftp://s3.example", "https://u:p@s3.example"])
def test_an_endpoint_that_is_not_public_is_refused(endpoint: str, any_service: Service) -> None:
    with pytest.raises(Failure) as raised:
        replace(SET, endpoint=endpoint).open(any_service, Transport(threading.Event()))
    assert raised.value.code in ("unsafe_url", "storage_setup")
    assert "endpoint" in raised.value.hint or "HOST" in raised.value.hint


def test_spaces_around_pasted_settings_are_removed(
    rclone_server: S3Server, opened: Callable[[S3Config], Storage], clip: Path
) -> None:
    config = rclone_server.config
    blanks = {name: f"  {getattr(config, name)}\n" for name in ("endpoint", "bucket", "region", "access_key", "secret_key")}
    storage = opened(replace(config, **blanks))
    storage.delete(storage.publish(clip, *no_callbacks))


def test_a_clip_of_other_settings_is_not_deleted(
    rclone_server: S3Server, opened: Callable[[S3Config], Storage], transport: InstantTransport, clip: Path
) -> None:
    storage = opened(rclone_server.config)
    published = storage.publish(clip, *no_callbacks)
    with pytest.raises(Failure) as raised:
        opened(replace(rclone_server.config, bucket="other")).delete(published)
    assert raised.value.code == "storage_changed"
    assert read(transport, published.url).status == 200
    # The credentials may have changed: the id and the URL are sufficient.
    storage.delete(Published(published.id, published.url))
    assert read(transport, published.url).status == 404


def test_names_are_random_and_unique(rclone_server: S3Server, opened: Callable[[S3Config], Storage], tmp_path: Path) -> None:
    clip = tmp_path / "Secret Project shot 12.mp4"
    clip.write_bytes(b"clip")
    storage = opened(rclone_server.config)
    published = [storage.publish(clip, *no_callbacks) for _ in range(8)]
    assert len({one.id for one in published}) == 8
    assert [one.id for one in published if not NAME.fullmatch(one.id)] == []
    for one in published:
        storage.delete(one)
