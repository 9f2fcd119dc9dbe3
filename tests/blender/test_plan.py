# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the plan before a click: strips, runs and price, what is left out, and that nothing is ordered twice."""

import json
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent


def plan_of(addon: Any, *chosen: Any, skip_done: bool = True, **options: Any) -> Any:
    made = addon.request.Options(**options)
    return addon.plan.make(bpy.context.scene, chosen, made, skip_done=skip_done)


@pytest.fixture
def clips(project: Path) -> list[Any]:
    found = [edits.movie(project, frames=30, channel=3, start=10 + 40 * number) for number in range(3)]
    for number, clip in enumerate(found):
        clip.name = f"shot {number}"
    return found


def test_a_plan_counts_strips_runs_and_their_price_and_changes_nothing(
    clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    long = edits.effect("COLOR", channel=5, start=200, frames=24 * 20, name="long")

    planned = plan_of(addon, *clips, long, takes=2)

    assert (planned.strips, planned.windows, planned.runs) == (4, 6, 12)
    assert planned.seconds == pytest.approx(3 * 30 / 24 + 20)
    assert planned.cost_usd == pytest.approx(12 * addon.costs.run_usd())
    assert planned.text.startswith("4 strips · 12 runs · about $0.0")
    assert not any("mmaudio_clip" in clip for clip in clips) and "mmaudio_scene" not in bpy.context.scene
    assert plan_of(addon, *clips, as_one=True).runs == 1


def test_a_strip_at_work_is_never_ordered_again(clips: list[Any], addon: Any, standin: StandIn, project: Path) -> None:
    standin.set(run_seconds=1.0)
    (job,) = edits.start(addon, clips[0])

    planned = plan_of(addon, *clips, skip_done=False)
    assert (planned.strips, planned.skipped_text) == (2, "“shot 0” is at work")
    with pytest.raises(addon.failure.Failure, match="“shot 0” is at work"):
        edits.start(addon, clips[0])
    runs = len(standin.state()["runs"])
    others = edits.start(addon, *clips)
    assert [other.request.strip for other in others] == ["shot 1", "shot 2"]

    edits.finish(addon, [job.id, *(other.id for other in others)])
    assert len(standin.state()["runs"]) <= runs + 3
    assert len([strip for strip in edits.edit().strips if strip.get("mmaudio")]) == 3


def test_strips_with_their_sound_are_left_out_if_asked_for(
    clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    edits.generate(addon, clips[1])

    planned = plan_of(addon, *clips)
    assert (planned.strips, planned.skipped_text) == (2, "“shot 1” has its sound")
    assert plan_of(addon, *clips, skip_done=False).strips == 3


def test_the_price_is_that_of_the_runs_seen(clips: list[Any], addon: Any, standin: StandIn, project: Path) -> None:
    (job,) = edits.generate(addon, clips[0])

    known = [run.cost for job in addon.session.current.runner.jobs for run in job.runs if run.cost is not None]
    assert job.cost in known
    assert addon.costs.run_usd() == pytest.approx(sum(known) / len(known))


def test_a_dry_run_prints_the_plan_and_sends_nothing(
    clips: list[Any], addon: Any, standin: StandIn, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edits.generate(addon, clips[1])
    requests = len(standin.requests())
    monkeypatch.delenv("EACHLABS_API_KEY", raising=False)

    assert addon.command.run(["generate", "--all-strips", "--skip-done", "--dry-run", "--json"]) == 0

    printed = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["plan"]
    assert (printed["strips"], printed["windows"], printed["runs"]) == (2, 2, 2)
    assert printed["skipped"] == [{"strip": "shot 1", "reason": "has its sound"}]
    assert printed["seconds"] == pytest.approx(2 * 30 / 24, abs=0.001) and printed["cost_usd"] > 0
    assert len(standin.requests()) == requests


def test_a_plan_above_the_limit_sends_nothing(
    clips: list[Any], addon: Any, standin: StandIn, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    requests = len(standin.requests())

    assert addon.command.run(["generate", "--all-strips", "--max-cost", "0.001", "--save"]) == 4

    assert "more than --max-cost 0.001" in capfd.readouterr().err
    assert len(standin.requests()) == requests


def test_nothing_left_to_do_is_success(clips: list[Any], addon: Any, standin: StandIn, project: Path) -> None:
    edits.generate(addon, *clips)
    runs = len(standin.state()["runs"])

    assert addon.command.run(["generate", "--all-strips", "--skip-done", "--save", "--json"]) == 0
    assert len(standin.state()["runs"]) == runs


def test_one_sound_over_several_strips_is_not_ordered_again_unless_asked_for(
    clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    edits.generate(addon, *clips, options={"as_one": True})

    assert plan_of(addon, *clips, as_one=True).skipped_text.count("has its sound") == 3
    assert plan_of(addon, *clips, skip_done=False, as_one=True).runs == 1
    assert plan_of(addon, *clips[:2], as_one=True).runs == 1


def test_an_undo_takes_no_clip_away_from_its_job(clips: list[Any], addon: Any, standin: StandIn, project: Path) -> None:
    standin.set(run_seconds=1.0)
    (job,) = edits.start(addon, clips[0])
    del clips[0]["mmaudio_clip"]

    addon.resuming.mark_again()

    assert clips[0]["mmaudio_clip"] == job.request.mark
    edits.set_end(clips[0], 30)
    assert plan_of(addon, clips[0], skip_done=False).skipped_text == "“shot 0” is at work"
    edits.finish(addon, [job.id])


def test_failed_jobs_are_retried_with_one_copy_of_the_edit(
    clips: list[Any], addon: Any, standin: StandIn, project: Path
) -> None:
    standin.inject("run", "fail", reason="CUDA out of memory", times=3)
    failed = edits.generate(addon, *clips)
    assert [job.stage for job in failed] == ["failed"] * 3
    runs = len(standin.state()["runs"])

    assert addon.retrying.retry_failed(addon.page.config(bpy.context), "run_failed") == []

    jobs = addon.session.current.runner.jobs
    assert len({job.request.snapshot.blend for job in jobs}) == 1 and len(jobs) == 3
    assert [job.stage for job in edits.finish(addon, [job.id for job in jobs])] == ["done"] * 3
    assert len(standin.state()["runs"]) == runs + 3


@pytest.mark.parametrize("scope", ["SELECTED", "WHOLE_EDIT", "CHANNEL"])
def test_the_plan_of_an_edit_of_many_strips_counts_each(addon: Any, project: Path, standin: StandIn, scope: str) -> None:
    for number in range(60):
        edits.effect("COLOR", channel=2, start=1 + 30 * number, name=f"color {number}")
    first = edits.movie(project, frames=30, channel=3, start=10)
    for strip in edits.edit().strips:
        strip.select = True
    edits.edit().active_strip = first
    settings = addon.settings.of(bpy.context.scene)
    settings.scope = scope
    with edits.sequencer():
        planned = addon.order.current(bpy.context).plan()
    settings.scope = "SELECTED"
    assert planned.strips == (61 if scope == "SELECTED" else 1)
