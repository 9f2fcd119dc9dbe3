# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that only the API gets the key, and that no key, signature or clip URL is ever logged or shown."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure
from addon.jobs.model.run import Stage
from addon.jobs.work.context import JobContext
from addon.service.eachlabs.client import KeyAuth, check_base_url
from addon.service.eachlabs.results import download
from addon.service.net.addresses import check_url, redact
from addon.service.storage.eachlabs import EachlabsStorage

from .helpers import Double, InstantTransport, Service, context_for, fields, new_job, no_callbacks, run_job, wait_for_success

KEY = "k3y-0123456789"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"key {KEY}, again {KEY}", "key [key], again [key]"),
        ("get https://cdn.example/put/7?X-Amz-Signature=abc now", "get https://cdn.example/… now"),
        ("https://cdn.example", "https://cdn.example/…"),
        ("https://cdn.example?X-Amz-Signature=abc", "https://cdn.example/…"),
        ("https://user:word@cdn.example/a", "https://cdn.example/…"),
        ("HTTPS://cdn.example/a#b", "HTTPS://cdn.example/…"),
        ("s3://bucket/secret", "s3://bucket/…"),
        ('{"url": "https://cdn.example/a?b", "n": 1}', '{"url": "https://cdn.example/…", "n": 1}'),
        (f"https://cdn.example/{KEY}/x", "https://cdn.example/…"),
        ("two: http://a.example/1 and http://b.example/2", "two: http://a.example/… and http://b.example/…"),
        ("nothing to hide: 3/4 of it", "nothing to hide: 3/4 of it"),
    ],
)
def test_redacted_text_has_no_secret(text: str, kept: str) -> None:
    assert redact(text, KEY) == kept


def test_a_key_is_redacted_in_its_escaped_form_too() -> None:
    assert redact("k/e y, k%2Fe%20y, k/e%20y", "k/e y") == "[key], [key], [key]"


def test_an_empty_secret_redacts_nothing() -> None:
    assert redact("abc", "") == "abc"


def test_a_key_in_a_response_is_not_shown(service: Service, double: Double) -> None:
    said = f"no such key {double.key}, see https://cdn.example/a?X-Amz-Signature=1"
    double.respond("get", {"error": said}, 401)
    with pytest.raises(Failure) as raised:
        service.poll("run")
    assert "no such key [key], see https://cdn.example/…" in raised.value.message
    double.respond("get", {"status": "error", "message": said})
    assert service.poll("run").reason == "no such key [key], see https://cdn.example/…"


@pytest.mark.parametrize("before", range(460, 501, 8))
def test_not_even_a_part_of_a_key_in_a_shortened_response_is_shown(before: int, service: Service, double: Double) -> None:
    double.respond("get", {"error": "x" * before + double.key}, 401)
    with pytest.raises(Failure) as raised:
        service.poll("run")
    double.respond("get", {"status": "error", "message": double.key + "x" * before})
    shown = raised.value.message + service.poll("run").reason
    assert double.key[:4] not in shown
    assert double.key[-4:] not in shown


def secrets_in(text: str, double: Double) -> list[str]:
    """Return the key, the signatures and all URLs with which others could read a clip or a result."""
    state = double.state()
    ids = [upload["id"] for upload in state["uploads"]]
    found = [secret for secret in (double.key, *ids, "/outputs/") if secret in text]
    return found + re.findall(r"X-Amz-Signature\S*", text)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return every log record, formatted and as its parts."""
    form = logging.Formatter("%(name)s %(message)s")
    return "\n".join(f"{form.format(record)} {record.msg!r} {record.args!r}" for record in caplog.records)


@pytest.mark.usefixtures("without_aud")
@pytest.mark.parametrize(
    ("faults", "stage"),
    [
        ([], Stage.PLACING),
        ([("get", {"do": "drop"}), ("put", {"do": "drop"}), ("output", {"do": "truncate"})], Stage.PLACING),
        ([("put", {"do": "status", "status": 413, "body": "too large"})], Stage.FAILED),
        ([("output", {"do": "status", "status": 302, "headers": {"Location": "http://10.0.0.1/?key"}})], Stage.FAILED),
        ([("delete", {"do": "status", "status": 400, "body": '{"error": "no"}'})], Stage.PLACING),
        ([(at, {"do": "slow", "seconds": 0}) for at in ("put", "output")], Stage.PLACING),
    ],
    ids=["well", "shaky", "refused", "led astray", "not cleared", "slow"],
)
def test_no_log_record_of_a_job_has_a_secret(
    faults: list[tuple[str, dict[str, Any]]], stage: Stage, double: Double, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "requests", "addon"):
        caplog.set_level(logging.DEBUG, name)
    for at, fault in faults:
        double.inject(at, **fault)
    states = run_job(new_job(tmp_path), context_for(double, tmp_path))
    assert states[-1].stage is stage
    shown = " ".join(f"{state.error} {state.note} {state.as_json()}" for state in states)
    assert secrets_in(logged(caplog) + shown, double) == []
    assert double.state()["violations"] == []


@pytest.mark.parametrize("at", ["put", "output"])
def test_no_warning_of_malformed_headers_has_a_secret(
    *,
    at: str,
    service: Service,
    storage: EachlabsStorage,
    transport: InstantTransport,
    double: Double,
    clip: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    # A line without a colon among the headers: urllib3 would warn of it and spell out the whole address.
    broken = {"X-A": "b\r\nno header at all"}
    double.inject("put", "status", status=200, carried_out=True, headers=broken if at == "put" else {})
    video = storage.publish(clip, *no_callbacks).url
    if at == "output":
        url = wait_for_success(service, service.start_run(fields(video))).output_url
        assert url is not None
        double.inject("output", "status", status=200, headers=broken)
        download(transport, url, tmp_path / "result.mp4", lambda done, total: None)
    assert secrets_in(logged(caplog), double) == []


def test_nothing_that_is_printed_shows_the_key(double: Double, tmp_path: Path) -> None:
    job_context = context_for(double, tmp_path)
    states = run_job(new_job(tmp_path), job_context, cancel_when=lambda job: job.runs[0].prediction_id is not None)
    service = Service(double.key, double.base_url, InstantTransport())
    assert double.base_url in repr(job_context)
    for thing in (job_context, service, KeyAuth(double.key), *states):
        assert double.key not in f"{thing!r} {thing}"
    assert double.key not in str(states[-1].as_json())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and double.key.encode() in path.read_bytes()] == []


def files_url(storage: EachlabsStorage, double: Double, transport: InstantTransport) -> str:
    """URL of the double's other host, which must not get the key."""
    auth = KeyAuth(double.key)
    answer = transport.send("POST", f"{double.base_url}/v1/upload/presign", auth=auth, json={"content_type": "video/mp4"})
    found = re.search(rb"http://localhost:\d+", answer.body)
    assert found is not None
    return found[0].decode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_does_not_follow_a_redirect_of_the_api(
    status: int, service: Service, storage: EachlabsStorage, transport: InstantTransport, double: Double
) -> None:
    elsewhere = files_url(storage, double, transport) + "/v1/prediction/run"
    double.inject("get", "status", status=status, headers={"Location": elsewhere}, times=99)
    with pytest.raises(Failure) as raised:
        service.poll("run")
    assert raised.value.code == "bad_answer"
    assert double.state()["violations"] == []
    assert [request for request in double.requests() if request["host"] == "files"] == []


def keys_seen(double: Double, host: str) -> set[tuple[str | None, str | None]]:
    asked = [request["headers"] for request in double.requests() if request["host"] == host]
    return {(headers.get("x-api-key"), headers.get("authorization")) for headers in asked}


@pytest.mark.usefixtures("without_aud")
def test_only_the_api_gets_the_key_despite_the_netrc(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    lines = [f"machine {host} login other password other\n" for host in ("127.0.0.1", "localhost")]
    netrc.write_text("".join(lines) + "default login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert run_job(new_job(tmp_path), context_for(double, tmp_path))[-1].stage is Stage.PLACING
    assert keys_seen(double, "api") == {(double.key, f"Bearer {double.key}")}
    assert keys_seen(double, "files") == {(None, None)}


# A result's URL does not get the key either, even if it is at the API's own host.
@pytest.mark.parametrize("host", ["files", "api"])
def test_a_redirected_result_is_fetched_without_the_key(
    *, host: str, service: Service, video: str, transport: InstantTransport, double: Double, tmp_path: Path
) -> None:
    url = wait_for_success(service, service.start_run(fields(video))).output_url
    assert url is not None
    location = url[url.index("/outputs/") :] if host == "files" else f"{double.base_url}/v1/model"
    double.inject("output", "status", status=302, headers={"Location": location})
    download(transport, url, tmp_path / "result.mp4", lambda done, total: None)
    asked = [request for request in double.requests() if request["path"] in (location, "/v1/model")]
    assert [request["host"] for request in asked] == (["files", "files"] if host == "files" else ["api"])
    assert [request for request in asked if {"x-api-key", "authorization"} & set(request["headers"])] == []
    assert double.state()["violations"] == []


@pytest.mark.parametrize(
    ("target", "codes"),
    [
        ("http://cdn.example/a.mp4", {"unsafe_url"}),
        ("file:///etc/passwd", {"unsafe_url"}),
        ("https://10.1.2.3/a.mp4", {"unsafe_url"}),
        ("ftp://cdn.example/a", {"unsafe_url"}),
        ("https://[bad/", {"unsafe_url", "bad_answer"}),
    ],
)
def test_a_result_is_not_fetched_from_a_private_address(
    *,
    target: str,
    codes: set[str],
    service: Service,
    video: str,
    transport: InstantTransport,
    double: Double,
    tmp_path: Path,
) -> None:
    url = wait_for_success(service, service.start_run(fields(video))).output_url
    assert url is not None
    double.inject("output", "status", status=302, headers={"Location": target})
    with pytest.raises(Failure) as told:
        download(transport, url, tmp_path / "result.mp4", lambda done, total: None)
    assert told.value.code in codes
    assert list(tmp_path.iterdir()) == []


def test_endless_redirects_are_given_up(
    service: Service, video: str, transport: InstantTransport, double: Double, tmp_path: Path
) -> None:
    url = wait_for_success(service, service.start_run(fields(video))).output_url
    assert url is not None
    double.inject("output", "status", status=302, headers={"Location": url}, times=99)
    with pytest.raises(Failure, match="Too many redirects"):
        download(transport, url, tmp_path / "result.mp4", lambda done, total: None)
    assert 2 <= len(double.requests("GET", "/outputs/")) <= 10


@pytest.mark.parametrize(
    ("url", "public", "local"),
    [
        ("https://api.eachlabs.ai", True, True),
        ("https://cdn.example:8443/a?b", True, True),
        ("https://8.8.8.8/a", True, True),
        ("https://[2606:4700::1111]/a", True, True),
        ("http://127.0.0.1:8000", False, True),
        ("http://localhost:8000/a", False, True),
        ("https://localhost/a", False, True),
        ("http://[::1]:8000/a", False, True),
        ("http://api.eachlabs.ai", False, False),
        ("http://8.8.8.8/a", False, False),
        ("https://10.0.0.1/a", False, False),
        ("https://172.16.0.1/a", False, False),
        ("https://192.168.1.1/a", False, False),
        ("https://169.254.169.254/latest", False, False),
        ("https://0.0.0.0/a", False, False),
        ("https://[fe80::1]/a", False, False),
        ("https://[fd00::1]/a", False, False),
        ("https://[::ffff:10.0.0.1]/a", False, False),
        ("https://user:word@api.eachlabs.ai", False, False),
        ("https://user@api.eachlabs.ai", False, False),
        ("http://user:word@127.0.0.1:8000", False, False),
        ("file:///etc/passwd", False, False),
        ("file://localhost/etc/passwd", False, False),
        ("ftp://cdn.example/a", False, False),
        ("https:///a", False, False),
        ("api.eachlabs.ai", False, False),
        ("https://[::1", False, False),
        ("", False, False),
    ],
)
def test_only_public_https_addresses_are_used(url: str, public: bool, local: bool) -> None:
    for loopback_allowed, allowed in ((False, public), (True, local)):
        try:
            check_url(url, loopback_allowed=loopback_allowed)
            seen = True
        except Failure as failure:
            assert failure.code == "unsafe_url"
            assert failure.hint
            assert "word" not in failure.message
            seen = False
        assert seen is allowed, f"loopback_allowed={loopback_allowed}"


def test_a_base_url_that_is_plain_http_to_others_gets_no_request(double: Double, tmp_path: Path) -> None:
    with pytest.raises(Failure):
        check_base_url("http://api.eachlabs.ai")
    job_context = JobContext(double.key, "http://api.eachlabs.ai", ("true",), tmp_path / "work")
    error = run_job(new_job(tmp_path), job_context)[-1].error
    assert error is not None
    assert error.code == "unsafe_url"
