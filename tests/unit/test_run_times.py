# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of when runs are polled."""

import pytest

from addon.jobs.work.run_times import RunTimes


def polls_of(times: RunTimes, run: float, delay: float = 0.0) -> list[float]:
    """Return the times of the polls of a run of so many seconds, each of which takes `delay` seconds."""
    elapsed, polls = times.until_poll(0.0), list[float]()
    while True:
        polls.append(elapsed)
        if elapsed >= run:
            return polls
        elapsed += delay
        elapsed += times.until_poll(elapsed)


@pytest.mark.parametrize("delay", [0.0, 0.2])
@pytest.mark.parametrize("seen", [[], [5.0], [5.3] * 10, [4.0, 5.0, 7.5]])
def test_a_run_of_five_seconds_is_polled_at_most_eight_times_and_its_end_is_seen_within_half_a_second(
    seen: list[float], delay: float
) -> None:
    times = RunTimes()
    for seconds in seen:
        times.add(seconds)
    polls = polls_of(times, 5.0, delay)
    assert len(polls) <= 8 and polls[-1] - 5.0 <= 0.5 + 1e-6


@pytest.mark.parametrize("run", [1.0, 1.7, 3.0, 5.0, 8.0, 19.0])
def test_the_end_of_any_run_is_seen_within_half_a_second(run: float) -> None:
    times = RunTimes()
    for _ in range(3):
        assert polls_of(times, run)[-1] - run <= 0.5 + 1e-6
        times.add(run)


def test_short_runs_are_looked_at_earlier_once_they_are_known() -> None:
    times = RunTimes()
    times.add(0.6)
    polls = polls_of(times, 0.6)
    assert polls[-1] - 0.6 <= 0.1 and len(polls) <= 8


def test_a_run_that_takes_much_longer_than_others_is_polled_less_often() -> None:
    times = RunTimes()
    times.add(5.0)
    assert len(polls_of(times, 300.0)) < 200
    times.add(200.0)
    assert polls_of(times, 300.0)[-1] - 300.0 <= 0.5, "others take as long"


def test_only_the_latest_runs_count() -> None:
    times = RunTimes()
    for seconds in (1.0, *[10.0] * 10):
        times.add(seconds)
    assert times.until_poll(0.0) == 5.0
