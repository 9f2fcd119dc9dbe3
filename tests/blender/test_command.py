# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of `--command mmaudio`, called as Blender calls it: exit statuses, JSON output and saved files."""

import json
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits


@pytest.mark.every_version
def test_generate_saves_the_edit_and_prints_one_line_of_json(
    addon: Any, standin: StandIn, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edits.movie(project, frames=30)
    target = project / "with sound.blend"

    status = addon.command.run(["generate", "--strip", "clip", "--seed", "11", "--output", str(target), "--json"])

    captured = capfd.readouterr()
    assert status == 0
    (job,) = json.loads(captured.out.strip().splitlines()[-1])["jobs"]
    assert (job["strip"], job["state"], job["seed"], job["error"]) == ("clip", "done", 11, None)
    assert len(job["prediction_ids"]) == 1 and job["cost_usd"] > 0
    (sound,) = job["sounds"]
    assert (sound["frame_start"], sound["frame_end"]) == (10, 40)
    assert Path(sound["file"]).is_file() and Path(sound["file"]).parent == project / "mmaudio"
    # Whether it is still queued when the first line is printed is up to the worker.
    stages = [f"“clip”: {stage}" for stage in ("exporting", "uploading", "predicting", "downloading", "placing")]
    assert [line for line in captured.err.splitlines() if line in stages] == stages
    bpy.ops.wm.open_mainfile(filepath=str(target))
    made = edits.edit().strips[sound["strip"]]
    assert made["mmaudio"]["takes"][0]["seed"] == 11
    assert made.sound.filepath.startswith("//mmaudio")


def test_a_failed_job_gives_status_1_and_the_others_are_saved(
    addon: Any, standin: StandIn, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edits.movie(project, frames=30, channel=2).name = "one"
    edits.movie(project, frames=30, channel=5, start=60).name = "two"
    standin.inject("run", "fail", reason="out of memory")

    status = addon.command.run(["generate", "--all-strips", "--save", "--json"])

    jobs = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["jobs"]
    assert status == 1
    assert sorted(job["state"] for job in jobs) == ["done", "failed"]
    (error,) = (job["error"] for job in jobs if job["error"])
    assert error["code"] == "run_failed" and "out of memory" in error["message"] and error["hint"]
    bpy.ops.wm.revert_mainfile()
    assert len([strip for strip in edits.edit().strips if strip.get("mmaudio")]) == 1


@pytest.mark.version_dependent
def test_strips_that_all_strips_skips_are_reported(
    addon: Any, standin: StandIn, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edits.movie(project, frames=30).name = "shot"
    edits.effect("TEXT", channel=7, start=10, name="title")
    edits.effect("COLOR", channel=1, start=10, name="black")

    assert addon.command.run(["generate", "--all-strips", "--save", "--json"]) == 0

    output = capfd.readouterr()
    assert [job["strip"] for job in json.loads(output.out.strip().splitlines()[-1])["jobs"]] == ["shot"]
    assert "“title” is skipped: it is a title" in output.err and "“black” is skipped: it is a plain color" in output.err


@pytest.mark.version_dependent
def test_the_command_line_has_the_options_of_the_panel(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    own = edits.edit().strips.new_sound(name="own", filepath=strip.filepath, channel=6, frame_start=10)

    options = ["--above", "--mute-own-sound", "--handles", "0.2", "--sound-channel", "9", "--lufs", "-30"]
    assert addon.command.run(["generate", "--strip", "clip", *options, "--save"]) == 0

    (sound,) = (part for part in edits.edit().strips if part.get("mmaudio"))
    assert (sound.channel, own.mute) == (9, True)
    (take,) = addon.takes.of(sound)
    assert take["length"] <= 30 + 4 and take["gain_db"] != 0


@pytest.mark.version_dependent
def test_several_strips_can_get_one_sound(
    addon: Any, standin: StandIn, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edits.movie(project, frames=30).name = "one"
    edits.movie(project, frames=30, start=50).name = "two"

    chosen = ["--strip", "two", "--strip", "one", "--as-one", "--takes", "2"]
    assert addon.command.run(["generate", *chosen, "--save", "--json"]) == 0

    first, second = json.loads(capfd.readouterr().out.strip().splitlines()[-1])["jobs"]
    assert first["strip"] == second["strip"] == "one"
    (sound,), (same,) = first["sounds"], second["sounds"]
    assert (sound["frame_start"], sound["frame_end"]) == (10, 80)
    assert sound["strip"] == same["strip"] and sound["file"] != same["file"]


def test_3d_scenes_are_rendered_as_they_are_if_asked_for(
    addon: Any, standin: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_they_are: list[bool] = []
    start = addon.generation.start

    def note(*arguments: Any, **options: Any) -> Any:
        jobs = start(*arguments, **options)
        as_they_are.extend(job.request.options.scenes_as_they_are for job in jobs)
        return jobs

    # Only the option is checked: without a GPU, rendering such a scene takes minutes.
    monkeypatch.setattr(addon.generation, "start", note)
    edits.movie(project, frames=30)
    for option in ([], ["--scenes-as-they-are"]):
        assert addon.command.run(["generate", "--strip", "clip", *option, "--save"]) == 0
    assert as_they_are == [False, True]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["generate", "--strip", "clip"],
        ["generate", "--strip", "no such strip", "--save"],
        ["generate", "--strip", "clip", "--all-strips", "--save"],
        ["generate", "--strip", "clip", "--scene", "no such scene", "--save"],
        ["generate", "--strip", "clip", "--steps", "0", "--save"],
        ["generate", "--strip", "clip", "--takes", "9", "--save"],
        ["generate", "--strip", "clip", "--takes", "many", "--save"],
        ["generate", "--strip", "clip", "--long-clips", "halves", "--save"],
        ["generate", "--strip", "clip", "--source", "picture", "--save"],
        ["resume"],
        ["jobs", "--save"],
    ],
    ids=" ".join,
)
def test_wrong_usage_and_unknown_names_give_status_2(
    arguments: list[str], addon: Any, standin: StandIn, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edits.movie(project, frames=30)
    requests_before = len(standin.requests())

    assert addon.command.run(arguments) == 2

    assert capfd.readouterr().err.strip()
    assert len(standin.requests()) == requests_before


def test_no_key_gives_status_3(addon: Any, standin: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edits.movie(project, frames=30)
    monkeypatch.delenv("EACHLABS_API_KEY")

    assert addon.command.run(["generate", "--strip", "clip", "--save"]) == 3


def test_no_online_access_gives_status_3_and_sends_nothing(addon: Any, standin: StandIn, project: Path) -> None:
    edits.movie(project, frames=30)
    requests_before = len(standin.requests())
    bpy.context.preferences.system.use_online_access = False
    try:
        assert addon.command.run(["generate", "--strip", "clip", "--save"]) == 3
    finally:
        bpy.context.preferences.system.use_online_access = True
    assert len(standin.requests()) == requests_before


def test_a_wrong_key_fails_the_job_with_a_hint_where_to_set_it(
    addon: Any, standin: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    edits.movie(project, frames=30)
    monkeypatch.setenv("EACHLABS_API_KEY", "not-the-key")

    status = addon.command.run(["generate", "--strip", "clip", "--save", "--json"])

    output = capfd.readouterr()
    (job,) = json.loads(output.out.strip().splitlines()[-1])["jobs"]
    assert status == 1
    assert job["error"]["code"] == "bad_key" and "Preferences" in job["error"]["hint"]
    assert "not-the-key" not in output.out + output.err


@pytest.mark.version_dependent
def test_an_edit_that_cannot_be_saved_loses_nothing(
    addon: Any, standin: StandIn, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edits.movie(project, frames=30)
    bpy.ops.wm.save_mainfile()
    file, aside = project / "project.blend", project / "aside.blend"
    runs = len(standin.state()["runs"])
    file.rename(aside)
    file.mkdir()

    status = addon.command.run(["generate", "--strip", "clip", "--save", "--json"])

    output = capfd.readouterr()
    (job,) = json.loads(output.out.strip().splitlines()[-1])["jobs"]
    assert (status, job["state"]) == (1, "done")
    assert "could not be saved" in output.err and "resume" in output.err
    file.rmdir()
    aside.rename(file)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert addon.command.run(["resume", "--save"]) == 0
    assert len([strip for strip in edits.edit().strips if strip.get("mmaudio")]) == 1
    assert len(standin.state()["runs"]) == runs + 1
