# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that each error of the service ends in a sentence, and that no run is ever started twice."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure
from addon.jobs.work.create_retries import RATE_LIMITED_SECONDS
from addon.service.net.deadline import Bounds
from addon.service.storage import Published
from addon.service.storage import eachlabs as eachlabs_storage
from addon.service.storage.eachlabs import EachlabsStorage

from .helpers import Double, InstantTransport, Service, fields, no_callbacks

pytestmark = pytest.mark.oldest

DETAILS = "a maximum of 2 runs"
BODY = {"status": 400, "error": "refused", "details": DETAILS}
ALWAYS = 99

FINAL = [(400, "invalid_input"), (401, "bad_key"), (402, "balance"), (403, "bad_key"), (404, "not_found")]
UNUSUAL = [(302, "bad_answer"), (413, "too_large"), (418, "bad_answer")]
TRANSIENT = [(429, "rate_limited"), (500, "service_down"), (502, "service_down"), (503, "service_down")]
STEPS = ["create", "get", "presign"]
# A 404 of a new run is polled again, and a create call waits after a 429: see below, and the fault table.
FINAL_ASKED = [(step, *told) for step in STEPS for told in FINAL + UNUSUAL if (step, told[0]) != ("get", 404)]
TRANSIENT_ASKED = [(step, *told) for step in STEPS for told in TRANSIENT if (step, told[0]) != ("create", 429)]


@pytest.fixture
def calls(service: Service, storage: EachlabsStorage, video: str, clip: Path) -> dict[str, Callable[[], object]]:
    """One call of the client for each step; each begins with one request."""
    return {
        "create": lambda: service.start_run(fields(video)),
        "get": lambda: service.poll("some-run"),
        "presign": lambda: storage.publish(clip, *no_callbacks),
        "delete": lambda: storage.delete(Published("some-file", "https://cdn.example/some-file")),
    }


PATHS = {
    "create": ("POST", "/v1/prediction"),
    "get": ("GET", "/v1/prediction/"),
    "presign": ("POST", "/v1/upload/presign"),
    "delete": ("DELETE", "/v1/files/"),
}


def count(double: Double, step: str) -> int:
    """Return the number of requests of a step, without the upload of the fixture `video`."""
    return len(double.requests(*PATHS[step])) - (step == "presign")


@pytest.mark.parametrize(("step", "status", "code"), FINAL_ASKED)
def test_a_final_error_is_reported_at_once_with_its_details(
    *, step: str, status: int, code: str, calls: dict[str, Callable[[], object]], double: Double, transport: InstantTransport
) -> None:
    double.respond(step, BODY, status, times=ALWAYS)
    with pytest.raises(Failure) as raised:
        calls[step]()
    assert raised.value.code == code
    assert DETAILS in raised.value.message
    assert f"HTTP {status}, request standin-" in raised.value.message
    assert raised.value.hint
    # After a 404, a create call tries the other form of its path once.
    assert count(double, step) == (2 if (step, status) == ("create", 404) else 1)
    assert transport.waited == []


@pytest.mark.parametrize(("step", "status", "code"), TRANSIENT_ASKED)
def test_a_permanent_error_is_reported_after_several_attempts(
    step: str, status: int, code: str, calls: dict[str, Callable[[], object]], double: Double
) -> None:
    double.respond(step, BODY, status, times=ALWAYS)
    with pytest.raises(Failure) as raised:
        calls[step]()
    assert raised.value.code == code
    assert DETAILS in raised.value.message
    assert f"HTTP {status}, request standin-" in raised.value.message
    assert raised.value.hint
    assert 3 <= count(double, step) <= 6


@pytest.mark.parametrize("status", [status for status, _ in TRANSIENT])
def test_a_temporary_error_is_retried(status: int, service: Service, double: Double, video: str) -> None:
    run = service.start_run(fields(video))
    double.respond("get", BODY, status, times=3)
    assert service.poll(run).id == run
    assert len(double.requests("GET", "/v1/prediction/")) == 4


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        ({"do": "drop"}, {"connection"}),
        # Its JSON is no more whole than the answer, whichever is noticed first.
        ({"do": "truncate"}, {"connection", "bad_answer"}),
        ({"do": "status", "status": 200, "body": "<html>Sign in</html>"}, {"bad_answer"}),
        ({"do": "status", "status": 200, "body": "[1, 2]"}, {"bad_answer"}),
    ],
)
def test_an_invalid_response_is_retried(
    fault: dict[str, Any], codes: set[str], service: Service, double: Double, video: str
) -> None:
    run = service.start_run(fields(video))
    double.inject("get", times=2, **fault)
    assert service.poll(run).id == run
    double.inject("get", times=ALWAYS, **fault)
    with pytest.raises(Failure) as raised:
        service.poll(run)
    assert raised.value.code in codes
    assert raised.value.hint
    assert "<html>" not in raised.value.message


def test_a_slow_answer_is_asked_for_again(service: Service, double: Double, video: str) -> None:
    run = service.start_run(fields(video))
    service.transport.bounds = Bounds(read_seconds=0.1)
    double.inject("get", "stall", seconds=0.4, times=1)
    assert service.poll(run).id == run
    double.inject("get", "stall", seconds=3, times=ALWAYS)
    with pytest.raises(Failure) as raised:
        service.poll(run)
    assert raised.value.code == "timeout"
    assert raised.value.hint


def test_an_empty_response_does_not_end_the_run(service: Service, double: Double, video: str) -> None:
    run = service.start_run(fields(video))
    double.respond("get", "")
    seen = service.poll(run)
    assert (seen.id, seen.status, seen.output_url) == (run, "", None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"error": "no such flower"}', ["no such flower"]),
        ('{"status": 400, "error": "no flower", "details": "seed is a word"}', ["no flower", "seed is a word"]),
        ('{"status": "error", "message": "no flower", "details": "seed is a word"}', ["no flower", "seed is a word"]),
        ('{"error": "no flower", "details": {"field": "seed"}}', ["no flower", "seed"]),
        ('{"error": "no flower", "details": ["seed", "steps"]}', ["no flower", "seed", "steps"]),
        ("", []),
        ("<html><h1>Bad gateway</h1></html>", []),
        ('["no", "object"]', []),
        ("[" * 100_000, []),
    ],
)
def test_whatever_the_body_the_message_is_a_sentence(body: str, said: list[str], service: Service, double: Double) -> None:
    double.respond("get", body, 400)
    with pytest.raises(Failure) as raised:
        service.poll("some-run")
    assert raised.value.message.startswith("Eachlabs rejected the request as invalid")
    assert raised.value.message.endswith(").")
    assert "(HTTP 400, request standin-" in raised.value.message
    assert [part for part in said if part not in raised.value.message] == []
    assert "<h1>" not in raised.value.message
    assert len(raised.value.message) < 700


@pytest.mark.parametrize(("step", "status"), [("create", 429), ("create", 503), ("get", 429), ("get", 503), ("delete", 409)])
@pytest.mark.parametrize(("asked", "least", "most"), [("40", 40, 60), ("3600", 50, 60)])
def test_retry_after_is_respected_up_to_a_maximum(
    *,
    step: str,
    status: int,
    asked: str,
    least: int,
    most: int,
    calls: dict[str, Callable[[], object]],
    double: Double,
    transport: InstantTransport,
) -> None:
    double.respond(step, BODY, status, times=ALWAYS, headers={"Retry-After": asked})
    with pytest.raises(Failure):
        calls[step]()
    assert max(transport.waited) >= least
    assert max(transport.waited) <= most


@pytest.mark.parametrize("asked", ["soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-5", "nan", ""])
def test_an_invalid_retry_after_is_ignored(
    asked: str, service: Service, double: Double, transport: InstantTransport
) -> None:
    double.respond("get", BODY, 503, times=ALWAYS, headers={"Retry-After": asked})
    with pytest.raises(Failure, match="reported a server error"):
        service.poll("some-run")
    assert [seconds for seconds in transport.waited if not 0 <= seconds <= 60] == []


LOST = [pytest.param({"do": "status", "status": status}, id=str(status)) for status in (500, 502, 503, 504)] + [
    pytest.param({"do": "drop"}, id="dropped"),
    pytest.param({"do": "status", "status": 200}, id="empty"),
    pytest.param({"do": "status", "status": 200, "body": "<html>"}, id="no JSON"),
    pytest.param({"do": "status", "status": 200, "body": '{"status": "success"}'}, id="no id"),
]


@pytest.mark.parametrize("fault", LOST)
def test_a_run_whose_create_response_was_lost_is_adopted(
    *, fault: dict[str, Any], service: Service, storage: EachlabsStorage, double: Double, video: str, clip: Path
) -> None:
    other = service.start_run(fields(storage.publish(clip, *no_callbacks).url))
    double.inject("create", carried_out=True, **fault)
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [other, run]
    assert len(double.requests("POST", "/v1/prediction")) == 2


@pytest.mark.parametrize("fault", LOST)
def test_a_run_that_was_not_created_is_created_again(
    *, fault: dict[str, Any], service: Service, storage: EachlabsStorage, double: Double, video: str, clip: Path
) -> None:
    other = service.start_run(fields(storage.publish(clip, *no_callbacks).url))
    double.inject("create", **fault)
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [other, run]
    assert len(double.requests("POST", "/v1/prediction")) == 3


def test_a_run_is_created_after_waiting_for_others(service: Service, double: Double, video: str) -> None:
    double.respond("create", BODY, 429, times=2, headers={"Retry-After": "1"})
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [run]
    assert double.requests("GET", "/v1/executions") == []


def test_rate_limited_attempts_are_limited_by_time_not_by_number(
    service: Service, double: Double, transport: InstantTransport, video: str
) -> None:
    transport.waited.clear()
    double.respond("create", BODY, 429, times=100 * ALWAYS)
    with pytest.raises(Failure, match=DETAILS) as raised:
        service.start_run(fields(video))
    assert raised.value.code == "rate_limited"
    assert raised.value.hint
    # The next wait, of at most 15 s, would have been too long.
    assert RATE_LIMITED_SECONDS - 15 - 5 < sum(transport.waited) < RATE_LIMITED_SECONDS
    assert double.state()["runs"] == []


def test_an_unsettled_create_call_is_not_repeated(service: Service, double: Double, video: str) -> None:
    double.inject("create", "drop", carried_out=True)
    double.respond("executions", BODY, 503, times=ALWAYS)
    with pytest.raises(Failure) as raised:
        service.start_run(fields(video))
    assert raised.value.code == "unsettled"
    assert "dashboard" in raised.value.hint
    assert len(double.state()["runs"]) == 1


def test_a_create_call_that_was_not_sent_needs_no_settling(transport: InstantTransport, double: Double) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Failure) as raised:
        Service(double.key, nobody, transport).start_run(fields("https://cdn.example/clip.mp4"))
    assert raised.value.code == "connection"
    assert raised.value.hint
    assert 3 <= len(transport.waited) <= 6


def test_a_clip_that_is_too_large_is_never_sent(
    storage: EachlabsStorage, double: Double, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eachlabs_storage, "BYTES_MAX", 100)
    with pytest.raises(Failure) as raised:
        storage.publish(clip, *no_callbacks)
    assert raised.value.code == "too_large"
    assert double.requests() == []


@pytest.mark.parametrize("fault", [{"do": "status", "status": status} for status in (403, 408, 429, 500)] + [{"do": "drop"}])
def test_an_interrupted_upload_gets_a_new_url(
    fault: dict[str, Any], storage: EachlabsStorage, double: Double, clip: Path
) -> None:
    double.inject("put", **fault)
    published = storage.publish(clip, *no_callbacks)
    assert [upload["url"] for upload in double.state()["uploads"] if upload["live"]] == [published.url]
    assert len(double.requests("POST", "/v1/upload/presign")) == 2


@pytest.mark.parametrize("status", [404, 409, 503])
def test_a_missing_file_counts_as_deleted(
    status: int, service: Service, storage: EachlabsStorage, double: Double, clip: Path
) -> None:
    published = storage.publish(clip, *no_callbacks)
    double.respond("delete", BODY, status)
    storage.delete(published)
    assert len(double.requests("DELETE", f"/v1/files/{published.id}")) == (1 if status == 404 else 2)
