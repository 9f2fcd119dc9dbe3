# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that credentials of storages and URLs of clips are in no repr, message or log."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from addon.failure import Failure
from addon.service.storage import Published, StorageConfig
from addon.service.storage.given_url import GivenUrlConfig
from addon.service.storage.http_put import HttpPutConfig
from addon.service.storage.s3 import S3Config

from .helpers import InstantTransport, Service, check_storage
from .servers import Reply, Scripted

pytestmark = pytest.mark.oldest

SECRET = re.compile(r"(?i)s3cret|X-Amz-|[0-9a-f]{32}")


def s3_config(address: str) -> S3Config:
    return S3Config(address, "media", access_key="AKs3cret", secret_key="keys3cret", session_token="tokens3cret")


def azure_config(address: str) -> HttpPutConfig:
    template = address + "/{name}?sig=sass3cret"
    return HttpPutConfig(template, template, headers="AccessKey: headers3cret", token="tokens3cret")


def dav_config(address: str) -> HttpPutConfig:
    return HttpPutConfig(address + "/{name}", address + "/{name}", user="users3cret", password="words3cret")


def given_config(address: str) -> GivenUrlConfig:
    return GivenUrlConfig(address + "/shot.mp4?sig=sigs3cret")


ALL = pytest.mark.parametrize("config_at", [s3_config, azure_config, dav_config, given_config])
ECHO = (
    b"<Error><Code>AccessDenied</Code><Message>keys3cret tokens3cret sass3cret https://a.example/?s3cret</Message></Error>"
)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{record.getMessage()} {record.msg!r} {record.args!r}" for record in caplog.records)


@ALL
def test_no_repr_has_credentials(
    config_at: Callable[[str], StorageConfig], any_service: Service, transport: InstantTransport
) -> None:
    config = config_at("https://storage.example")
    published = Published("name", "https://storage.example/clip.mp4?X-Amz-Signature=s3cret", 7.0)
    shown = f"{config!r} {config} {config.open(any_service, transport)!r} {published!r} {published}"
    assert SECRET.findall(shown) == []
    assert "name" in shown


@ALL
@pytest.mark.parametrize(
    "reply",
    [
        None,
        Reply(200, ECHO),
        *(Reply(status, ECHO) for status in (301, 400, 401, 403, 404, 500)),
        Reply(302, ECHO, {"Location": "https://10.0.0.1/?X-Amz-Signature=s3cret"}),
        Reply(302, ECHO, {"Location": "https://julia:words3cret@cdn.example/clip.mp4"}),
        # A line without a colon among the headers: urllib3 would warn of it and spell out the whole address.
        Reply(200, ECHO, {"X-A": "b\r\nno header at all"}),
        Reply(403, ECHO, {"X-Request-Id": "s3cret", "x-amz-bucket-region": "S3cret", "Retry-After": "s3cret"}),
    ],
)
def test_no_message_or_log_has_credentials(
    *,
    config_at: Callable[[str], StorageConfig],
    reply: Reply | None,
    any_service: Service,
    transport: InstantTransport,
    scripted: Scripted,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "requests", "addon"):
        caplog.set_level(logging.DEBUG, name)
    if reply is not None:
        scripted.replies = [reply]
    try:
        said = check_storage(config_at(scripted.address).open(any_service, transport), transport)
    except Failure as failure:
        said = f"{failure.message} {failure.hint} {failure!r}"
    assert scripted.seen != []
    assert SECRET.findall(said + logged(caplog)) == []


@ALL
def test_of_an_unreachable_server_only_the_name_is_shown(
    config_at: Callable[[str], StorageConfig],
    any_service: Service,
    transport: InstantTransport,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Failure) as raised:
        check_storage(config_at("http://127.0.0.1:9").open(any_service, transport), transport)
    assert raised.value.code == "connection"
    assert SECRET.findall(raised.value.message + raised.value.hint + logged(caplog)) == []


@ALL
@pytest.mark.parametrize(
    "login", ["julia:words3cret", "words3cret", "julia:word/s3cret", "julia:word?s3cret", "julia:[s3cret"]
)
def test_a_url_with_a_login_is_rejected_without_showing_it(
    *,
    config_at: Callable[[str], StorageConfig],
    login: str,
    any_service: Service,
    transport: InstantTransport,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    config = config_at(f"https://{login}@storage.example")
    with pytest.raises(Failure) as raised:
        config.open(any_service, transport)
    assert raised.value.code in ("unsafe_url", "storage_setup")
    assert SECRET.findall(f"{raised.value!r} {raised.value.message} {raised.value.hint} {config!r} {logged(caplog)}") == []


def test_requests_contain_all_the_secrets(scripted: Scripted, any_service: Service, transport: InstantTransport) -> None:
    # Proves that the tests above look for the right secrets: the requests contain all of them.
    for config in (s3_config, azure_config, dav_config):
        check_storage(config(scripted.address).open(any_service, transport), transport)
    sent = "\n".join(f"{seen.target} {seen.headers}" for seen in scripted.seen)
    assert {found.lower() for found in SECRET.findall(sent)} >= {"s3cret", "x-amz-"}
    assert Path(scripted.seen[0].target.partition("?")[0]).suffix == ".mp4"
