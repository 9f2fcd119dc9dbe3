# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the parsing of a run's state in all forms of the service, and of the download of its result."""

from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure
from addon.service.eachlabs import responses
from addon.service.eachlabs.results import download
from addon.service.net import transport as net
from addon.service.net.deadline import Bounds

from .helpers import Double, InstantTransport, Service, fields, wait_for_success

pytestmark = pytest.mark.oldest

URL = "https://cdn-us.eachlabs.ai/out.mp4"


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (("success", "succeeded", "completed", "SUCCESS"), responses.SUCCEEDED),
        (("error", "failed"), responses.FAILED),
        (("cancelled", "canceled"), responses.CANCELLED),
    ],
)
def test_all_statuses_of_ended_runs_are_known(
    words: tuple[str, ...], meaning: frozenset[str], service: Service, double: Double
) -> None:
    for word in words:
        double.respond("get", {"status": word})
        assert service.poll("run").status in meaning


@pytest.mark.parametrize("word", ["created", "starting", "processing", "pondering", "", None])
def test_every_other_status_is_of_an_active_run(word: str | None, service: Service, double: Double) -> None:
    double.respond("get", {"status": word, "output": URL})
    seen = service.poll("run")
    assert seen.status not in responses.SUCCEEDED | responses.FAILED | responses.CANCELLED
    assert seen.output_url is None


@pytest.mark.parametrize(
    ("output", "url"),
    [
        (URL, URL),
        ([URL, "https://cdn-us.eachlabs.ai/other.mp4"], URL),
        ({"url": URL}, URL),
        ([{"url": URL}], URL),
        ("", None),
        ([], None),
        ({}, None),
        (None, None),
        (7, None),
        ([None], None),
        ({"url": 7}, None),
    ],
)
def test_the_result_is_found_in_every_form_of_output(
    output: object, url: str | None, service: Service, double: Double
) -> None:
    double.respond("get", {"status": "success", "output": output})
    assert service.poll("run").output_url == url


@pytest.mark.parametrize(
    "body",
    [
        {"message": "out of memory"},
        {"details": "out of memory", "message": "prediction failed"},
        {"output": {"error_message": "out of memory"}},
        {"output": [{"error": "out of memory"}]},
        {"output": "", "logs": "loading\nout of memory\n"},
        {"details": None, "message": "", "output": None, "logs": "out of memory."},
    ],
)
def test_the_reason_of_a_failed_run_is_found_in_every_form(body: dict[str, Any], service: Service, double: Double) -> None:
    double.respond("get", {"status": "error", **body})
    assert service.poll("run").reason.endswith("out of memory")


@pytest.mark.parametrize(
    ("metrics", "cost"),
    [
        ({"cost": 0.0054}, 0.0054),
        ({"cost": 0, "predict_time": 5}, 0.0),
        ({"predict_time": 5}, 0.0054),
        ({}, None),
        (None, None),
        ("free", None),
        ({"cost": None, "predict_time": None}, None),
    ],
)
def test_the_cost_is_given_or_calculated(metrics: object, cost: float | None, service: Service, double: Double) -> None:
    double.respond("get", {"status": "success", "metrics": metrics})
    assert service.poll("run").cost == (None if cost is None else pytest.approx(cost))


@pytest.fixture
def result(service: Service, video: str) -> str:
    """URL of a finished run's result."""
    url = wait_for_success(service, service.start_run(fields(video))).output_url
    assert url is not None
    return url


def fetch(transport: InstantTransport, url: str, target: Path) -> list[tuple[float, float]]:
    steps: list[tuple[float, float]] = []
    download(transport, url, target, lambda done, total: steps.append((done, total)))
    return steps


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [{"do": "truncate"}],
        [{"do": "drop"}],
        [{"do": "status", "status": 503, "times": 3}],
        [{"do": "status", "status": 429}, {"do": "truncate", "times": 2}],
    ],
)
def test_a_result_is_downloaded_completely(
    faults: list[dict[str, Any]], result: str, transport: InstantTransport, double: Double, tmp_path: Path
) -> None:
    for fault in faults:
        double.inject("output", **fault)
    steps = fetch(transport, result, tmp_path / "result.mp4")
    size = (tmp_path / "result.mp4").stat().st_size
    assert steps[-1] == (size, size)
    assert (tmp_path / "result.mp4").read_bytes()[4:8] == b"ftyp"
    assert [file.name for file in tmp_path.iterdir()] == ["result.mp4"]


@pytest.mark.parametrize(
    ("fault", "code", "tries"),
    [
        ({"do": "status", "status": 403}, "result_gone", 1),
        ({"do": "status", "status": 404}, "result_gone", 1),
        ({"do": "status", "status": 410}, "result_gone", 1),
        ({"do": "status", "status": 204}, "bad_answer", 1),
        ({"do": "status", "status": 503}, "service_down", net.ATTEMPTS),
        ({"do": "truncate"}, "connection", net.ATTEMPTS),
        ({"do": "drop"}, "connection", net.ATTEMPTS),
    ],
)
def test_a_failed_download_leaves_no_file(
    *, fault: dict[str, Any], code: str, tries: int, result: str, transport: InstantTransport, double: Double, tmp_path: Path
) -> None:
    double.inject("output", times=99, **fault)
    with pytest.raises(Failure) as raised:
        fetch(transport, result, tmp_path / "result.mp4")
    assert raised.value.code == code
    assert "localhost" in raised.value.message
    assert "/outputs/" not in raised.value.message
    assert len(double.requests("GET", "/outputs/")) == tries
    assert not (tmp_path / "result.mp4").exists()


def test_retry_after_of_the_results_host_is_respected(
    result: str, transport: InstantTransport, double: Double, tmp_path: Path
) -> None:
    double.inject("output", "status", status=503, headers={"Retry-After": "40"})
    fetch(transport, result, tmp_path / "result.mp4")
    assert max(transport.waited) >= 40


def test_an_answer_beyond_all_bounds_is_cut_short(service: Service, double: Double) -> None:
    service.transport.bounds = Bounds(body_bytes_max=500)
    double.respond("get", {"status": "success", "logs": "x" * 1000}, times=5)
    with pytest.raises(Failure, match="more than 500 bytes"):
        service.poll("run")


def test_a_result_beyond_all_bounds_is_cut_short(result: str, transport: InstantTransport, tmp_path: Path) -> None:
    transport.bounds = Bounds(file_bytes_max=500)
    with pytest.raises(Failure, match="more than 500 bytes"):
        fetch(transport, result, tmp_path / "result.mp4")
    assert not (tmp_path / "result.mp4").exists()
