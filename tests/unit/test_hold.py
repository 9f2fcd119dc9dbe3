# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what holds all jobs: an empty balance, a refused key, no network, a full disk, and the artist's pause."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from addon.jobs.model.job import Job
from addon.jobs.model.run import Stage
from addon.jobs.work.runner import Runner
from addon.media import folder
from addon.service.net.clock import Clock

from .helpers import RUN_SECONDS, Double, cancel_all, context_for, drain_until, new_job

pytestmark = pytest.mark.usefixtures("without_aud")

JOBS = 8
SLOW = Clock(5)
"""Clock of runs that are still under way when something happens."""


@pytest.fixture
def windowed(tmp_path: Path) -> Iterator[Runner]:
    """The runner of a Blender with a window, where jobs can be held."""
    made = Runner(waits=True)
    made.open(tmp_path)
    yield made
    cancel_all(made)
    made.close(20)


def shots(folder: Path, count: int = JOBS) -> list[Job]:
    return [new_job(folder, f"Shot {number}") for number in range(count)]


def stages(runner: Runner) -> list[Stage]:
    return [job.stage for job in runner.jobs]


def is_settled(runner: Runner) -> bool:
    """Return whether nothing is under way any more: each job has its sound, has ended, or is held."""
    return all(job.stage.ended or job.stage is Stage.PLACING or runner.is_held(job.id) for job in runner.jobs)


def refuse_balance(double: Double) -> None:
    double.respond("create", {"error": "insufficient balance"}, 402, times=1000)


def refuse_key(double: Double) -> None:
    double.respond("create", {"error": "invalid key"}, 401, times=1000)


def cut_network(double: Double) -> None:
    double.inject("create", "drop", times=1000)


@pytest.mark.parametrize(
    ("code", "go_wrong"),
    [("balance", refuse_balance), ("bad_key", refuse_key), ("connection", cut_network)],
    ids=["balance", "key", "network"],
)
def test_what_stops_all_holds_what_is_not_ordered_and_then_goes_on(
    windowed: Runner, double: Double, tmp_path: Path, code: str, go_wrong: Callable[[Double], None]
) -> None:
    go_wrong(double)
    job_context = context_for(double, tmp_path)
    windowed.add(shots(tmp_path), job_context)
    drain_until(windowed, lambda: is_settled(windowed), 60)

    failed = [job for job in windowed.jobs if job.stage is Stage.FAILED]
    assert failed and len(failed) < JOBS
    assert {job.error.code for job in failed if job.error} == {code}
    assert all(windowed.is_held(job.id) and job.stage is Stage.QUEUED for job in windowed.jobs if job not in failed)
    reason = windowed.hold.reason
    assert reason is not None and reason.code == code
    double.clear_faults()
    before = len(double.requests())
    windowed.add([new_job(tmp_path, "Shot new")], job_context)
    drain_until(windowed, lambda: is_settled(windowed))
    assert [request for request in double.requests()[before:] if request["method"] != "GET"] == []

    windowed.go_on(job_context)
    drain_until(windowed, lambda: is_settled(windowed), 60)

    done = [job for job in windowed.jobs if job.stage is Stage.PLACING]
    assert [job.error for job in windowed.jobs if job.stage is Stage.FAILED and job not in failed] == []
    assert len(done) == JOBS + 1 - len(failed)
    assert len(double.state()["runs"]) == len(done)


def test_a_refused_key_is_replaced_for_all_that_is_held(windowed: Runner, double: Double, tmp_path: Path) -> None:
    right = context_for(double, tmp_path)
    windowed.add(shots(tmp_path), replace(right, key="wrong"))
    drain_until(windowed, lambda: is_settled(windowed))
    failed = stages(windowed).count(Stage.FAILED)
    assert 0 < failed < JOBS

    windowed.go_on(right)
    drain_until(windowed, lambda: is_settled(windowed), 60)

    assert stages(windowed).count(Stage.PLACING) == JOBS - failed


def test_a_full_disk_holds_all(windowed: Runner, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's figure is replaced: a disk that is really full is in tests/blender/test_disks.py."""
    free = {"bytes": 0}
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, free=free["bytes"]))
    job_context = context_for(double, tmp_path)
    windowed.add(shots(tmp_path), job_context)
    drain_until(windowed, lambda: is_settled(windowed))
    failed = stages(windowed).count(Stage.FAILED)
    assert 0 < failed < JOBS and double.state()["runs"] == []

    free["bytes"] = 10**12
    windowed.go_on(job_context)
    drain_until(windowed, lambda: is_settled(windowed), 60)
    assert stages(windowed).count(Stage.PLACING) == JOBS - failed


def test_without_a_window_the_rest_fails_with_the_first(runner: Runner, double: Double, tmp_path: Path) -> None:
    refuse_balance(double)
    runner.add(shots(tmp_path, 40), context_for(double, tmp_path))
    drain_until(runner, lambda: all(job.stage.ended for job in runner.jobs), 60)

    assert {job.error.code for job in runner.jobs if job.error} == {"balance"}
    assert all(job.error and f"“{job.request.strip}”" in job.error.message for job in runner.jobs)
    rendered = (tmp_path / "work" / "log.txt").read_text().splitlines()
    assert len(rendered) < 40
    assert len(double.requests("POST", "/v1/prediction")) < 10


def test_a_pause_lets_runs_finish_and_orders_nothing_more(windowed: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=1.0, concurrent=2)
    job_context = context_for(double, tmp_path, clock=SLOW)
    windowed.add(shots(tmp_path), job_context)
    drain_until(windowed, lambda: len(double.state()["runs"]) >= 2)
    windowed.hold.pause()
    drain_until(windowed, lambda: is_settled(windowed))

    ordered = len(double.state()["runs"])
    assert stages(windowed).count(Stage.PLACING) == ordered < JOBS
    assert windowed.hold.reason is None

    # A click and a retry go on after a failure, but a pause is the artist's.
    windowed.go_on(job_context, paused=False)
    assert windowed.hold.paused
    windowed.go_on(job_context)
    drain_until(windowed, lambda: is_settled(windowed), 60)
    assert [job.error for job in windowed.jobs if job.error] == []
    assert stages(windowed) == [Stage.PLACING] * JOBS
    assert len(double.state()["runs"]) == JOBS


def test_a_job_of_several_runs_that_is_refused_fails_and_says_why(windowed: Runner, double: Double, tmp_path: Path) -> None:
    refuse_balance(double)
    windowed.add([new_job(tmp_path, f"Shot {number}", takes=3) for number in range(JOBS)], context_for(double, tmp_path))
    drain_until(windowed, lambda: is_settled(windowed), 60)

    failed = [job.error.code for job in windowed.jobs if job.error is not None]
    assert failed and set(failed) == {"balance"} and len(failed) < JOBS
    assert double.state()["runs"] == []


def test_held_jobs_go_on_in_their_order(windowed: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=1.0, concurrent=1)
    job_context = context_for(double, tmp_path, clock=SLOW)
    windowed.add(shots(tmp_path), job_context)
    drain_until(windowed, lambda: len([job for job in windowed.jobs if job.uploads]) > 2)
    windowed.hold.pause()
    drain_until(windowed, lambda: is_settled(windowed))
    double.set(run_seconds=RUN_SECONDS)

    windowed.go_on(job_context)
    drain_until(windowed, lambda: is_settled(windowed), 60)

    assert stages(windowed) == [Stage.PLACING] * JOBS


def test_what_has_held_the_jobs_of_one_session_does_not_hold_the_next(
    windowed: Runner, double: Double, tmp_path: Path
) -> None:
    refuse_key(double)
    windowed.add(shots(tmp_path, 2), context_for(double, tmp_path))
    drain_until(windowed, lambda: windowed.hold.active)

    windowed.close(20)

    assert not windowed.hold.active


def test_a_held_job_can_be_cancelled(windowed: Runner, double: Double, tmp_path: Path) -> None:
    windowed.hold.pause()
    windowed.add(shots(tmp_path, 2), context_for(double, tmp_path))
    drain_until(windowed, lambda: is_settled(windowed))
    first = windowed.jobs[0]

    windowed.cancel(first.id)

    assert stages(windowed) == [Stage.CANCELLED, Stage.QUEUED]
    assert not windowed.is_held(first.id)


def test_a_held_job_that_is_cancelled_leaves_no_upload_and_no_file(windowed: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=1.0, concurrent=1)
    job_context = context_for(double, tmp_path, clock=SLOW)
    windowed.add(shots(tmp_path, 3), job_context)
    drain_until(windowed, lambda: len([job for job in windowed.jobs if job.uploads]) == 3)
    windowed.hold.pause()
    drain_until(windowed, lambda: is_settled(windowed))
    held = [job for job in windowed.jobs if windowed.is_held(job.id)]
    assert held and all(job.uploads for job in held)

    cancel_all(windowed)
    drain_until(windowed, lambda: not any(job.uploads for job in windowed.jobs) and not windowed.busy)

    assert not any((tmp_path / "work" / job.id).exists() for job in held)


def test_runs_that_exist_are_fetched_while_the_rest_of_the_job_is_held(
    windowed: Runner, double: Double, tmp_path: Path
) -> None:
    double.set(run_seconds=1.0, concurrent=1)
    job_context = context_for(double, tmp_path, clock=SLOW)
    windowed.add([new_job(tmp_path, takes=3)], job_context)
    drain_until(windowed, lambda: len(double.state()["runs"]) == 1)
    windowed.hold.pause()
    drain_until(windowed, lambda: is_settled(windowed))

    (job,) = windowed.jobs
    assert [run.result is not None for run in job.runs].count(True) == 1
    assert len(double.state()["runs"]) == 1

    windowed.go_on(job_context)
    drain_until(windowed, lambda: is_settled(windowed), 60)
    assert stages(windowed) == [Stage.PLACING] and len(double.state()["runs"]) == 3


def test_a_failure_of_one_strip_alone_holds_nothing(windowed: Runner, double: Double, tmp_path: Path) -> None:
    double.inject("run", "fail", reason="CUDA out of memory")
    windowed.add(shots(tmp_path), context_for(double, tmp_path))
    drain_until(windowed, lambda: is_settled(windowed), 60)

    assert sorted(stages(windowed)) == sorted([Stage.FAILED, *[Stage.PLACING] * (JOBS - 1)])
    assert not windowed.hold.active


def test_an_account_that_is_refused_while_uploading_holds_all(windowed: Runner, double: Double, tmp_path: Path) -> None:
    double.respond("presign", {"error": "unauthorized"}, 401, times=1000)
    windowed.add(shots(tmp_path), context_for(double, tmp_path))
    drain_until(windowed, lambda: is_settled(windowed))

    assert 0 < stages(windowed).count(Stage.FAILED) < JOBS
    assert double.state()["runs"] == []
