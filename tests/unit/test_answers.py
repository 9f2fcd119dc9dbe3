# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's state means, in all the forms the service has for it; and the way of a result to this disk."""

from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure
from addon.service.eachlabs import responses
from addon.service.net import download
from addon.service.net import transport as net

from .parts import Double, Quick, Service, fields, finished

URL = "https://cdn-us.eachlabs.ai/out.mp4"


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (("success", "succeeded", "completed", "SUCCESS"), responses.SUCCEEDED),
        (("error", "failed"), responses.FAILED),
        (("cancelled", "canceled"), responses.CANCELLED),
    ],
)
def test_every_word_for_an_end_is_known(
    words: tuple[str, ...], meaning: frozenset[str], service: Service, double: Double
) -> None:
    for word in words:
        double.answer("get", {"status": word})
        assert service.poll("run").status in meaning


@pytest.mark.parametrize("word", ["created", "starting", "processing", "pondering", "", None])
def test_every_other_word_is_no_end(word: str | None, service: Service, double: Double) -> None:
    double.answer("get", {"status": word, "output": URL})
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
    double.answer("get", {"status": "success", "output": output})
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
def test_the_reason_of_a_failed_run_is_found_wherever_it_is(body: dict[str, Any], service: Service, double: Double) -> None:
    double.answer("get", {"status": "error", **body})
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
def test_the_cost_is_told_or_reckoned(metrics: object, cost: float | None, service: Service, double: Double) -> None:
    double.answer("get", {"status": "success", "metrics": metrics})
    assert service.poll("run").cost == (None if cost is None else pytest.approx(cost))


@pytest.fixture
def result(service: Service, video: str) -> str:
    """The address of a finished run's result."""
    url = finished(service, service.start_run(fields(video))).output_url
    assert url is not None
    return url


def fetch(transport: Quick, url: str, target: Path) -> list[tuple[float, float]]:
    steps: list[tuple[float, float]] = []
    transport.fetch(url, target, lambda done, total: steps.append((done, total)))
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
def test_a_result_arrives_whole(
    faults: list[dict[str, Any]], result: str, transport: Quick, double: Double, tmp_path: Path
) -> None:
    for fault in faults:
        double.order("output", **fault)
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
def test_a_result_that_does_not_come_leaves_no_file_of_its_name(
    *, fault: dict[str, Any], code: str, tries: int, result: str, transport: Quick, double: Double, tmp_path: Path
) -> None:
    double.order("output", times=99, **fault)
    with pytest.raises(Failure) as told:
        fetch(transport, result, tmp_path / "result.mp4")
    assert told.value.code == code
    assert "localhost" in told.value.message
    assert "/outputs/" not in told.value.message
    assert len(double.requests("GET", "/outputs/")) == tries
    assert not (tmp_path / "result.mp4").exists()


def test_the_host_of_the_result_is_given_the_time_it_asks_for(
    result: str, transport: Quick, double: Double, tmp_path: Path
) -> None:
    double.order("output", "status", status=503, headers={"Retry-After": "40"})
    fetch(transport, result, tmp_path / "result.mp4")
    assert max(transport.waited) >= 40


def test_an_answer_beyond_all_bounds_is_cut_short(service: Service, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "BODY_BYTES_MAX", 500)
    double.answer("get", {"status": "success", "logs": "x" * 1000}, times=5)
    with pytest.raises(Failure, match="more than 500 bytes"):
        service.poll("run")


def test_a_result_beyond_all_bounds_is_cut_short(
    result: str, transport: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "FILE_BYTES_MAX", 500)
    with pytest.raises(Failure, match="more than 500 bytes"):
        fetch(transport, result, tmp_path / "result.mp4")
    assert not (tmp_path / "result.mp4").exists()
