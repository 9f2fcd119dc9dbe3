# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of takes, their channels and stored settings; of the source of the picture; and of very short and long strips."""

import wave
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from tests.standin.client import StandIn

from . import edits

Recorded = Callable[[str, object], None]
"""Records a measurement for the summary of scripts/test.py."""


def sounds(addon: Any) -> list[Any]:
    """Return the sound strips that the add-on has made, sorted by take."""
    made = [strip for strip in edits.edit().strips if strip.get("mmaudio")]
    return sorted(made, key=lambda strip: strip["mmaudio"]["take"])


def samples(file: Path) -> "np.ndarray":
    with wave.open(str(file)) as sound:
        data = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, sound.getnchannels())
    return data.astype(np.float32) / 32768


def color_strip(name: str, channel: int, frames: range, shade: float) -> Any:
    strip = edits.effect("COLOR", channel=channel, start=frames.start, frames=len(frames), name=name)
    strip.color = (shade, shade, shade)
    return strip


@pytest.mark.version_dependent
def test_takes_start_together_on_separate_channels_and_only_the_first_is_unmuted(
    addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    uploads = len(standin.state()["uploads"])

    (job,) = edits.generate(addon, strip, options={"takes": 3}, seed=40)

    assert (job.stage, job.error) == ("done", None)
    made = sounds(addon)
    assert [(sound.channel, sound.mute) for sound in made] == [(4, False), (3, True), (2, True)]
    assert {(addon.compat.left_handle(sound), addon.compat.right_handle(sound)) for sound in made} == {(10, 40)}
    assert len(standin.state()["uploads"]) == uploads + 1
    kept = [sound["mmaudio"].to_dict() for sound in made]
    assert [(take["take"], take["seed"]) for take in kept] == [(1, 40), (2, 41), (3, 42)]
    assert len({take["prediction_ids"][0] for take in kept}) == 3
    assert all(take["cost_usd"] > 0 and take["job"] == job.id and take["prompt"] == "rain" for take in kept)
    assert standin.key not in str(kept) and "://" not in str(kept)


@pytest.mark.version_dependent
def test_generating_again_adds_takes_and_only_the_newest_is_unmuted(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    edits.generate(addon, strip, options={"takes": 2})
    # Trimmed and renamed, it is still the same clip.
    addon.compat.set_handles(strip, 12, 40)
    strip.name = "another name"

    edits.generate(addon, strip, seed=99)

    assert [(sound["mmaudio"]["take"], sound.mute) for sound in sounds(addon)] == [(1, True), (2, True), (3, False)]
    assert len({sound.channel for sound in sounds(addon)}) == 3


@pytest.mark.version_dependent
def test_next_take_cycles_and_reuse_settings_restores_the_settings(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    edits.generate(addon, strip, options={"takes": 2}, seed=40, prompt="gravel", num_steps=30, cfg_strength=6.5)
    one, two = sounds(addon)

    def next_take() -> list[bool]:
        takes = addon.strips.takes_of(strip)
        addon.place.activate_next_take(takes)
        return [one.mute, two.mute]

    assert [next_take() for _ in range(3)] == [[True, False], [False, True], [True, False]]
    assert addon.strips.clip_of(two) == strip
    asked = addon.settings.of(bpy.context.scene)
    addon.settings.reuse(asked, addon.strips.metadata(two))
    assert (asked.prompt, asked.seed, asked.num_steps, asked.cfg_strength) == ("gravel", 41, 30, 6.5)
    assert not asked.randomize_seed


@pytest.mark.version_dependent
def test_a_copy_of_the_clip_has_takes_of_its_own(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    copy = edits.movie(project, frames=30, channel=5, start=100)
    edits.generate(addon, strip)
    # Duplicate copies the mark too.
    copy["mmaudio_clip"] = strip["mmaudio_clip"]

    edits.generate(addon, copy)

    first, second = sorted(sounds(addon), key=addon.compat.left_handle)
    assert (first.mute, second.mute) == (False, False)
    assert (first["mmaudio"]["take"], second["mmaudio"]["take"]) == (1, 1)


@pytest.mark.version_dependent
def test_options_place_sounds_above_and_mute_the_clips_own_sound(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    own = edits.edit().strips.new_sound(name="own", filepath=strip.filepath, channel=4, frame_start=10)
    other = edits.edit().strips.new_sound(
        name="other", filepath=edits.movie(project, channel=9).filepath, channel=3, frame_start=10
    )

    edits.generate(addon, strip)
    assert not own.mute
    edits.generate(addon, strip, options={"above": True, "mute_own_sound": True})

    assert [sound.channel for sound in sounds(addon)] == [2, 6]
    assert own.mute and not other.mute


@pytest.mark.version_dependent
def test_with_source_timeline_the_whole_visible_picture_is_rendered(addon: Any, standin: StandIn, project: Path) -> None:
    strip = color_strip("clip", 2, range(10, 40), 0.0)
    color_strip("flash", 4, range(22, 25), 1.0)
    muted = color_strip("unseen", 5, range(30, 33), 1.0)
    muted.mute = True
    edits.edit().channels[6].mute = True
    color_strip("unseen too", 6, range(15, 18), 1.0)

    edits.generate(addon, strip)
    edits.generate(addon, strip, options={"source": addon.request.Source.TIMELINE})

    alone, whole = (run["clip"]["flashes"] for run in standin.state()["runs"][-2:])
    assert alone == []
    assert whole == pytest.approx([12 / 24])
    assert [sound["mmaudio"]["source"] for sound in sounds(addon)] == ["strip", "timeline"]


@pytest.mark.version_dependent
def test_a_strip_of_one_frame_has_a_sound_of_one_frame(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, at=(4,))
    addon.compat.set_handles(strip, 14, 15)

    (job,) = edits.generate(addon, strip)

    assert job.error is None
    (sound,) = sounds(addon)
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (14, 15)
    assert len(samples(job.takes[0].file)) == round(44_100 / 24)
    (run,) = standin.state()["runs"][-1:]
    assert run["input"]["duration"] == 1.28 and 1.28 - 1 / 24 < run["clip"]["last"] <= 1.28


@pytest.mark.version_dependent
def test_a_long_strip_is_one_sound_without_a_gap_or_a_doubled_click(
    addon: Any, standin: StandIn, project: Path, record_property: Recorded
) -> None:
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    # 20 s are three windows, which overlap near 6.5 s and 13 s: with a flash each 0.5 s, at least one is in each overlap.
    flashes = tuple(range(6, 470, 12))
    strip = edits.movie(project, frames=480, at=flashes, start=1, size=(320, 180))

    (job,) = edits.generate(addon, strip, seconds=200)

    assert job.error is None
    assert len(job.takes[0].prediction_ids) == len(job.request.windows) == 3
    strip.mute = False
    offsets = edits.offsets_ms(project, 1, 480)
    record_property(f"long strip, worst of {len(offsets)} clicks in ms", f"{max(offsets, key=abs):+.3f}")
    assert len(offsets) == len(flashes)
    assert max(map(abs, offsets)) < 1
    sound = samples(job.takes[0].file)
    assert len(sound) == 20 * 44_100


def test_steady_noise_stays_steady_across_the_joins_of_a_long_strip(
    addon: Any, standin: StandIn, project: Path, record_property: Recorded
) -> None:
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    # Without motion in the picture, the double's hiss has a constant level.
    strip = color_strip("clip", 2, range(1, 481), 0.2)

    (job,) = edits.generate(addon, strip, seconds=200)

    worst = worst_step_db(samples(job.takes[0].file), job.request)
    record_property("joins of steady noise, worst step in dB", f"{worst:.2f}")
    assert worst < 1


def worst_step_db(sound: "np.ndarray", request: Any) -> float:
    """Return the largest difference in level between 0.1 s within an overlap and the half second on either side of it."""
    power = sound[:, 0].astype(np.float64) ** 2
    worst = 0.0
    for before, after in pairwise(request.windows):
        start = int(after.first / request.fps * 44_100)
        end = int((before.first / request.fps + before.duration) * 44_100)
        sides = (power[start - 22_050 : start].mean(), power[end : end + 22_050].mean())
        blocks = [power[at : at + 4410].mean() for at in range(start, end - 4410, 2205)]
        worst = max(worst, *(abs(10 * np.log10(block / side)) for block in blocks for side in sides))
    return worst


def test_a_result_that_is_too_short_is_reported(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=48)
    standin.inject("run", "short", seconds=0.64)

    (job,) = edits.generate(addon, strip)

    assert job.stage == "done"
    assert "shorter than the strip" in job.note
    assert len(samples(job.takes[0].file)) == 2 * 44_100


@pytest.mark.parametrize("offset_ms", [-200.0, 120.0])
def test_an_offset_moves_the_sound_within_its_strip(offset_ms: float, addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=48, at=(24,))
    # Get them now: another test may have disabled and enabled the add-on.
    preferences = addon.page.of(bpy.context)
    preferences.offset_ms = offset_ms
    try:
        (job,) = edits.generate(addon, strip)
    finally:
        preferences.offset_ms = 0.0

    (sound,) = sounds(addon)
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (10, 58)
    click = int(np.argmax(np.abs(samples(job.takes[0].file)).max(axis=1) > 0.4))
    assert click / 44_100 == pytest.approx(float(Fraction(24, 24)) + offset_ms / 1000, abs=0.001)
