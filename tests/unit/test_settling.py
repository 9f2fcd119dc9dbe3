# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that a run is found after its create response was lost, whatever the clocks are and however many runs there are."""

import time
from pathlib import Path

import pytest

from addon.service.eachlabs import client, executions
from addon.service.storage.eachlabs import EachlabsStorage

from .helpers import Double, InstantTransport, Service, fields, no_callbacks


@pytest.mark.parametrize("hours", [-5, -1, 1, 5])
def test_this_machines_clock_may_be_wrong_by_hours(
    hours: int, service: Service, double: Double, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(client.time, "time", lambda: real() + hours * 3600)
    double.inject("create", "drop", carried_out=True)
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [run]


def test_a_run_is_found_among_the_many_of_a_studio(
    *, service: Service, storage: EachlabsStorage, video: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "PAGE_SIZE", 2)
    since = time.time()
    wanted = service.start_run(fields(video))
    other = storage.publish(clip, *no_callbacks).url
    for seed in range(6):
        service.start_run(fields(other, seed))
    assert service.find_run(fields(video), since) == wanted


def test_a_take_is_not_confused_with_another_of_the_same_video(service: Service, double: Double, video: str) -> None:
    since = time.time()
    service.start_run(fields(video, seed=1))
    assert service.find_run(fields(video, seed=2), since) is None


def test_a_run_that_is_known_to_have_failed_is_not_found_again(service: Service, double: Double, video: str) -> None:
    since = time.time()
    failed = service.start_run(fields(video))
    assert service.find_run(fields(video), since, superseded_ids=[failed]) is None
    again = service.start_run(fields(video), superseded_ids=[failed])
    assert service.find_run(fields(video), since, superseded_ids=[failed]) == again


def test_a_run_is_searched_for_half_a_minute_with_growing_waits(
    service: Service, transport: InstantTransport, video: str
) -> None:
    transport.waited.clear()
    assert service.find_run(fields(video), time.time()) is None
    assert sum(transport.waited) >= 30
    assert transport.waited == sorted(transport.waited)


def test_a_run_that_is_listed_after_half_a_minute_only_is_adopted(
    service: Service, transport: InstantTransport, double: Double, video: str
) -> None:
    double.inject("create", "drop", carried_out=True)
    double.respond("executions", {"executions": []}, times=5)
    transport.waited.clear()
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [run]
    assert sum(transport.waited) >= 30
