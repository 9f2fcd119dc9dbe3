# SPDX-License-Identifier: GPL-3.0-or-later
"""Test of a batch of 200 strips with a key for two concurrent runs: real sockets and Runner, with shorter minutes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from addon.jobs.limits import CREATES_MAX, CREATES_SECONDS, SLOTS_MAX
from addon.jobs.model.run import Stage
from addon.jobs.work.runner import Runner
from addon.service.net.clock import Clock

from .helpers import Double, cancel_all, context_for, drain_until, new_job

CAP = 2
JOBS = 200
SPEED = 8
"""Of the clock. A minute is still longer than a hundred runs take, so the limit is reached."""


@pytest.mark.usefixtures("without_aud")
def test_a_batch_of_200_completes_with_a_cap_of_2(
    double: Double,
    clip: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    double.set(concurrent=CAP, minute=60 / SPEED)
    job_context = context_for(double, tmp_path, "refuse", Clock(SPEED))
    jobs = [new_job(tmp_path, f"Shot {number}") for number in range(JOBS)]
    for job in jobs:
        # The clips are already rendered, since this is a test of the later stages.
        job_context.folder(job.id).mkdir(parents=True)
        shutil.copy(clip, job_context.folder(job.id) / "clip-000.mp4")
    runner = Runner()
    runner.open(tmp_path)
    runner.add(jobs, job_context)
    try:
        drain_until(runner, lambda: all(job.stage.ended or job.stage is Stage.PLACING for job in runner.jobs), 300)
        assert [job.error for job in runner.jobs if job.stage is not Stage.PLACING or job.error] == []
    finally:
        cancel_all(runner)
        runner.close(20)
    state = double.state()
    assert len({run["input"]["video"] for run in state["runs"]}) == len(state["runs"]) == JOBS
    assert state["peak_concurrent"] == CAP
    asked = [request["time"] for request in double.requests("POST", "/v1/prediction") if "cancel" not in request["path"]]
    a_minute = max(sum(at <= other < at + CREATES_SECONDS / SPEED for other in asked) for at in asked)
    assert a_minute <= CREATES_MAX
    # The first ten at once, and then one a minute that tries to raise the cap.
    refused, minutes = len(asked) - JOBS, (asked[-1] - asked[0]) / 60 * SPEED
    assert refused <= SLOTS_MAX + minutes + 1
    record_property(
        f"a batch of {JOBS} against a cap of {CAP}",
        f"none failed, {state['peak_concurrent']} in flight at most, {a_minute} creates in a minute at most, "
        f"{refused} refused, {minutes:.1f} min",
    )
