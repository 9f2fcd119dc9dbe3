# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the job list and of the operators on jobs: what is shown, what a retry says and does, what is cleared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent


@pytest.fixture
def shots(project: Path) -> list[Any]:
    found = [edits.movie(project, frames=30, channel=3, start=10 + 40 * number) for number in range(4)]
    for number, shot in enumerate(found):
        shot.name = f"SC01_SH{number}0_comp"
    bpy.ops.wm.save_mainfile()
    return found


def rows(addon: Any) -> list[Any]:
    addon.job_list.update()
    manager: Any = bpy.context.window_manager
    return list(manager.mmaudio_jobs)


def operator(name: str, *arguments: Any, **options: Any) -> set[str]:
    with edits.sequencer():
        operators: Any = bpy.ops.mmaudio  # pyright: ignore[reportAttributeAccessIssue]
        return getattr(operators, name)(*arguments, **options)


def stages(addon: Any) -> list[str]:
    return [str(job.stage) for job in addon.session.current.runner.jobs]


def test_failures_come_first_and_selecting_a_strip_selects_its_job(
    addon: Any, shots: list[Any], standin: StandIn, project: Path
) -> None:
    standin.inject("run", "fail", reason="CUDA out of memory")
    edits.generate(addon, shots[2])
    edits.generate(addon, shots[0], shots[1])

    shown = rows(addon)
    assert [row.label for row in shown] == ["SC01_SH20_comp", "SC01_SH00_comp", "SC01_SH10_comp"]
    assert [row.icon for row in shown] == ["ERROR", "CHECKMARK", "CHECKMARK"]
    assert shown[1].text.startswith("$")
    with edits.sequencer():
        edits.edit().active_strip = shots[1]
        assert addon.job_list.selected(bpy.context).request.strip == "SC01_SH10_comp"
        addon.job_list.select(shown[0].name)
        assert addon.job_list.selected(bpy.context).request.strip == "SC01_SH20_comp"
        edits.edit().active_strip = shots[0]
        assert addon.job_list.selected(bpy.context).request.strip == "SC01_SH00_comp"
    assert addon.failures.summary() == "Run failed at Eachlabs (1)"
    assert addon.progress.result(addon.session.current.runner.jobs) == "2 sounds placed, 1 failed"
    assert addon.job_panel.totals(addon.session.current.runner.jobs).startswith("3 of 3 · 1 failed · $0.0")


def test_operators_on_jobs_run_from_python(addon: Any, shots: list[Any], standin: StandIn, project: Path) -> None:
    standin.inject("run", "fail", reason="CUDA out of memory")
    (failed,) = edits.generate(addon, shots[0])
    (done,) = edits.generate(addon, shots[1])
    rows(addon)

    assert operator("select_job_strip", job=done.id) == {"FINISHED"}
    assert [strip.name for strip in edits.edit().strips if strip.select] == ["SC01_SH10_comp"]
    assert operator("copy_error", job=failed.id) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="nothing to do"):
        operator("copy_error", job=done.id)
    with pytest.raises(RuntimeError, match="nothing to do"):
        operator("show_file", job=failed.id)
    spent = addon.costs.session_usd()
    assert spent == pytest.approx(sum(job.cost or 0 for job in addon.session.current.runner.jobs))
    assert addon.costs.file_usd() == pytest.approx(done.cost)
    assert operator("remove_job", job=done.id) == {"FINISHED"}
    assert addon.costs.session_usd() == pytest.approx(spent)
    assert operator("retry_failed") == {"FINISHED"}
    edits.finish(addon, [job.id for job in addon.session.current.runner.jobs])
    assert stages(addon) == ["done"]


def test_clearing_keeps_failed_jobs_that_have_been_paid_for(
    addon: Any, shots: list[Any], standin: StandIn, project: Path
) -> None:
    standin.inject("output", "status", status=500, body="no", times=1000)
    (paid,) = edits.generate(addon, shots[0])
    standin.clear_faults()
    Path(bpy.path.abspath(shots[1].filepath)).unlink()
    (unpaid, done) = edits.generate(addon, shots[1], shots[2])
    assert (paid.stage, unpaid.stage, done.stage) == ("failed", "failed", "done") and paid.paid

    assert operator("clear_jobs") == {"FINISHED"}
    assert [job.id for job in addon.session.current.runner.jobs] == [paid.id]
    assert operator("clear_jobs", paid=True) == {"FINISHED"}
    assert addon.session.current.runner.jobs == []


def test_a_retry_says_what_it_does_and_orders_nothing_that_exists(
    addon: Any, shots: list[Any], standin: StandIn, project: Path
) -> None:
    # Nothing was ordered: it is generated again.
    Path(bpy.path.abspath(shots[0].filepath)).rename(project / "away.mp4")
    (unpaid,) = edits.generate(addon, shots[0])
    step = addon.retrying.next_step(unpaid)
    assert (step.text, step.usd) == ("Generates the sound again", pytest.approx(addon.costs.run_usd()))
    (project / "away.mp4").rename(Path(bpy.path.abspath(shots[0].filepath)))
    # The run exists, and only its result is missing.
    standin.inject("output", "status", status=500, body="no", times=1000)
    (paid,) = edits.generate(addon, shots[1])
    standin.clear_faults()
    step = addon.retrying.next_step(paid)
    assert step.sentence == "Fetches the result that is paid for: no cost"
    runs = len(standin.state()["runs"])

    assert operator("retry_job", job=paid.id) == {"FINISHED"}
    edits.finish(addon, [paid.id])
    assert (addon.session.current.runner.job(paid.id).stage, len(standin.state()["runs"])) == ("done", runs)
    # Cancelled, and by now at work again: nothing is ordered twice.
    standin.set(run_seconds=1.0)
    (at_work,) = edits.start(addon, shots[0])
    with pytest.raises(addon.failure.Failure, match="is at work"):
        addon.retrying.next_step(unpaid)
    with pytest.raises(RuntimeError, match="is at work"):
        operator("retry_job", job=unpaid.id)
    edits.finish(addon, [at_work.id])
    # Its strip is gone.
    edits.edit().strips.remove(shots[0])
    with pytest.raises(addon.failure.Failure, match="is not in the open file"):
        addon.retrying.next_step(unpaid)


def test_a_retry_keeps_the_prompt_of_its_time(addon: Any, shots: list[Any], standin: StandIn, project: Path) -> None:
    shots[0]["mmaudio_prompt"] = "footsteps"
    standin.inject("run", "fail", reason="CUDA out of memory")
    (failed,) = edits.generate(addon, shots[0], prompt="rain")
    assert failed.request.settings.prompt == "footsteps, rain"

    again = addon.retrying.retry(failed, addon.page.config(bpy.context))

    assert again.request.settings.prompt == "footsteps, rain"
    edits.finish(addon, [again.id])


def test_the_list_follows_jobs_that_come_and_go(addon: Any, shots: list[Any], standin: StandIn, project: Path) -> None:
    edits.generate(addon, *shots)
    assert len(rows(addon)) == 4
    first = addon.session.current.runner.jobs[0]
    addon.session.current.forget(first)
    assert [row.label for row in rows(addon)] == ["SC01_SH10_comp", "SC01_SH20_comp", "SC01_SH30_comp"]
    job_context = addon.session.current.job_context(addon.page.config(bpy.context))
    addon.session.current.runner.show([replace(first, id=f"{number}") for number in range(500)], job_context)
    assert len(rows(addon)) == 503


def test_a_filter_shows_the_jobs_in_a_state_and_with_a_name(
    addon: Any, shots: list[Any], standin: StandIn, project: Path
) -> None:
    standin.inject("run", "fail", reason="CUDA out of memory")
    edits.generate(addon, shots[0])
    edits.generate(addon, shots[1], shots[2])
    rows(addon)
    manager: Any = bpy.context.window_manager
    filtered = addon.job_list.MMAUDIO_UL_jobs.filter_items

    class List:
        bitflag_filter_item = 1
        filter_name = ""
        state = "ALL"

    view: Any = List()
    assert filtered(view, bpy.context, manager, "mmaudio_jobs")[0] == [1, 1, 1]
    view.state = "FAILED"
    assert filtered(view, bpy.context, manager, "mmaudio_jobs")[0] == [1, 0, 0]
    view.state, view.filter_name = "DONE", "sh20"
    assert [bool(flag) for flag in filtered(view, bpy.context, manager, "mmaudio_jobs")[0]] == [False, False, True]
