# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error of the service ends in a plain sentence, and no run is ever started twice."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure
from addon.jobs.work.create_retries import RATE_LIMITED_SECONDS
from addon.service.net import transport as net
from addon.service.storage import Published
from addon.service.storage import eachlabs as eachlabs_storage
from addon.service.storage.eachlabs import EachlabsStorage

from .parts import Double, Quick, Service, fields, unheard

DETAILS = "a maximum of 2 runs"
BODY = {"status": 400, "error": "refused", "details": DETAILS}
ALWAYS = 99

FINAL = [(400, "invalid_input"), (401, "bad_key"), (402, "balance"), (403, "bad_key"), (404, "not_found")]
UNUSUAL = [(302, "bad_answer"), (413, "too_large"), (418, "bad_answer")]
TRANSIENT = [(429, "rate_limited"), (500, "service_down"), (502, "service_down"), (503, "service_down")]
STEPS = ["create", "get", "presign"]
# A run that isn't known yet is asked for again, and one that is refused by 429 waits: see below, and the fault table.
FINAL_ASKED = [(step, *told) for step in STEPS for told in FINAL + UNUSUAL if (step, told[0]) != ("get", 404)]
TRANSIENT_ASKED = [(step, *told) for step in STEPS for told in TRANSIENT if (step, told[0]) != ("create", 429)]


@pytest.fixture
def calls(service: Service, storage: EachlabsStorage, video: str, clip: Path) -> dict[str, Callable[[], object]]:
    """One call of the service for each step; each begins with one request."""
    return {
        "create": lambda: service.start_run(fields(video)),
        "get": lambda: service.poll("some-run"),
        "presign": lambda: storage.publish(clip, *unheard),
        "delete": lambda: storage.delete(Published("some-file", "https://cdn.example/some-file")),
    }


PATHS = {
    "create": ("POST", "/v1/prediction"),
    "get": ("GET", "/v1/prediction/"),
    "presign": ("POST", "/v1/upload/presign"),
    "delete": ("DELETE", "/v1/files/"),
}


def count(double: Double, step: str) -> int:
    """How often a step was asked for; the upload that made the video is not counted."""
    return len(double.requests(*PATHS[step])) - (step == "presign")


@pytest.mark.parametrize(("step", "status", "code"), FINAL_ASKED)
def test_a_final_error_is_told_at_once_with_its_details(
    *, step: str, status: int, code: str, calls: dict[str, Callable[[], object]], double: Double, transport: Quick
) -> None:
    double.answer(step, BODY, status, times=ALWAYS)
    with pytest.raises(Failure) as told:
        calls[step]()
    assert told.value.code == code
    assert DETAILS in told.value.message
    assert f"HTTP {status}, request standin-" in told.value.message
    assert told.value.hint
    # A create's 404 is tried once in the other form of its path.
    assert count(double, step) == (2 if (step, status) == ("create", 404) else 1)
    assert transport.waited == []


@pytest.mark.parametrize(("step", "status", "code"), TRANSIENT_ASKED)
def test_trouble_that_stays_is_told_after_a_few_tries(
    step: str, status: int, code: str, calls: dict[str, Callable[[], object]], double: Double
) -> None:
    double.answer(step, BODY, status, times=ALWAYS)
    with pytest.raises(Failure) as told:
        calls[step]()
    assert told.value.code == code
    assert DETAILS in told.value.message
    assert f"HTTP {status}, request standin-" in told.value.message
    assert told.value.hint
    assert 3 <= count(double, step) <= 6


@pytest.mark.parametrize("status", [status for status, _ in TRANSIENT])
def test_a_question_is_asked_again_until_it_is_answered(status: int, service: Service, double: Double, video: str) -> None:
    run = service.start_run(fields(video))
    double.answer("get", BODY, status, times=3)
    assert service.poll(run).id == run
    assert len(double.requests("GET", "/v1/prediction/")) == 4


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        ({"do": "drop"}, {"connection"}),
        # urllib3 before 2 does not notice that an answer ends early; its JSON does.
        ({"do": "truncate"}, {"connection", "bad_answer"}),
        ({"do": "status", "status": 200, "body": "<html>Sign in</html>"}, {"bad_answer"}),
        ({"do": "status", "status": 200, "body": "[1, 2]"}, {"bad_answer"}),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again(
    fault: dict[str, Any], codes: set[str], service: Service, double: Double, video: str
) -> None:
    run = service.start_run(fields(video))
    double.order("get", times=2, **fault)
    assert service.poll(run).id == run
    double.order("get", times=ALWAYS, **fault)
    with pytest.raises(Failure) as told:
        service.poll(run)
    assert told.value.code in codes
    assert told.value.hint
    assert "<html>" not in told.value.message


def test_a_slow_answer_is_asked_for_again(
    service: Service, double: Double, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = service.start_run(fields(video))
    monkeypatch.setattr(net, "READ_SECONDS", 0.1)
    double.order("get", "stall", seconds=0.4, times=1)
    assert service.poll(run).id == run
    double.order("get", "stall", seconds=0.4, times=ALWAYS)
    with pytest.raises(Failure) as told:
        service.poll(run)
    assert told.value.code == "timeout"
    assert told.value.hint


def test_an_empty_answer_to_a_question_is_no_end_of_the_run(service: Service, double: Double, video: str) -> None:
    run = service.start_run(fields(video))
    double.answer("get", "")
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
    double.answer("get", body, 400)
    with pytest.raises(Failure) as told:
        service.poll("some-run")
    assert told.value.message.startswith("Eachlabs rejected the request as invalid")
    assert told.value.message.endswith(").")
    assert "(HTTP 400, request standin-" in told.value.message
    assert [part for part in said if part not in told.value.message] == []
    assert "<h1>" not in told.value.message
    assert len(told.value.message) < 700


@pytest.mark.parametrize(("step", "status"), [("create", 429), ("create", 503), ("get", 429), ("get", 503), ("delete", 409)])
@pytest.mark.parametrize(("asked", "least", "most"), [("40", 40, 60), ("3600", 50, 60)])
def test_the_time_the_service_asks_for_is_waited_within_bounds(
    *,
    step: str,
    status: int,
    asked: str,
    least: int,
    most: int,
    calls: dict[str, Callable[[], object]],
    double: Double,
    transport: Quick,
) -> None:
    double.answer(step, BODY, status, times=ALWAYS, headers={"Retry-After": asked})
    with pytest.raises(Failure):
        calls[step]()
    assert max(transport.waited) >= least
    assert max(transport.waited) <= most


@pytest.mark.parametrize("asked", ["soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-5", "nan", ""])
def test_a_time_that_is_no_number_of_seconds_is_not_heeded(
    asked: str, service: Service, double: Double, transport: Quick
) -> None:
    double.answer("get", BODY, 503, times=ALWAYS, headers={"Retry-After": asked})
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
def test_a_run_whose_start_was_not_heard_of_is_adopted(
    *, fault: dict[str, Any], service: Service, storage: EachlabsStorage, double: Double, video: str, clip: Path
) -> None:
    other = service.start_run(fields(storage.publish(clip, *unheard).url))
    double.order("create", carried_out=True, **fault)
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [other, run]
    assert len(double.requests("POST", "/v1/prediction")) == 2


@pytest.mark.parametrize("fault", LOST)
def test_a_run_that_did_not_start_is_started_once_more(
    *, fault: dict[str, Any], service: Service, storage: EachlabsStorage, double: Double, video: str, clip: Path
) -> None:
    other = service.start_run(fields(storage.publish(clip, *unheard).url))
    double.order("create", **fault)
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [other, run]
    assert len(double.requests("POST", "/v1/prediction")) == 3


def test_too_many_runs_are_waited_for_and_then_one_is_started(service: Service, double: Double, video: str) -> None:
    double.answer("create", BODY, 429, times=2, headers={"Retry-After": "1"})
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [run]
    assert double.requests("GET", "/v1/executions") == []


def test_refusals_are_bounded_by_time_and_not_by_their_number(
    service: Service, double: Double, transport: Quick, video: str
) -> None:
    transport.waited.clear()
    double.answer("create", BODY, 429, times=100 * ALWAYS)
    with pytest.raises(Failure, match=DETAILS) as told:
        service.start_run(fields(video))
    assert told.value.code == "rate_limited"
    assert told.value.hint
    # What would have been waited next, at most 15 s, would have been too long.
    assert RATE_LIMITED_SECONDS - 15 - 5 < sum(transport.waited) < RATE_LIMITED_SECONDS
    assert double.state()["runs"] == []


def test_what_cannot_be_settled_is_not_sent_again(service: Service, double: Double, video: str) -> None:
    double.order("create", "drop", carried_out=True)
    double.answer("executions", BODY, 503, times=ALWAYS)
    with pytest.raises(Failure) as told:
        service.start_run(fields(video))
    assert told.value.code == "unsettled"
    assert "dashboard" in told.value.hint
    assert len(double.state()["runs"]) == 1


def test_without_a_connection_nothing_needs_settling(transport: Quick, double: Double) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Failure) as told:
        Service(double.key, nobody, transport).start_run(fields("https://cdn.example/clip.mp4"))
    assert told.value.code == "connection"
    assert told.value.hint
    assert 3 <= len(transport.waited) <= 6


def test_a_clip_beyond_the_storage_is_never_sent(
    storage: EachlabsStorage, double: Double, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eachlabs_storage, "BYTES_MAX", 100)
    with pytest.raises(Failure) as told:
        storage.publish(clip, *unheard)
    assert told.value.code == "too_large"
    assert double.requests() == []


@pytest.mark.parametrize("fault", [{"do": "status", "status": status} for status in (403, 408, 429, 500)] + [{"do": "drop"}])
def test_an_upload_that_broke_off_gets_a_new_address(
    fault: dict[str, Any], storage: EachlabsStorage, double: Double, clip: Path
) -> None:
    double.order("put", **fault)
    published = storage.publish(clip, *unheard)
    assert [upload["url"] for upload in double.state()["uploads"] if upload["live"]] == [published.url]
    assert len(double.requests("POST", "/v1/upload/presign")) == 2


@pytest.mark.parametrize("status", [404, 409, 503])
def test_a_file_is_deleted_and_what_is_gone_counts_as_deleted(
    status: int, service: Service, storage: EachlabsStorage, double: Double, clip: Path
) -> None:
    published = storage.publish(clip, *unheard)
    double.answer("delete", BODY, status)
    storage.delete(published)
    assert len(double.requests("DELETE", f"/v1/files/{published.id}")) == (1 if status == 404 else 2)
