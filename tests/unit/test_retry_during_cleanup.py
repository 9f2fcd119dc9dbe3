# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a retry while the previous attempt still cleans up: it continues, and no run is created twice."""

from pathlib import Path

import pytest

from addon.jobs.model.job import Job
from addon.jobs.model.run import Run, Stage
from addon.jobs.work.runner import Runner

from .helpers import Double, context_for, drain_until, new_job, wait_until

pytestmark = pytest.mark.usefixtures("without_aud")

SLOW = 0.6
"""Timeout for a slow response."""


def only(runner: Runner) -> Job:
    (job,) = runner.jobs
    return job


def run_of(runner: Runner) -> Run:
    (run,) = only(runner).runs
    return run


def retry(runner: Runner, double: Double, folder: Path) -> None:
    """Start the job that Retry starts, without the strip: see `retrying.retry`."""
    job = runner.claimed(only(runner))
    assert job.paid
    runner.retry(job.id, job.request, context_for(double, folder))


def active_run(runner: Runner, double: Double, folder: Path) -> None:
    """Return a job whose run takes longer than any test."""
    double.set(run_seconds=30)
    runner.add([new_job(folder)], context_for(double, folder))
    drain_until(runner, lambda: run_of(runner).prediction_id is not None)
    double.set(run_seconds=0.05)


def slow(double: Double, *places: str) -> None:
    for place in places:
        double.inject(place, "stall", seconds=SLOW)


def placing(runner: Runner) -> bool:
    assert only(runner).error is None
    return only(runner).stage is Stage.PLACING


def check_nothing_stays(runner: Runner, double: Double) -> None:
    drain_until(runner, lambda: not runner.has_worker(only(runner).id))
    assert [upload["id"] for upload in double.state()["uploads"] if upload["live"]] == []


@pytest.mark.parametrize("heard", [False, True], ids=["at once", "when its run is being cancelled"])
def test_a_run_that_is_being_cancelled_is_created_again_after_its_end(
    heard: bool, runner: Runner, double: Double, tmp_path: Path
) -> None:
    active_run(runner, double, tmp_path)
    slow(double, "cancel", "delete")
    runner.cancel(only(runner).id)
    if heard:
        drain_until(runner, lambda: "cancel" in double.state()["triggered"])
    assert only(runner).runs_to_create(cleaning_up=runner.has_worker(only(runner).id)) == 1
    retry(runner, double, tmp_path)
    drain_until(runner, lambda: placing(runner))
    first, second = double.state()["runs"]
    assert (first["status"], second["status"]) == ("cancelled", "success")
    assert (run_of(runner).prediction_id, run_of(runner).superseded_ids) == (second["id"], (first["id"],))
    assert double.state()["peak_concurrent"] == 1
    # The snapshot may be deleted by now: the clip exists without another render.
    assert len((tmp_path / "work" / "log.txt").read_text().splitlines()) == 1
    # Its upload could be read, and the first one was not used.
    uploads = [upload["url"] for upload in double.state()["uploads"]]
    assert [run["input"]["video"] for run in (first, second)] == uploads
    check_nothing_stays(runner, double)


def test_a_run_that_could_not_be_cancelled_is_fetched(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=2 * SLOW)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    drain_until(runner, lambda: run_of(runner).prediction_id is not None)
    double.inject("cancel", "stall", seconds=SLOW)
    double.inject("cancel", "status", status=403, body='{"error": "not allowed"}')
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    drain_until(runner, lambda: placing(runner))
    assert [run["status"] for run in double.state()["runs"]] == ["success"]
    check_nothing_stays(runner, double)


def test_a_run_without_a_create_response_is_not_created_concurrently(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=30)
    double.inject("create", "stall", seconds=SLOW)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    wait_until(lambda: double.requests("POST", "/v1/prediction") != [])
    assert run_of(runner).prediction_id is None
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    drain_until(runner, lambda: [run["status"] for run in double.state()["runs"]] == ["cancelled"])
    double.set(run_seconds=0.05)
    drain_until(runner, lambda: placing(runner))
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled", "success"]
    assert double.state()["peak_concurrent"] == 1
    check_nothing_stays(runner, double)


def test_a_retry_that_waits_can_be_cancelled(runner: Runner, double: Double, tmp_path: Path) -> None:
    active_run(runner, double, tmp_path)
    slow(double, "cancel", "delete")
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    runner.cancel(only(runner).id)
    drain_until(runner, lambda: not runner.busy)
    assert only(runner).stage is Stage.CANCELLED
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled"]
    assert not only(runner).paid
    assert [path for path in (tmp_path / "work").iterdir() if path.is_dir()] == []


def test_a_failed_job_that_still_cleans_up_can_be_retried(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.inject("output", "status", status=404, body="", times=2)
    slow(double, "delete")
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    drain_until(runner, lambda: only(runner).stage is Stage.FAILED)
    assert runner.has_worker(only(runner).id)
    retry(runner, double, tmp_path)
    drain_until(runner, lambda: placing(runner))
    assert len(double.state()["runs"]) == 1
    check_nothing_stays(runner, double)


def test_a_waiting_retry_resumes_when_the_file_is_opened_again(runner: Runner, double: Double, tmp_path: Path) -> None:
    active_run(runner, double, tmp_path)
    slow(double, "cancel")
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    runner.close(20)
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled"]
    (left,) = runner.open(tmp_path).journal.claim("")
    assert (left.stage, left.paid) == (Stage.QUEUED, False)
    runner.add([left], context_for(double, tmp_path))
    drain_until(runner, lambda: placing(runner))


def test_the_journal_keeps_what_a_thread_requests_meanwhile(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=30)
    double.inject("create", "stall", seconds=SLOW)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    wait_until(lambda: double.requests("POST", "/v1/prediction") != [])
    runner.cancel(only(runner).id)
    retry(runner, double, tmp_path)
    (entry,) = runner.open(tmp_path).journal.all()
    assert entry.job is not None
    assert entry.job.paid
