# SPDX-License-Identifier: GPL-3.0-or-later
"""A job has one current state, which worker and main thread change: nothing that was paid for gets lost between them."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.jobs.model.job import Job, PlacedSound
from addon.jobs.model.run import JobError, RunIndex, Stage
from addon.jobs.work.runner import Runner
from addon.jobs.work.state import JobState
from addon.service.eachlabs import executions
from addon.service.eachlabs.mmaudio import Settings
from addon.service.net.errors import ServiceUnavailable
from addon.service.storage import Published

from .helpers import Double, FreeSlot, InstantTransport, Service, cancel_all, context_for, drain_until, fields, new_job

pytestmark = [pytest.mark.oldest, pytest.mark.usefixtures("without_aud")]
FIRST, SECOND = RunIndex(0, 0), RunIndex(0, 1)


@pytest.fixture
def second_runner(tmp_path: Path) -> Iterator[Runner]:
    """The runner of another Blender of the same user."""
    made = Runner()
    made.open(tmp_path)
    yield made
    cancel_all(made)
    made.close(20)


@pytest.mark.parametrize("how", ["reopened", "cleared"])
def test_a_cancel_that_was_interrupted_is_completed(
    how: str, runner: Runner, second_runner: Runner, double: Double, tmp_path: Path
) -> None:
    double.set(run_seconds=30)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    drain_until(runner, lambda: runner.jobs[0].runs[0].prediction_id is not None)
    job = replace(runner.jobs[0], stage=Stage.CANCELLED, progress=None)
    runner.close(5)
    # What a Blender leaves that is killed right after the click on Cancel Job.
    second_runner.open(tmp_path).journal.save(job)
    second_runner.show([job], context_for(double, tmp_path))
    if how == "reopened":
        second_runner.clean_up(second_runner.claimed(job), context_for(double, tmp_path))
    else:
        second_runner.forget(job.id)
    drain_until(second_runner, lambda: not second_runner.has_worker(job.id))
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled"]


def test_the_failure_of_another_run_is_not_taken_for_a_lost_response(
    service: Service, transport: InstantTransport, double: Double, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = service.state_of(Settings("rain", "music", 1), Published("clip", video, complete=True))
    change_run = state.change_run

    def change_run_while_another_fails(index: RunIndex, **changes: Any) -> None:
        change_run(index, **changes)
        if changes.get("requested_at"):
            with state.keeping_failures([]):
                raise ServiceUnavailable("Eachlabs reported a server error (HTTP 503).")

    monkeypatch.setattr(state, "change_run", change_run_while_another_fails)
    slot: Any = FreeSlot()
    service.run_of(state).create(slot)
    assert [run["id"] for run in double.state()["runs"]] == [state.run(FIRST).prediction_id]
    assert sum(transport.waited) == 0
    with pytest.raises(ServiceUnavailable):
        state.check_may_create()


def test_a_run_of_an_earlier_attempt_is_found_although_it_is_listed_late(
    service: Service, transport: InstantTransport, double: Double, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The attempts lie further apart than the clocks of a service may differ.
    monkeypatch.setattr(executions, "CLOCK_TOLERANCE_SECONDS", 0.0)
    monkeypatch.setattr(transport, "wait", lambda _seconds: time.sleep(0.3))
    double.inject("create", "drop", carried_out=True)
    double.respond("executions", {"executions": []}, times=6)
    double.inject("create", "drop", after=1)
    run = service.start_run(fields(video))
    assert [started["id"] for started in double.state()["runs"]] == [run]


def test_a_job_that_another_blender_had_is_taken_over_as_it_is_by_now(
    runner: Runner, second_runner: Runner, double: Double, tmp_path: Path
) -> None:
    journal, context = runner.open(tmp_path).journal, context_for(double, tmp_path)
    upload = Published("12345678-1234-4234-8234-123456789abc", "https://cdn.example/clip.mp4", complete=True)
    failed = replace(new_job(tmp_path), stage=Stage.FAILED, clips=(upload,), error=JobError("balance", "Too low.", ""))
    failed = failed.with_run(FIRST, stage=Stage.FAILED, prediction_id="run-1", requested_at=1.0, confirmed_ended=True)
    left_by = Runner()
    left_by.open(tmp_path).journal.save(failed)
    left_by.close(5)
    runner.show([failed], context)
    newer = second_runner.claimed(failed).with_run(FIRST, prediction_id="run-2", superseded_ids=("run-1",))
    second_runner.open(tmp_path).journal.save(newer)
    second_runner.close(5)
    (on_disk,) = journal.ended("")
    runner.clean_up(runner.claimed(on_disk), context)
    drain_until(runner, lambda: not runner.has_worker(failed.id))
    (entry,) = journal.all()
    assert entry.job is not None
    assert (entry.job.run(FIRST).prediction_id, entry.job.uploads) == ("run-2", ())
    assert runner.jobs[0].run(FIRST).prediction_id == "run-2"


def test_a_job_that_is_cancelled_and_retried_before_its_worker_begins_is_done(
    runner: Runner, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, begin = threading.Event(), JobState.begin
    begun: list[JobState] = []

    def begin_late(state: JobState, stop: threading.Event) -> None:
        begun.append(state)
        if len(begun) == 1:
            assert held.wait(5)
        begin(state, stop)

    monkeypatch.setattr(JobState, "begin", begin_late)
    job = new_job(tmp_path)
    runner.add([job], context_for(double, tmp_path))
    runner.cancel(job.id)
    runner.retry(job.id, job.request, context_for(double, tmp_path))
    held.set()
    drain_until(runner, lambda: runner.jobs[0].stage is Stage.PLACING)
    assert (len(begun), len(double.state()["runs"])) == (2, 1)


def test_an_error_of_the_job_stays_with_it_while_its_sounds_are_unsaved(tmp_path: Path) -> None:
    saved: list[Job] = []
    job = new_job(tmp_path, takes=2)
    sound = PlacedSound("Shot 1 (MMAudio)", 1, 1, 25, tmp_path / "1.wav")
    state = JobState(job.with_take(0, file=sound.file, sound=sound), lambda job: None, saved.append)
    state.placed_unsaved = True
    state.begin(threading.Event())
    state.change_run(SECOND, stage=Stage.DONE, result=tmp_path / "result-000-2.mp4", prediction_id="paid")
    state.end(Stage.FAILED, JobError("files", "The sound can't be written: the disk is full.", "Free some space."))
    assert (saved[-1].stage, saved[-1].takes[0].sound, saved[-1].to_place) == (Stage.PLACING, None, [0])
    assert saved[-1].error is not None


def test_a_cancel_does_not_wait_for_the_disk(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=30)
    runner.add([new_job(tmp_path, f"Shot {number}") for number in range(3)], context_for(double, tmp_path))
    drain_until(runner, lambda: all(job.runs[0].prediction_id for job in runner.jobs))
    released = threading.Event()
    with runner.open(tmp_path).journal.database.writing():
        # Every save waits from here on.
        cancelling = threading.Thread(target=lambda: (cancel_all(runner), released.set()))
        cancelling.start()
        assert released.wait(2)
        assert {job.stage for job in runner.jobs} == {Stage.CANCELLED}
    cancelling.join()
