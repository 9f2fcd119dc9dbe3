# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of takes and windows: takes share one render and upload, a long strip has several windows, each run is created once.

render_double.py replaces the background Blender here; tests/blender uses the real one.
"""

import threading
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from addon.jobs.limits import SLOTS_MAX
from addon.jobs.model.job import Job
from addon.jobs.model.request import Options
from addon.jobs.model.run import Stage
from addon.service.eachlabs.mmaudio import LONGEST_SECONDS, Settings, clip_frames, windows

from .helpers import Double, context_for, new_job, run_job

RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(50), Fraction(60)]
LONG = 24 * 20
"""Frames of 20 s at 24 a second, which have three windows."""


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_windows_cover_a_strip_from_its_first_frame_to_its_last_and_overlap_by_about_a_second(fps: Fraction) -> None:
    for frames in [*range(1, 3000, 7), round(600 * fps)]:
        plan = windows(frames, fps, split=True)
        assert plan[0].first == 0
        assert plan[-1].first / fps + plan[-1].duration >= frames / fps
        assert all(window.duration <= LONGEST_SECONDS for window in plan)
        assert len({window.duration for window in plan}) == 1
        for before, after in pairwise(plan):
            overlap = before.first / fps + before.duration - after.first / fps
            assert 0.9 < overlap < 2


@pytest.mark.parametrize(
    ("seconds", "count"), [(1, 1), (8, 1), (Fraction(8) + Fraction(1, 24), 2), (15, 2), (16, 3), (600, 86)]
)
def test_a_strip_of_more_than_eight_seconds_has_as_few_windows_as_possible(seconds: Fraction, count: int) -> None:
    assert len(windows(int(seconds * 24), Fraction(24), split=True)) == count
    assert len(windows(int(seconds * 24), Fraction(24), split=False)) == 1


def test_takes_have_the_given_seed_and_the_next_ones() -> None:
    last = Settings("", "", seed=2**31 - 2)
    assert [last.for_take(take).seed for take in range(3)] == [2**31 - 2, 2**31 - 1, 0]


@pytest.mark.usefixtures("without_aud")
def test_takes_share_one_render_and_one_upload(double: Double, tmp_path: Path) -> None:
    end = run_job(new_job(tmp_path, takes=3), context_for(double, tmp_path))[-1]
    assert end.stage is Stage.PLACING
    runs = double.state()["runs"]
    assert sorted(run["input"]["seed"] for run in runs) == [7, 8, 9]
    assert len({run["input"]["video"] for run in runs}) == len(double.state()["uploads"]) == 1
    assert len((tmp_path / "work" / "log.txt").read_text().splitlines()) == 1
    by_seed = {run["input"]["seed"]: run["id"] for run in runs}
    assert [(take.settings.seed, take.prediction_ids) for take in end.takes] == [
        (seed, [by_seed[seed]]) for seed in (7, 8, 9)
    ]
    assert len({take.file for take in end.takes}) == 3
    assert all(upload["deleted"] for upload in double.state()["uploads"])


@pytest.mark.usefixtures("without_aud")
def test_a_long_strip_has_concurrent_windows_with_one_seed(double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=1.5)
    states = run_job(new_job(tmp_path, frames=LONG), context_for(double, tmp_path))
    runs, plan = double.state()["runs"], states[-1].request.windows
    assert len(runs) == len(plan) == 3
    assert {run["input"]["seed"] for run in runs} == {7}
    assert {run["input"]["duration"] for run in runs} == {float(plan[0].duration)}
    assert {run["clip"]["frames"] for run in runs} == {clip_frames(plan[0].duration, Fraction(24))}
    assert len({run["input"]["video"] for run in runs}) == 3
    assert double.state()["peak_concurrent"] == 3
    (take,) = states[-1].takes
    assert len(take.prediction_ids) == 3
    done = [state.progress.done for state in states if state.progress is not None and state.progress.unit == "runs"]
    assert done == sorted(done)
    assert done[-1] == 3


@pytest.mark.usefixtures("without_aud")
def test_a_single_run_can_be_chosen(double: Double, tmp_path: Path) -> None:
    job = new_job(tmp_path, frames=LONG)
    job = Job.new(replace(job.request, options=Options(split=False)))
    assert run_job(job, context_for(double, tmp_path))[-1].stage is Stage.PLACING
    (run,) = double.state()["runs"]
    assert run["input"]["duration"] == 20.16


@pytest.mark.usefixtures("without_aud")
def test_runs_beyond_the_cap_wait(double: Double, tmp_path: Path) -> None:
    job = new_job(tmp_path, frames=24 * 9, takes=6)
    assert run_job(job, context_for(double, tmp_path))[-1].stage is Stage.PLACING
    state = double.state()
    assert len(state["runs"]) == 12
    assert state["peak_concurrent"] <= SLOTS_MAX
    assert len(double.requests("POST", "/v1/prediction")) == 12


@pytest.mark.usefixtures("without_aud")
def test_one_failed_window_is_run_again_by_itself(double: Double, tmp_path: Path) -> None:
    double.inject("run", "fail")
    end = run_job(new_job(tmp_path, frames=LONG), context_for(double, tmp_path))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    statuses = [run["status"] for run in double.state()["runs"]]
    assert sorted(statuses) == ["error", "success", "success", "success"]
    assert len(double.state()["uploads"]) == 3


@pytest.mark.usefixtures("without_aud")
def test_a_window_that_keeps_failing_is_named_and_only_it_is_retried(double: Double, tmp_path: Path) -> None:
    # Both fail once, and one of them again.
    double.inject("run", "fail", times=3, reason="out of memory")
    failed = run_job(new_job(tmp_path, frames=24 * 15), context_for(double, tmp_path))[-1]
    assert failed.stage is Stage.FAILED
    assert failed.error is not None
    assert failed.error.code == "run_failed"
    assert "“Shot 1” (" in failed.error.message
    assert " s): " in failed.error.message
    assert len(double.state()["runs"]) == 4
    again = run_job(replace(failed, stage=Stage.QUEUED, error=None), context_for(double, tmp_path, "refuse"))[-1]
    assert (again.stage, again.error) == (Stage.PLACING, None)
    assert len(double.state()["runs"]) == 5
    assert [path for path in (tmp_path / "work").iterdir() if path.is_dir()] == []
    assert all(upload["deleted"] for upload in double.state()["uploads"])


@pytest.mark.usefixtures("without_aud")
def test_the_takes_that_went_well_are_placed_beside_one_that_failed(double: Double, tmp_path: Path) -> None:
    double.inject("run", "fail", times=2, where={"seed": 8})
    end = run_job(new_job(tmp_path, takes=3), context_for(double, tmp_path))[-1]
    assert end.stage is Stage.PLACING
    assert end.to_place == [0, 2]
    assert end.first_error is not None
    assert "(take 2)" in end.first_error.message


@pytest.mark.parametrize(("status", "code"), [(402, "balance"), (401, "bad_key")])
def test_after_an_error_of_the_key_no_more_runs_are_created(status: int, code: str, double: Double, tmp_path: Path) -> None:
    job = new_job(tmp_path, frames=24 * 120)
    assert len(job.runs) == 17
    double.inject("create", "status", status=status, times=99)
    end = run_job(job, context_for(double, tmp_path))[-1]
    assert end.error is not None
    assert end.error.code == code
    # Ten threads may have sent a create call before the first response.
    assert len(double.requests("POST", "/v1/prediction")) <= SLOTS_MAX
    assert not end.paid
    assert all(upload["deleted"] for upload in double.state()["uploads"])


@pytest.mark.usefixtures("without_aud")
def test_a_lost_response_is_settled_among_takes_of_one_video(double: Double, tmp_path: Path) -> None:
    double.inject("create", "drop", carried_out=True, times=2)
    end = run_job(new_job(tmp_path, takes=3), context_for(double, tmp_path))[-1]
    assert end.stage is Stage.PLACING
    runs = double.state()["runs"]
    assert sorted(run["input"]["seed"] for run in runs) == [7, 8, 9]
    by_id = {run["id"]: run["input"]["seed"] for run in runs}
    assert [[by_id[run] for run in take.prediction_ids] for take in end.takes] == [[7], [8], [9]]


def test_a_cancelled_long_job_ends_all_its_runs(double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=60)
    requested_at = threading.Event()

    def all_ordered(job: Job) -> bool:
        if all(run.prediction_id for run in job.runs):
            requested_at.set()
        return requested_at.is_set()

    end = run_job(new_job(tmp_path, frames=LONG), context_for(double, tmp_path), cancel_when=all_ordered)[-1]
    assert end.stage is Stage.CANCELLED
    state: dict[str, Any] = double.state()
    assert sorted(state["cancelled"]) == sorted(run["id"] for run in state["runs"])
    assert len(state["runs"]) == 3
    assert all(upload["deleted"] for upload in state["uploads"])
    assert [path for path in (tmp_path / "work").iterdir() if path.is_dir()] == []
