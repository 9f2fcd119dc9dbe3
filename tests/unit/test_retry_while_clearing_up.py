# SPDX-License-Identifier: GPL-3.0-or-later
"""A retry while a thread still clears up after the try before: it leads on, and nothing is ordered twice."""

from pathlib import Path

import pytest

from addon.jobs.model.job import Job
from addon.jobs.model.run import Run, Stage
from addon.jobs.work import model_run
from addon.jobs.work.runner import Runner
from addon.service.eachlabs import mmaudio

from .parts import Double, context_for, drained, new_job, until

pytestmark = pytest.mark.usefixtures("without_aud")

SLOW = 0.6
"""Seconds for which a slow answer is waited for."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_run, "_POLL_SECONDS", 0.02)


def only(runner: Runner) -> Job:
    (job,) = runner.jobs
    return job


def run_of(runner: Runner) -> Run:
    (run,) = only(runner).runs
    return run


def retry(runner: Runner, double: Double, folder: Path) -> None:
    """What a click on Retry does, but for the strip: see `generation.retry`."""
    job = runner.claimed(only(runner))
    assert job.paid
    runner.retry(job.id, job.request, context_for(double, folder))


def in_flight(runner: Runner, double: Double, folder: Path) -> None:
    """A job whose run goes on for longer than any test."""
    double.set(run_seconds=30)
    runner.add([new_job(folder)], context_for(double, folder))
    drained(runner, lambda: run_of(runner).prediction_id is not None)
    double.set(run_seconds=0.05)


def slow(double: Double, *places: str) -> None:
    for place in places:
        double.order(place, "stall", seconds=SLOW)


def placing(runner: Runner) -> bool:
    assert only(runner).error is None
    return only(runner).stage is Stage.PLACING


def check_nothing_stays(runner: Runner, double: Double) -> None:
    drained(runner, lambda: not runner.has_worker(only(runner).id))
    assert [upload["id"] for upload in double.state()["uploads"] if upload["live"]] == []


@pytest.mark.parametrize("heard", [False, True], ids=["at once", "when its run is being cancelled"])
def test_what_is_being_cancelled_is_ordered_anew_once_it_is_over(
    heard: bool, runner: Runner, double: Double, tmp_path: Path
) -> None:
    in_flight(runner, double, tmp_path)
    slow(double, "cancel", "delete")
    runner.cancel(only(runner).id)
    if heard:
        drained(runner, lambda: "cancel" in double.state()["struck"])
    assert only(runner).retry_cost(cleaning_up=runner.has_worker(only(runner).id)) == mmaudio.EXPECTED_RUN_USD
    retry(runner, double, tmp_path)
    drained(runner, lambda: placing(runner))
    first, second = double.state()["runs"]
    assert (first["status"], second["status"]) == ("cancelled", "success")
    assert (run_of(runner).prediction_id, run_of(runner).superseded_ids) == (second["id"], (first["id"],))
    assert double.state()["most_under_way"] == 1
    # The copy of the edit may be gone by now: its clip is there without another render.
    assert len((tmp_path / "work" / "diary.txt").read_text().splitlines()) == 1
    # Its upload was there to be read, and the first one wasn't used.
    uploads = [upload["url"] for upload in double.state()["uploads"]]
    assert [run["input"]["video"] for run in (first, second)] == uploads
    check_nothing_stays(runner, double)


def test_a_run_that_could_not_be_cancelled_is_fetched(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=2 * SLOW)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    drained(runner, lambda: run_of(runner).prediction_id is not None)
    double.order("cancel", "stall", seconds=SLOW)
    double.order("cancel", "status", status=403, body='{"error": "not allowed"}')
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    drained(runner, lambda: placing(runner))
    assert [run["status"] for run in double.state()["runs"]] == ["success"]
    check_nothing_stays(runner, double)


def test_a_run_whose_start_is_not_answered_yet_is_ordered_once_at_a_time(
    runner: Runner, double: Double, tmp_path: Path
) -> None:
    double.set(run_seconds=30)
    double.order("create", "stall", seconds=SLOW)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    until(lambda: double.requests("POST", "/v1/prediction") != [])
    assert run_of(runner).prediction_id is None
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    drained(runner, lambda: [run["status"] for run in double.state()["runs"]] == ["cancelled"])
    double.set(run_seconds=0.05)
    drained(runner, lambda: placing(runner))
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled", "success"]
    assert double.state()["most_under_way"] == 1
    check_nothing_stays(runner, double)


def test_a_retry_that_waits_can_be_cancelled(runner: Runner, double: Double, tmp_path: Path) -> None:
    in_flight(runner, double, tmp_path)
    slow(double, "cancel", "delete")
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    runner.cancel(only(runner).id)
    drained(runner, lambda: not runner.busy)
    assert only(runner).stage is Stage.CANCELLED
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled"]
    assert not only(runner).paid
    assert [path for path in (tmp_path / "work").iterdir() if path.is_dir()] == []


def test_a_failed_job_that_still_clears_up_is_tried_again(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.order("output", "status", status=404, body="", times=2)
    slow(double, "delete")
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    drained(runner, lambda: only(runner).stage is Stage.FAILED)
    assert runner.has_worker(only(runner).id)
    retry(runner, double, tmp_path)
    drained(runner, lambda: placing(runner))
    assert len(double.state()["runs"]) == 1
    check_nothing_stays(runner, double)


def test_a_retry_that_waits_when_blender_closes_goes_on_when_the_file_is_opened(
    runner: Runner, double: Double, tmp_path: Path
) -> None:
    in_flight(runner, double, tmp_path)
    slow(double, "cancel")
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    runner.close(20)
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled"]
    (left,) = runner.open(tmp_path).journal.claim("")
    assert (left.stage, left.paid) == (Stage.QUEUED, False)
    runner.add([left], context_for(double, tmp_path))
    drained(runner, lambda: placing(runner))


def test_the_journal_never_forgets_what_a_thread_requests_meanwhile(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=30)
    double.order("create", "stall", seconds=SLOW)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    until(lambda: double.requests("POST", "/v1/prediction") != [])
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    (entry,) = runner.open(tmp_path).journal.all()
    assert entry.job is not None
    assert entry.job.paid
