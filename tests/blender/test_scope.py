# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what a click is for: the selected strips, a channel, the preview range, the whole edit; and of own prompts."""

import json
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent


@pytest.fixture
def shots(project: Path) -> list[Any]:
    """Three shots: two on channel 3, at frames 10 to 39 and 50 to 79, and one on channel 5, at 90 to 119; and a title."""
    places = ((3, 10), (3, 50), (5, 90))
    found = [edits.movie(project, frames=30, channel=channel, start=start) for channel, start in places]
    for number, shot in enumerate(found):
        shot.name = f"shot {number}"
    edits.effect("TEXT", channel=7, start=10, frames=30, name="title")
    return found


@pytest.fixture
def settings(addon: Any, shots: list[Any]) -> Any:
    return addon.settings.of(bpy.context.scene)


def names(addon: Any, scope: str) -> list[str]:
    with edits.sequencer():
        found, _ = addon.scope.find(bpy.context, bpy.context.scene, addon.scope.Scope(scope))
    return [strip.name for strip in found]


def select(*chosen: Any) -> None:
    for strip in edits.edit().strips:
        strip.select = strip in chosen
    edits.edit().active_strip = chosen[0] if chosen else None


def test_each_scope_finds_its_shots(addon: Any, shots: list[Any]) -> None:
    scene = bpy.context.scene
    select(shots[1])
    assert names(addon, "SELECTED") == ["shot 1"]
    assert names(addon, "CHANNEL") == ["shot 0", "shot 1"]
    assert names(addon, "WHOLE_EDIT") == ["shot 0", "shot 1", "shot 2"]
    with pytest.raises(addon.failure.Failure, match="no preview range"):
        names(addon, "PREVIEW_RANGE")
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 40, 50
    assert names(addon, "PREVIEW_RANGE") == ["shot 1"]
    scene.frame_preview_end = 49
    with pytest.raises(addon.failure.Failure, match="no shot in the preview range"):
        names(addon, "PREVIEW_RANGE")
    scene.frame_preview_start, scene.frame_preview_end = 39, 90
    assert names(addon, "PREVIEW_RANGE") == ["shot 0", "shot 1", "shot 2"]
    scene.use_preview_range = False
    select()
    with pytest.raises(addon.failure.Failure, match="No strip is active"):
        names(addon, "CHANNEL")


def test_the_channel_of_a_shot_in_a_meta_strip_is_that_in_the_meta_strip(addon: Any, project: Path) -> None:
    parts = [edits.movie(project, frames=30, channel=3, start=10), edits.movie(project, frames=30, channel=3, start=40)]
    parts[0].name, parts[1].name = "first", "second"
    outside = edits.movie(project, frames=30, channel=3, start=200)
    meta = edits.make_meta(*parts)
    edits.edit().display_stack(meta)
    edits.edit().active_strip = meta.strips["second"]

    assert sorted(names(addon, "CHANNEL")) == ["first", "second"]
    assert outside.name not in names(addon, "CHANNEL")
    edits.edit().display_stack(None)


def test_a_selected_sound_stands_for_its_clip(addon: Any, shots: list[Any], standin: StandIn) -> None:
    edits.generate(addon, shots[2])
    (sound,) = [strip for strip in edits.edit().strips if strip.get("mmaudio")]
    select(sound)

    assert names(addon, "SELECTED") == names(addon, "CHANNEL") == ["shot 2"]


def test_what_no_sound_is_generated_for_is_named_in_the_plan(addon: Any, settings: Any, standin: StandIn) -> None:
    settings.scope = "WHOLE_EDIT"
    with edits.sequencer():
        planned = addon.order.current(bpy.context).plan()
    settings.scope = "SELECTED"

    assert planned.text == f"3 strips · 3 runs · about {addon.mmaudio.price_text(3 * addon.costs.run_usd())} · 1 skipped"
    assert planned.skipped_text == "“title” is a title"


def run(addon: Any, capfd: pytest.CaptureFixture[str], *arguments: str) -> Any:
    status = addon.command.run(["generate", *arguments, "--dry-run", "--json"])
    output = capfd.readouterr()
    assert status == 0, output.err
    return json.loads(output.out.strip().splitlines()[-1])["plan"]


def test_the_command_line_chooses_channels_and_the_preview_range(
    addon: Any, shots: list[Any], standin: StandIn, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(addon, capfd, "--channel", "3")["strips"] == 2
    assert run(addon, capfd, "--channel", "3", "--channel", "5")["strips"] == 3
    bpy.context.scene.use_preview_range = True
    bpy.context.scene.frame_preview_start, bpy.context.scene.frame_preview_end = 60, 95
    assert run(addon, capfd, "--preview-range")["strips"] == 2
    bpy.context.scene.use_preview_range = False

    assert addon.command.run(["generate", "--preview-range", "--dry-run"]) == 2
    assert "no preview range" in capfd.readouterr().err
    assert addon.command.run(["generate", "--channel", "9", "--dry-run"]) == 2
    assert "no shot on channel 9" in capfd.readouterr().err


def test_a_strips_own_prompt_comes_before_the_common_one(
    addon: Any, settings: Any, shots: list[Any], standin: StandIn, project: Path
) -> None:
    settings.prompt = "rain"
    select(shots[0], shots[1])
    with edits.sequencer():
        settings.strip_prompt = "footsteps"
        assert settings.strip_prompt == "footsteps"
    assert [shot.get("mmaudio_prompt") for shot in shots] == ["footsteps", "footsteps", None]
    select(*shots)
    with edits.sequencer():
        # The prompts differ: confirming the empty field changes nothing.
        assert settings.strip_prompt == ""
        settings.strip_prompt = ""
    assert shots[0]["mmaudio_prompt"] == "footsteps"
    bpy.ops.wm.save_mainfile()

    jobs = edits.generate(addon, *shots, prompt="rain")

    assert [job.request.settings.prompt for job in jobs] == ["footsteps, rain", "footsteps, rain", "rain"]
    sent = sorted(run["input"].get("prompt") for run in standin.state()["runs"][-3:])
    assert sent == ["footsteps, rain", "footsteps, rain", "rain"]
    (one,) = edits.start(addon, *shots, options={"as_one": True}, prompt="rain")
    assert one.request.settings.prompt == "footsteps, rain"
    edits.finish(addon, [one.id])
    select(shots[0])
    settings.prompt = "something else"
    with edits.sequencer():
        operators: Any = bpy.ops
        operators.mmaudio.reuse_settings()
        assert settings.prompt == "rain"
        settings.strip_prompt = ""
    assert "mmaudio_prompt" not in shots[0]
    settings.prompt, settings.randomize_seed = "", True


def test_the_last_prompts_are_remembered_each_once(addon: Any, settings: Any) -> None:
    preferences = addon.preferences
    preferences.prompts.clear()
    for number in range(40):
        addon.prompts.remember(preferences, [f"prompt {number}", "", "the common one "])

    kept = [item.name for item in preferences.prompts]
    assert len(kept) == 30 and kept[:3] == ["prompt 39", "the common one", "prompt 38"]
    with edits.sequencer():
        operators: Any = bpy.ops
        operators.mmaudio.use_prompt(prompt="prompt 38")
    assert settings.prompt == "prompt 38"
    settings.prompt = ""
    preferences.prompts.clear()


def test_presets_set_both_prompts_and_can_be_added_and_removed(addon: Any, settings: Any) -> None:
    operators: Any = bpy.ops
    presets = bpy.utils.preset_paths("mmaudio")
    files = sorted(file for folder in presets for file in Path(folder).glob("*.py"))
    assert len(files) >= 20
    with edits.sequencer():
        for file in files:
            settings.prompt = settings.negative_prompt = ""
            operators.script.execute_preset(filepath=str(file), menu_idname="MMAUDIO_PT_presets")
            assert settings.prompt and "music" in settings.negative_prompt, file
        settings.prompt, settings.negative_prompt = "quotes ' \" and ünïcode", "speech"
        operators.mmaudio.add_preset(name="My Own")
        own = next(file for folder in bpy.utils.preset_paths("mmaudio") for file in Path(folder).glob("My_Own.py"))
        settings.prompt = settings.negative_prompt = ""
        operators.script.execute_preset(filepath=str(own), menu_idname="MMAUDIO_PT_presets")
        assert (settings.prompt, settings.negative_prompt) == ("quotes ' \" and ünïcode", "speech")
        operators.mmaudio.add_preset(name="My Own", remove_name=True)
    assert not own.exists()
    settings.prompt, settings.negative_prompt = "", addon.mmaudio.NEGATIVE_PROMPT
