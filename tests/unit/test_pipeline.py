# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a job's pipeline and its end: success, failure or cancel, and nothing that is left behind.

render_double.py replaces the background Blender here; tests/blender uses the real one.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Cancelled, DiskFailure
from addon.jobs.model.job import Job
from addon.jobs.model.run import Run, Stage
from addon.jobs.store import job_json
from addon.jobs.store.journal import Journal
from addon.jobs.work.pipeline import Pipeline, Stop
from addon.jobs.work.runner import WORKERS_MAX, Runner
from addon.jobs.work.state import JobState
from addon.media.export import Exporter
from addon.service.net.clock import Clock
from tests.processes import is_alive

from .helpers import (
    RENDER_DOUBLE,
    Double,
    cancel_all,
    check_of,
    context_for,
    drain_until,
    new_job,
    render_order,
    run_job,
    services_in,
    wait_until,
)

WAY = [Stage.QUEUED, Stage.EXPORTING, Stage.UPLOADING, Stage.PREDICTING, Stage.DOWNLOADING, Stage.PLACING]


def only(job: Job) -> Run:
    """Return the job's only run."""
    (run,) = job.runs
    return run


def stages(states: list[Job]) -> list[Stage]:
    """Return the stages in order, each once."""
    return list(dict.fromkeys(state.stage for state in states))


def no_clip_left(double: Double, folder: Path) -> bool:
    """Return whether all clips are deleted from disk and from the service."""
    leftovers = [path for path in (folder / "work").iterdir() if path.is_dir()]
    return leftovers == [] and all(upload["deleted"] for upload in double.state()["uploads"])


@pytest.mark.oldest
@pytest.mark.usefixtures("without_aud")
def test_a_job_runs_through_all_stages(double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # render_double.py fails if it gets the key.
    monkeypatch.setenv("EACHLABS_API_KEY", double.key)
    states = run_job(new_job(tmp_path), context_for(double, tmp_path))
    end = states[-1]
    assert end.error is None
    assert stages(states) == WAY
    (take,) = end.takes
    assert take.file is not None
    assert take.file.read_bytes()[4:8] == b"ftyp"
    (run,), (upload,) = double.state()["runs"], double.state()["uploads"]
    assert run["input"] == {
        "video": upload["url"],
        "prompt": "rain on leaves",
        "negative_prompt": "music",
        "duration": 1.28,
        "num_steps": 25,
        "cfg_strength": 4.5,
        "seed": 7,
    }
    assert (only(end).prediction_id, bool(end.cost)) == (run["id"], True)
    assert no_clip_left(double, tmp_path)
    assert double.state()["cancelled"] == []


@pytest.mark.usefixtures("without_aud")
def test_every_stage_reports_progress(double: Double, tmp_path: Path) -> None:
    states = run_job(new_job(tmp_path), context_for(double, tmp_path))
    for stage, unit in zip(WAY[1:-1], ("frames", "bytes", "seconds", "bytes"), strict=True):
        told = [state.progress for state in states if state.stage is stage and state.progress]
        assert {progress.unit for progress in told} == {unit}
        assert [progress for progress in told if not 0 <= progress.fraction <= 1] == []


@pytest.mark.parametrize(
    ("order", "code", "said"),
    [
        ({"do": "fail", "reason": "CUDA out of memory"}, "run_failed", "CUDA out of memory"),
        ({"do": "respond", "body": {"status": "failed", "output": [{"error": "too dark"}]}}, "run_failed", "too dark"),
        ({"do": "respond", "body": {"status": "canceled"}}, "run_cancelled", "cancelled at Eachlabs"),
    ],
)
def test_a_run_that_fails_names_the_strip_and_the_reason(
    order: dict[str, Any], code: str, said: str, double: Double, tmp_path: Path
) -> None:
    double.inject("run", **order)
    end = run_job(new_job(tmp_path), context_for(double, tmp_path))[-1]
    assert end.stage is Stage.FAILED
    assert end.error is not None
    assert end.error.code == code
    assert "“Shot 1”" in end.error.message
    assert said in end.error.message
    assert end.error.hint
    # A retry must not poll a run that failed.
    assert only(end).prediction_id is None
    assert no_clip_left(double, tmp_path)


def test_an_unknown_status_is_polled_until_the_deadline(double: Double, tmp_path: Path) -> None:
    double.inject("run", "respond", body={"status": "pondering"})
    end = run_job(new_job(tmp_path), context_for(double, tmp_path, clock=Clock(4000)))[-1]
    assert end.error is not None
    assert end.error.code == "run_timeout"
    assert "pondering" in end.error.message
    assert len(double.requests("GET", "/v1/prediction/")) > 2
    # The run may still succeed, so its video stays, and a retry polls it.
    assert only(end).prediction_id == double.state()["runs"][0]["id"]
    assert [upload["live"] for upload in double.state()["uploads"]] == [True]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("refuse", "The background render failed: no picture at frame 12"),
        ("crash", "(exit status 11): Error: out of memory"),
        ("nothing", "(exit status 0)"),
    ],
)
def test_a_failed_render_names_the_strip_and_blenders_error(how: str, said: str, double: Double, tmp_path: Path) -> None:
    end = run_job(new_job(tmp_path), context_for(double, tmp_path, how))[-1]
    assert end.stage is Stage.FAILED
    assert end.error is not None
    assert end.error.code == "render_failed"
    assert end.error.message.startswith("“Shot 1”: ")
    assert said in end.error.message
    assert "Blender quit" not in end.error.message
    assert end.error.hint
    assert double.requests() == []
    assert no_clip_left(double, tmp_path)


def rendering(job: Job) -> bool:
    return job.stage is Stage.EXPORTING and job.progress is not None and job.progress.done > 0


def test_a_render_shares_no_file_with_one_that_a_killed_blender_left(tmp_path: Path) -> None:
    """That one still writes for a moment, and may not have read its request yet."""

    exporter = Exporter()
    clip = tmp_path / "job" / "clip-000.mp4"

    def render(how: str, cancel: threading.Event) -> list[int | None]:
        order = render_order(clip, export=how)
        command = (sys.executable, str(RENDER_DOUBLE), how)
        return [exported.finished for exported in exporter.export([order], command, 2, check_of(cancel))]

    clip.parent.mkdir()
    end = threading.Event()
    with ThreadPoolExecutor() as threads:
        left = threads.submit(render, "hang", end)
        wait_until((tmp_path / "log.txt").is_file)
        assert render("render", threading.Event())[-1] == 0
        end.set()
    exporter.close()
    assert isinstance(left.exception(), Cancelled)
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]


def first_byte_gone(job: Job) -> bool:
    return job.stage is Stage.UPLOADING and job.progress is not None and job.progress.done > 0


def last_byte_gone(job: Job) -> bool:
    return first_byte_gone(job) and job.progress is not None and job.progress.done == job.progress.total


@pytest.mark.parametrize(
    ("how", "cancel_when", "stage"),
    [
        ("hang", rendering, Stage.EXPORTING),
        ("render", lambda job: job.stage is Stage.UPLOADING, Stage.UPLOADING),
        ("render", first_byte_gone, Stage.UPLOADING),
        ("render", last_byte_gone, Stage.UPLOADING),
        ("render", lambda job: job.stage is Stage.PREDICTING, Stage.PREDICTING),
        ("render", lambda job: only(job).prediction_id is not None, Stage.PREDICTING),
    ],
    ids=["rendering", "before upload", "first byte", "last byte", "before run", "running"],
)
def test_a_cancelled_job_leaves_nothing_behind(
    how: str, cancel_when: Callable[[Job], bool], stage: Stage, double: Double, tmp_path: Path
) -> None:
    states = run_job(new_job(tmp_path), context_for(double, tmp_path, how), cancel_when=cancel_when)
    assert stages(states) == [*WAY[: WAY.index(stage) + 1], Stage.CANCELLED]
    assert states[-1].error is None
    state = double.state()
    assert [run["id"] for run in state["runs"]] == state["cancelled"]
    assert [upload["id"] for upload in state["uploads"] if upload["live"]] == []
    assert [path for path in (tmp_path / "work").iterdir() if path.is_dir()] == []
    if how == "hang":
        process = int((tmp_path / "work" / "log.txt").read_text())
        wait_until(lambda: not is_alive(process))


@pytest.mark.usefixtures("without_aud")
def test_a_run_that_had_succeeded_when_its_job_was_cancelled_is_fetched_by_a_retry(double: Double, tmp_path: Path) -> None:
    states = run_job(
        new_job(tmp_path), context_for(double, tmp_path), cancel_when=lambda job: job.stage is Stage.DOWNLOADING
    )
    assert states[-1].stage is Stage.CANCELLED
    assert double.state()["cancelled"] == []
    assert [upload["deleted"] for upload in double.state()["uploads"]] == [True]
    again = run_job(replace(states[-1], stage=Stage.QUEUED), context_for(double, tmp_path, "refuse"))
    assert again[-1].stage is Stage.PLACING
    assert len(double.state()["runs"]) == 1
    assert no_clip_left(double, tmp_path)


@pytest.mark.parametrize(
    ("fault", "runs"),
    [({"do": "stall", "seconds": 0.5}, 0), ({"do": "drop", "carried_out": True}, 1)],
    ids=["the answer is late", "the answer is lost"],
)
def test_a_run_that_is_created_while_its_job_is_cancelled_is_cancelled_too(
    fault: dict[str, Any], runs: int, double: Double, tmp_path: Path
) -> None:
    double.set(run_seconds=30)
    double.inject("create", **fault)
    stop = Stop()
    states: list[Job] = []
    services = services_in(tmp_path)
    state = JobState(new_job(tmp_path), states.append, services.journal.save)
    thread = threading.Thread(target=Pipeline(state, context_for(double, tmp_path), stop, services).run)
    thread.start()
    wait_until(lambda: len(double.requests("POST", "/v1/prediction")) == 1 and len(double.state()["runs"]) == runs)
    stop.set()
    thread.join(20)
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled"]
    assert no_clip_left(double, tmp_path)


def test_a_job_that_waits_for_a_render_can_be_cancelled(runner: Runner, double: Double, tmp_path: Path) -> None:
    job_context = context_for(double, tmp_path, "hang")
    runner.add([new_job(tmp_path, "first"), new_job(tmp_path, "second")], job_context)
    drain_until(runner, lambda: any(map(rendering, runner.jobs)))
    (waiting,) = (job.id for job in runner.jobs if job.stage is Stage.QUEUED)
    runner.cancel(waiting)
    drain_until(runner, lambda: not runner.has_worker(waiting))
    assert sorted(job.stage for job in runner.jobs) == [Stage.CANCELLED, Stage.EXPORTING]
    assert double.requests() == []


@pytest.mark.usefixtures("without_aud")
def test_a_failed_and_a_cancelled_job_leave_the_others_alone(runner: Runner, double: Double, tmp_path: Path) -> None:
    jobs = [new_job(tmp_path, strip) for strip in ("good", "bad", "unwanted", "fine")]
    runner.add(jobs, context_for(double, tmp_path))
    runner.cancel(jobs[2].id)
    drain_until(runner, lambda: all(job.stage.ended or job.stage is Stage.PLACING for job in runner.jobs))
    ends = [(job.request.strip, job.stage) for job in runner.jobs]
    assert ends == [
        ("good", Stage.PLACING),
        ("bad", Stage.FAILED),
        ("unwanted", Stage.CANCELLED),
        ("fine", Stage.PLACING),
    ]
    assert [job.request.strip for job in runner.jobs if job.error] == ["bad"]
    wait_until(lambda: no_clip_left(double, tmp_path))


def test_renders_never_overlap_while_runs_do(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=30)
    runner.add([new_job(tmp_path, f"Shot {number}") for number in range(4)], context_for(double, tmp_path))
    drain_until(runner, lambda: len(double.state()["runs"]) == 4)
    renders = [tuple(map(float, line.split())) for line in (tmp_path / "work" / "log.txt").read_text().splitlines()]
    assert [later for (_, end, _), later in pairwise(renders) if later[0] < end] == []
    assert len({process for _, _, process in renders}) == 1
    assert len(renders) == double.state()["peak_concurrent"] == 4
    assert all(upload["live"] for upload in double.state()["uploads"])


def test_a_cancelled_run_is_cancelled_at_the_service(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=30)
    runner.add([new_job(tmp_path)], context_for(double, tmp_path))
    drain_until(runner, lambda: only(runner.jobs[0]).prediction_id is not None)
    cancel_all(runner)
    assert runner.jobs[0].stage is Stage.CANCELLED
    drain_until(runner, lambda: not runner.busy)
    assert [run["status"] for run in double.state()["runs"]] == ["cancelled"]
    assert no_clip_left(double, tmp_path)


def test_closing_blender_cancels_no_other_jobs(runner: Runner, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=30)
    runner.add([new_job(tmp_path, "wanted"), new_job(tmp_path, "unwanted")], context_for(double, tmp_path))
    drain_until(runner, lambda: all(only(job).prediction_id for job in runner.jobs))
    wanted, unwanted = (only(job).prediction_id for job in runner.jobs)
    runner.cancel(runner.jobs[1].id)
    runner.close(20)
    assert double.state()["cancelled"] == [unwanted]
    journal = runner.open(tmp_path).journal
    (left,) = journal.claim("")
    assert (left.request.strip, left.stage, only(left).prediction_id) == ("wanted", Stage.PREDICTING, wanted)


def test_a_cancelled_job_stays_cancelled_despite_earlier_messages(runner: Runner, double: Double, tmp_path: Path) -> None:
    runner.add([new_job(tmp_path)], context_for(double, tmp_path, "hang"))
    wait_until((tmp_path / "work" / "log.txt").exists)
    runner.cancel(runner.jobs[0].id)
    assert {version.stage for version in runner.drain()} == {Stage.CANCELLED}
    assert runner.jobs[0].stage is Stage.CANCELLED


def test_jobs_beyond_the_services_cap_wait_and_a_waiting_one_can_be_cancelled(
    runner: Runner, double: Double, tmp_path: Path
) -> None:
    jobs = [new_job(tmp_path, f"Shot {number}") for number in range(WORKERS_MAX + 2)]
    runner.add(jobs, context_for(double, tmp_path, "hang"))
    started = {thread.name for thread in threading.enumerate()}
    assert [job.request.strip for job in jobs if f"mmaudio {job.id[:8]}" not in started] == ["Shot 20", "Shot 21"]
    runner.cancel(jobs[-1].id)
    runner.cancel(jobs[0].id)
    drain_until(runner, lambda: f"mmaudio {jobs[WORKERS_MAX].id[:8]}" in {thread.name for thread in threading.enumerate()})
    assert f"mmaudio {jobs[-1].id[:8]}" not in {thread.name for thread in threading.enumerate()}
    runner.forget(jobs[-1].id)
    assert runner.job(jobs[-1].id) is None


@pytest.mark.usefixtures("without_aud")
def test_a_note_of_the_render_is_added_to_each_take_once(double: Double, tmp_path: Path) -> None:
    end = run_job(new_job(tmp_path, takes=2), context_for(double, tmp_path, "note"))[-1]
    assert [take.note for take in end.takes] == ["2 images of “Shot 1” were missing."] * 2
    assert end.note == "2 images of “Shot 1” were missing."


@pytest.mark.usefixtures("without_aud")
def test_a_note_of_the_render_survives_a_restart_of_blender(double: Double, tmp_path: Path) -> None:
    states = run_job(new_job(tmp_path), context_for(double, tmp_path, "note"))
    rendered = next(state for state in states if state.notes)
    kept = job_json.from_bytes(job_json.to_bytes(rendered), rendered.id)
    end = run_job(replace(kept, stage=Stage.QUEUED), context_for(double, tmp_path))[-1]
    assert [take.note for take in end.takes] == ["2 images of “Shot 1” were missing."]


def test_nothing_is_created_whose_request_is_not_in_the_journal(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Journal.save

    def full(journal: Journal, job: Job) -> None:
        if any(run.requested_at is not None for run in job.runs):
            raise DiskFailure("The disk is full.")
        save(journal, job)

    monkeypatch.setattr(Journal, "save", full)
    end = run_job(new_job(tmp_path), context_for(double, tmp_path))[-1]
    assert end.error is not None
    assert (end.stage, end.error.code) == (Stage.FAILED, DiskFailure.code)
    assert double.requests("POST", "/v1/prediction") == []
