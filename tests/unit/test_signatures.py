# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that presigned URLs are those of AWS's own library, and are sent as they were signed."""

import datetime
import random
import string
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import aws_request_signer
import botocore.auth
import pytest
import requests
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from addon.service.storage.presign import Credentials, object_url, presigned

pytestmark = pytest.mark.oldest

NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
CASES = 500
LETTERS = string.ascii_letters + string.digits
# Characters that may be in object keys, secrets and tokens, and that are easily escaped wrongly.
IN_NAMES = LETTERS + "-_.~/!*'() +&=?#%:@$,;[]|\\\"<>^`{}äöéß€日本𝄞"
IN_SECRETS = LETTERS + "/+="
ENDPOINTS = [
    "https://s3.amazonaws.com",
    "https://s3.eu-central-1.amazonaws.com:443",
    "https://STORAGE.googleapis.com/",
    "https://0123abcd.r2.cloudflarestorage.com",
    "http://localhost:80",
    "https://minio.studio.example:9443/behind/a.proxy",
    "https://clips.bücher.example",
]
NUMBERS = ["http://127.0.0.1:9000", "http://[::1]:8333"]


def some(chance: random.Random, letters: str, least: int, most: int) -> str:
    return "".join(chance.choices(letters, k=chance.randint(least, most)))


def some_address(chance: random.Random, bucket: str, name: str) -> str:
    endpoint = chance.choice(ENDPOINTS + NUMBERS)
    virtual_host = endpoint not in NUMBERS and chance.random() < 0.5
    return object_url(endpoint, bucket, name, virtual_host=virtual_host)


def botocore_query(method: str, address: str, key: Credentials, lifetime: int, headers: dict[str, str]) -> dict[str, str]:
    """Return botocore's query. Ours also says that the payload is unsigned, as AWS's newer libraries do."""
    request = AWSRequest(method, address + "?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", headers)
    credentials = BotocoreCredentials(key.access_key, key.secret_key, key.session_token or None)
    botocore.auth.S3SigV4QueryAuth(credentials, "s3", key.region, lifetime).add_auth(request)
    query: str = urlsplit(str(request.url)).query
    return dict(parse_qsl(query, strict_parsing=True))


@pytest.fixture
def at_a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(datetime=SimpleNamespace(utcnow=lambda: NOW.replace(tzinfo=None)))
    monkeypatch.setattr(aws_request_signer, "datetime", clock)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)


@pytest.mark.usefixtures("at_a_fixed_time")
def test_signatures_are_those_of_botocore() -> None:
    chance = random.Random(20260304)
    for number in range(CASES):
        key = Credentials(
            region=some(chance, string.ascii_lowercase + string.digits + "-", 2, 20),
            access_key=some(chance, LETTERS + "/=", 3, 64),
            secret_key=some(chance, IN_SECRETS, 3, 64),
            session_token=some(chance, IN_SECRETS, 1, 900) if chance.random() < 0.5 else "",
        )
        bucket = some(chance, string.ascii_lowercase + string.digits, 3, 40)
        address = some_address(chance, bucket, "a" + some(chance, IN_NAMES, 1, 80))
        method, lifetime = chance.choice(["PUT", "GET", "DELETE", "HEAD"]), chance.randint(1, 604_800)
        headers = {"Content-Type": some(chance, LETTERS + "/;=-", 3, 30)} if chance.random() < 0.5 else {}
        if chance.random() < 0.3:
            headers |= {f"X-Amz-Meta-{some(chance, LETTERS, 1, 9)}": some(chance, LETTERS + "-_.", 1, 40)}
        ours = presigned(method, address, key, lifetime, headers)
        assert ours.partition("?")[0] == address
        query = dict(parse_qsl(urlsplit(ours).query, strict_parsing=True))
        assert query == botocore_query(method, address, key, lifetime, headers), f"case {number}: {method} {address}"


def test_a_url_is_sent_as_it_was_signed() -> None:
    chance = random.Random(7)
    key = Credentials("us-east-1", "AKID", "secret", "token/+=")
    for _ in range(CASES):
        # Clients resolve `..`; the settings reject it.
        name = "a" + some(chance, IN_NAMES.replace(".", ""), 1, 80)
        signed = presigned("PUT", some_address(chance, "media", name), key, 60)
        prepared = requests.Request("PUT", signed).prepare()
        assert prepared.url == signed


@pytest.mark.parametrize(
    ("endpoint", "virtual_host", "address"),
    [
        ("https://s3.eu-central-1.amazonaws.com", False, "https://s3.eu-central-1.amazonaws.com/media/a%20b/%C3%A4~.mp4"),
        ("https://s3.eu-central-1.amazonaws.com/", True, "https://media.s3.eu-central-1.amazonaws.com/a%20b/%C3%A4~.mp4"),
        ("https://S3.Example:443", True, "https://media.s3.example/a%20b/%C3%A4~.mp4"),
        ("https://s3.example:80", False, "https://s3.example:80/media/a%20b/%C3%A4~.mp4"),
        ("http://localhost:80/s3/", False, "http://localhost/s3/media/a%20b/%C3%A4~.mp4"),
        ("http://[::1]:8333", False, "http://[::1]:8333/media/a%20b/%C3%A4~.mp4"),
        ("https://bücher.example", False, "https://xn--bcher-kva.example/media/a%20b/%C3%A4~.mp4"),
    ],
)
def test_object_urls_are_those_of_other_clients(endpoint: str, virtual_host: bool, address: str) -> None:
    assert object_url(endpoint, "media", "a b/ä~.mp4", virtual_host=virtual_host) == address


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://",
        "s3.example",
        "https://s3.example:port",
        "https://s3.example/?list",
        "https://s3.example/#a",
        "https://me:word@s3.example",
        "https://s3.example/a b",
        "https://s3.example/../a",
        "https://[::1",
        "https://a..b",
    ],
)
def test_an_invalid_endpoint_is_rejected(endpoint: str) -> None:
    with pytest.raises(ValueError):
        object_url(endpoint, "media", "a.mp4", virtual_host=False)


@pytest.mark.parametrize("endpoint", NUMBERS)
def test_an_ip_address_has_no_bucket_in_its_host(endpoint: str) -> None:
    with pytest.raises(ValueError):
        object_url(endpoint, "media", "a.mp4", virtual_host=True)


def test_credentials_show_nothing() -> None:
    shown = repr(Credentials("us-east-1", "AKID0123", "s3cret", "t0ken"))
    assert [secret for secret in ("AKID0123", "s3cret", "t0ken") if secret in shown] == []
