# SPDX-License-Identifier: GPL-3.0-or-later
"""Several Blenders with one key that permits two runs in flight: the service alone arbitrates, over real sockets."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.jobs.limits import SLOTS_MAX
from addon.jobs.model.job import Job
from addon.jobs.model.run import RunIndex, Stage
from addon.jobs.work.connections import account_of
from addon.jobs.work.runner import Runner
from addon.service.eachlabs.mmaudio import Settings
from addon.service.net.clock import Clock

from .blender_process import Blender
from .blenders import Blenders, as_message
from .helpers import Double, cancel_all, context_for, drain_until, new_job, wait_until

CAP = 2


@pytest.fixture
def blenders(tmp_path: Path) -> Iterator[Blenders]:
    made = Blenders(tmp_path / "jobs.sqlite3")
    yield made
    made.close()


def rendered(folder: Path, clip: Path, seeds: Sequence[int], project: str = "") -> list[Job]:
    """Jobs whose clips are rendered already; their runs are told apart by their seeds."""
    jobs: list[Job] = []
    for seed in seeds:
        job = replace(new_job(folder, f"Shot {seed}", settings=Settings("rain", "music", seed)), project=project)
        target = folder / "work" / job.id / "clip-000.mp4"
        target.parent.mkdir(parents=True)
        shutil.copy(clip, target)
        jobs.append(job)
    return jobs


def generate(blender: Blender, double: Double, jobs: Sequence[Job] = (), project: str | None = None) -> None:
    records = {words["job_id"]: words["record"] for words in map(as_message, jobs)}
    blender.send("generate", key=double.key, base_url=double.base_url, records=records, project=project)


def seeds_of_runs(state: dict[str, Any]) -> list[int]:
    return sorted(run["input"]["seed"] for run in state["runs"])


@pytest.mark.usefixtures("without_aud")
def test_24_jobs_go_through_a_cap_that_only_a_429_tells(
    double: Double, clip: Path, tmp_path: Path, runner: Runner, record_property: Any
) -> None:
    double.set(concurrent=CAP, run_seconds=0.1)
    runner.add(rendered(tmp_path, clip, range(24)), context_for(double, tmp_path, "refuse", Clock(4)))
    drain_until(runner, lambda: all(job.stage.ended or job.stage is Stage.PLACING for job in runner.jobs), 120)
    assert [(job.stage, job.first_error) for job in runner.jobs] == [(Stage.PLACING, None)] * 24
    state = double.state()
    assert seeds_of_runs(state) == list(range(24))
    assert state["peak_concurrent"] == CAP
    calls = [request for request in double.requests("POST", "/v1/prediction") if "cancel" not in request["path"]]
    assert state["refused"] == len(calls) - 24
    assert state["refused"] <= 6
    record_property("24 jobs against a cap of 2", f"{state['refused']} create calls refused")


def test_three_blenders_with_one_key_complete_all_and_none_twice(
    double: Double, clip: Path, tmp_path: Path, blenders: Blenders, record_property: Any
) -> None:
    double.set(concurrent=CAP, run_seconds=0.1)
    started = [blenders.start() for _ in range(3)]
    for number, blender in enumerate(started):
        generate(blender, double, rendered(tmp_path, clip, range(6 * number, 6 * number + 6)))
    ends = [blender.receive() for blender in started]
    assert [list(ended.values()) for ended in ends] == [[[Stage.PLACING, ""]] * 6] * 3
    state = double.state()
    assert seeds_of_runs(state) == list(range(18))
    assert state["peak_concurrent"] == CAP
    record_property("three Blenders of 6 jobs against a cap of 2", f"{state['refused']} create calls refused")


@pytest.mark.parametrize("response", ["received", "under way"])
def test_a_run_of_a_blender_that_is_killed_is_continued_and_not_created_twice(
    response: str, double: Double, clip: Path, tmp_path: Path, blenders: Blenders
) -> None:
    double.set(concurrent=CAP, run_seconds=0.5)
    killed, other, heir = [blenders.start() for _ in range(3)]
    if response == "under way":
        # The call is carried out, and its response is a long time coming.
        double.inject("create", "slow", seconds=4)
    generate(killed, double, rendered(tmp_path, clip, range(6), "/edit.blend"))
    journal = blenders.open()

    def in_flight() -> bool:
        runs = [entry.job.run(RunIndex(0, 0)) for entry in journal.all() if entry.job]
        known = sum(run.prediction_id is not None and run.stage is Stage.PREDICTING for run in runs)
        unknown = sum(run.prediction_id is None and run.requested_at is not None for run in runs)
        if response == "under way":
            return len(double.state()["runs"]) == 1 and (known, unknown) == (0, 1)
        return known > 0 and unknown == 0 and double.state()["refused"] > 0

    wait_until(in_flight)
    killed.kill()
    generate(other, double, rendered(tmp_path, clip, range(6, 10), "/other.blend"))
    generate(heir, double, project="/edit.blend")
    assert list(heir.receive().values()) == [[Stage.PLACING, ""]] * 6
    assert list(other.receive().values()) == [[Stage.PLACING, ""]] * 4
    state = double.state()
    assert seeds_of_runs(state) == list(range(10))
    assert state["peak_concurrent"] == CAP
    assert state["cancelled"] == []


@pytest.mark.usefixtures("without_aud")
def test_runs_from_before_a_restart_are_fetched_though_new_ones_come_first(
    double: Double, clip: Path, tmp_path: Path, runner: Runner, record_property: Any
) -> None:
    """More jobs than workers, and those in flight come last: until their workers start, only a 429 tells of them."""
    double.set(concurrent=CAP, run_seconds=1.0)
    jobs = rendered(tmp_path, clip, range(12))
    job_context = context_for(double, tmp_path, "refuse", Clock(3))
    before = Runner()
    before.open(tmp_path)
    before.add(jobs[-CAP:], job_context)
    drain_until(before, lambda: all(job.run(RunIndex(0, 0)).prediction_id for job in before.jobs))
    in_flight = before.jobs
    before.close(20)
    resumed = [*jobs[:-CAP], *(runner.claimed(job) for job in in_flight)]
    runner.show(resumed, job_context)
    double.set(run_seconds=0.1)
    for job in resumed:
        runner.retry(job.id, job.request, job_context)
    drain_until(runner, lambda: all(job.stage.ended or job.stage is Stage.PLACING for job in runner.jobs), 120)
    assert [(job.stage, job.first_error) for job in runner.jobs] == [(Stage.PLACING, None)] * 12
    state = double.state()
    assert seeds_of_runs(state) == list(range(12))
    assert state["refused"] <= 6
    record_property("a restart with two in flight", f"{state['refused']} create calls refused")
    cancel_all(runner)


@pytest.mark.usefixtures("without_aud")
@pytest.mark.parametrize("response", ["received", "lost"])
def test_a_run_from_before_a_restart_waits_for_no_slot(
    response: str, double: Double, clip: Path, tmp_path: Path, runner: Runner
) -> None:
    double.set(run_seconds=0.5)
    job_context = context_for(double, tmp_path, "refuse")
    before = Runner()
    before.open(tmp_path)
    before.add(rendered(tmp_path, clip, [1]), job_context)
    drain_until(before, lambda: all(job.run(RunIndex(0, 0)).prediction_id for job in before.jobs))
    (job,) = before.jobs
    before.close(20)
    job = runner.claimed(job)
    if response == "lost":
        (run,) = double.state()["runs"]
        job = job.with_run(RunIndex(0, 0), prediction_id=None, video=run["input"]["video"])
    limits = runner.open(tmp_path).limits(account_of(double.key, double.base_url))
    with ExitStack() as stack:
        for _ in range(SLOTS_MAX):
            stack.enter_context(limits.slot(time.sleep, in_flight=True))
        runner.show([job], job_context)
        runner.retry(job.id, job.request, job_context)
        drain_until(runner, lambda: all(job.stage is Stage.PLACING for job in runner.jobs))
    assert seeds_of_runs(double.state()) == [1]
