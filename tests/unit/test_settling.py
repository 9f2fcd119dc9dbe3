# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose start was never answered is found again, whatever the clocks say and however many runs there are."""

import time
from pathlib import Path

import pytest

from addon.service.eachlabs import client, executions
from addon.service.storage.eachlabs import EachlabsStorage

from .parts import Double, Quick, Service, fields, unheard


@pytest.mark.parametrize("hours", [-5, -1, 1, 5])
def test_this_machines_clock_may_be_hours_off(
    hours: int, service: Service, double: Double, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(client.time, "time", lambda: real() + hours * 3600)
    double.order("create", "drop", carried_out=True)
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [run]


def test_it_is_found_among_the_many_runs_of_a_studio(
    *, service: Service, storage: EachlabsStorage, video: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "PAGE_SIZE", 2)
    since = time.time()
    wanted = service.start_run(fields(video))
    other = storage.publish(clip, *unheard).url
    for seed in range(6):
        service.start_run(fields(other, seed))
    assert service.find_run(fields(video), since) == wanted


def test_a_take_is_not_taken_for_another_of_the_same_video(service: Service, double: Double, video: str) -> None:
    since = time.time()
    service.start_run(fields(video, seed=1))
    assert service.find_run(fields(video, seed=2), since) is None


def test_a_run_that_is_known_to_have_failed_is_not_found_again(service: Service, double: Double, video: str) -> None:
    since = time.time()
    failed = service.start_run(fields(video))
    assert service.find_run(fields(video), since, superseded_ids=[failed]) is None
    again = service.start_run(fields(video), superseded_ids=[failed])
    assert service.find_run(fields(video), since, superseded_ids=[failed]) == again


def test_a_run_is_looked_for_over_half_a_minute_and_more_and_more_rarely(
    service: Service, transport: Quick, video: str
) -> None:
    transport.waited.clear()
    assert service.find_run(fields(video), time.time()) is None
    assert sum(transport.waited) >= 30
    assert transport.waited == sorted(transport.waited)


def test_a_run_that_is_listed_after_half_a_minute_only_is_adopted(
    service: Service, transport: Quick, double: Double, video: str
) -> None:
    double.order("create", "drop", carried_out=True)
    double.answer("executions", {"executions": []}, times=5)
    transport.waited.clear()
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [run]
    assert sum(transport.waited) >= 30
