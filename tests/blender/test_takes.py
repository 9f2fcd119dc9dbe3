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

from addon.media.loudness import measure
from tests.standin.client import StandIn

from . import edits

Recorded = Callable[[str, object], None]
"""Records a measurement for the summary of scripts/test.py."""


def sounds(addon: Any) -> list[Any]:
    """Return the sound strips that the add-on has made, from left to right."""
    return sorted((strip for strip in edits.edit().strips if strip.get("mmaudio")), key=addon.compat.left_handle)


def numbers(addon: Any, sound: Any) -> list[int]:
    return [take["take"] for take in addon.takes.of(sound)]


def samples(file: Path) -> "np.ndarray":
    with wave.open(str(file)) as sound:
        data = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, sound.getnchannels())
    return data.astype(np.float32) / 32768


def color_strip(name: str, channel: int, frames: range, shade: float) -> Any:
    strip = edits.effect("COLOR", channel=channel, start=frames.start, frames=len(frames), name=name)
    strip.color = (shade, shade, shade)
    return strip


@pytest.mark.version_dependent
def test_the_takes_of_a_clip_are_one_strip_that_plays_the_first(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    uploads = len(standin.state()["uploads"])

    (job,) = edits.generate(addon, strip, options={"takes": 3}, seed=40)

    assert (job.stage, job.error) == ("done", None)
    (sound,) = sounds(addon)
    assert (sound.channel, sound.mute) == (4, False)
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (10, 40)
    assert len(standin.state()["uploads"]) == uploads + 1
    kept = sound["mmaudio"].to_dict()
    assert (kept["clip"], kept["take"]) == (strip["mmaudio_clip"], 1)
    assert [(take["take"], take["seed"]) for take in kept["takes"]] == [(1, 40), (2, 41), (3, 42)]
    assert len({take["prediction_ids"][0] for take in kept["takes"]}) == 3
    assert all(take["cost_usd"] > 0 and take["job"] == job.id and take["prompt"] == "rain" for take in kept["takes"])
    assert [Path(bpy.path.abspath(take["file"])) for take in kept["takes"]] == [take.file for take in job.takes]
    assert standin.key not in str(kept) and "://" not in str(kept)
    entries = job.as_json()
    assert len({entry["sounds"][0]["file"] for entry in entries}) == 3
    assert {entry["sounds"][0]["strip"] for entry in entries} == {sound.name}


@pytest.mark.version_dependent
def test_generating_again_adds_takes_and_plays_the_first_new_one(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    edits.generate(addon, strip, options={"takes": 2})
    # Trimmed and renamed, it is still the same clip.
    addon.compat.set_handles(strip, 12, 40)
    strip.name = "another name"

    (job,) = edits.generate(addon, strip, options={"takes": 2}, seed=99)

    (sound,) = sounds(addon)
    assert (numbers(addon, sound), sound["mmaudio"]["take"]) == ([1, 2, 3, 4], 3)
    assert file_of(sound) == job.takes[0].file
    # The left handle was where the clip's was; the artist has moved neither.
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (12, 40)


@pytest.mark.version_dependent
def test_a_sound_follows_its_clip_but_not_at_a_handle_that_was_dragged(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=96, at=(40,), channel=5)
    addon.compat.set_handles(strip, 30, 60)
    edits.generate(addon, strip)
    (sound,) = sounds(addon)
    addon.compat.set_handles(sound, 26, 60)
    addon.compat.set_handles(strip, 20, 80)

    edits.generate(addon, strip)
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (26, 80)

    # Something lies in the way.
    color_strip("obstacle", sound.channel, range(85, 100), 0.5)
    addon.compat.set_handles(strip, 20, 90)
    edits.generate(addon, strip)
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (26, 80)
    assert numbers(addon, sound) == [1, 2, 3] and sound.channel == 4


def file_of(sound: Any) -> Path:
    return Path(bpy.path.abspath(sound.sound.filepath)).resolve()


@pytest.mark.version_dependent
def test_takes_whose_files_begin_elsewhere_stay_in_time(addon: Any, standin: StandIn, project: Path) -> None:
    clip = edits.movie(project, frames=96, at=(30, 60), channel=5)
    addon.compat.set_handles(clip, 30, 90)
    edits.generate(addon, clip, options={"handle_seconds": 0.0})
    edits.generate(addon, clip, options={"handle_seconds": 0.4})
    # The third file begins at another frame of the clip.
    addon.compat.set_handles(clip, 36, 90)
    edits.generate(addon, clip, options={"handle_seconds": 2.0})
    (sound,) = sounds(addon)
    assert len({take["length"] for take in addon.takes.of(sound)}) == 3

    for number in (3, 1, 2):
        addon.takes.play(sound, number)
        assert len(edits.offsets_ms(project, 30, 89)) == 2
        assert max(map(abs, edits.offsets_ms(project, 30, 89))) < 1, number


@pytest.mark.version_dependent
def test_switching_takes_moves_no_strip_and_changes_nothing_else(addon: Any, standin: StandIn, project: Path) -> None:
    compat = addon.compat
    clip = edits.movie(project, frames=400, at=(20,), start=1, size=(320, 180))
    for number in range(1, 12):
        edits.edit().strips.new_movie(
            name="clip", filepath=clip.filepath, channel=3, frame_start=400 + 30 * number
        ).name = f"clip {number}"
    clips = sorted((strip for strip in edits.edit().strips if strip.type == "MOVIE"), key=compat.left_handle)
    for number, strip in enumerate(clips):
        strip.channel = 3 + number
        start = 100 + 30 * number
        compat.move_content(strip, start - 40 - round(compat.content_start(strip)))
        compat.set_handles(strip, start, start + 30)
    for strip in clips:
        strip.channel = 3
    for seconds in (0.5, 1.5):
        jobs = edits.generate(addon, *clips, options={"handle_seconds": seconds, "takes": 2})
        assert [job.error for job in jobs] == [None] * 12
    made = sounds(addon)
    assert len(made) == 12 and {sound.channel for sound in made} == {2}
    middle = made[5]
    middle.volume, middle.pan = 0.5, 0.25
    middle.keyframe_insert("volume", frame=255)
    middle.keyframe_insert("volume", frame=270)
    compat.set_handles(middle, 252, 276)
    before = state(addon)

    for step in (1, 1, 1, 1, -1, -1, -1, -1):
        for sound in made:
            addon.takes.play(sound, addon.takes.next_number(sound, step))
        assert state(addon) == before
    assert {sound["mmaudio"]["take"] for sound in made} == {3}


def state(addon: Any) -> list[Any]:
    """Return where all strips are, and the keyframes."""
    compat = addon.compat
    by_name = sorted(edits.edit().strips, key=lambda strip: strip.name)
    strips = [
        (strip.name, strip.channel, compat.left_handle(strip), compat.right_handle(strip), strip.mute) for strip in by_name
    ]
    levels = [(strip.volume, strip.pan) for strip in by_name if strip.type == "SOUND"]
    layers = bpy.context.scene.animation_data.action.layers
    curves = [curve for layer in layers for part in layer.strips for bag in part.channelbags for curve in bag.fcurves]
    return [strips, levels, [(curve.data_path, [key.co[:] for key in curve.keyframe_points]) for curve in curves]]


@pytest.mark.version_dependent
def test_operators_on_takes_are_one_undo_step_each(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    (job,) = edits.generate(addon, strip, options={"takes": 3}, seed=40)
    name = sounds(addon)[0].name
    files = [take.file for take in job.takes]

    def playing() -> tuple[int, Path, int]:
        sound = edits.edit().strips[name]
        assert len(addon.takes.of(sound)) in {1, 3}
        return sound["mmaudio"]["take"], file_of(sound), len(sounds(addon))

    def run(operator: Any, **properties: Any) -> None:
        with edits.sequencer():
            edits.edit().active_strip = edits.edit().strips[name]
            assert operator("EXEC_DEFAULT", True, **properties) == {"FINISHED"}

    bpy.ops.ed.undo_push(message="before")
    blender: Any = bpy.ops
    operators = blender.mmaudio
    for operator, properties, expected in (
        (operators.next_take, {}, (2, files[1], 1)),
        (operators.previous_take, {}, (1, files[0], 1)),
        (operators.previous_take, {}, (3, files[2], 1)),
        (operators.play_take, {"take": 2}, (2, files[1], 1)),
        (operators.unpack_takes, {}, (2, files[1], 3)),
    ):
        before = playing()
        run(operator, **properties)
        assert playing() == expected
        bpy.ops.ed.undo()
        assert playing() == before
        bpy.ops.ed.redo()
        assert playing() == expected
    bpy.ops.ed.undo()
    run(operators.keep_take)
    assert numbers(addon, edits.edit().strips[name]) == [2]
    assert all(file.is_file() for file in files)
    bpy.ops.ed.undo()
    assert numbers(addon, edits.edit().strips[name]) == [1, 2, 3]


@pytest.mark.version_dependent
def test_unpacked_takes_are_muted_on_channels_of_their_own(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, at=(12,), channel=5)
    edits.generate(addon, strip, options={"takes": 3}, seed=40)
    (sound,) = sounds(addon)
    sound.volume = 0.5
    addon.takes.play(sound, 2)

    addon.takes.unpack(sound)

    made = sorted(sounds(addon), key=lambda made: made["mmaudio"]["take"])
    assert [(made["mmaudio"]["take"], numbers(addon, made), made.mute) for made in made] == [
        (1, [1], True),
        (2, [2], False),
        (3, [3], True),
    ]
    assert len({made.channel for made in made} | {strip.channel}) == 4
    assert {(addon.compat.left_handle(made), addon.compat.right_handle(made)) for made in made} == {(10, 40)}
    assert {made.volume for made in made} == {0.5}
    made[1].mute, made[0].mute = True, False
    made[0].volume = 1.0
    assert max(map(abs, edits.offsets_ms(project, 10, 39))) < 1


@pytest.mark.version_dependent
def test_parts_of_a_cut_sound_keep_their_takes(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=96, at=(20, 45, 70), channel=5)
    edits.generate(addon, strip, options={"takes": 2}, seed=40)
    (sound,) = sounds(addon)
    with edits.sequencer():
        for other in edits.edit().strips:
            other.select = other == sound
        bpy.ops.sequencer.split(frame=50, type="SOFT", side="RIGHT")
    left, right = sounds(addon)

    addon.takes.play(right, 2)

    assert [numbers(addon, part) for part in (left, right)] == [[1, 2], [1, 2]]
    assert (left["mmaudio"]["take"], right["mmaudio"]["take"]) == (1, 2)
    assert file_of(left) != file_of(right)
    offsets = edits.offsets_ms(project, 10, 105)
    assert len(offsets) == 3 and max(map(abs, offsets)) < 1


@pytest.mark.version_dependent
def test_a_take_whose_file_is_missing_is_named_and_nothing_changes(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    (job,) = edits.generate(addon, strip, options={"takes": 2})
    (sound,) = sounds(addon)
    job.takes[1].file.unlink()

    with pytest.raises(addon.failure.Failure, match=r"take 2 of “clip \(MMAudio\)” is missing"):
        addon.takes.play(sound, 2)

    assert (sound["mmaudio"]["take"], file_of(sound), sound.channel) == (1, job.takes[0].file, 4)


@pytest.mark.version_dependent
def test_takes_that_were_placed_but_not_saved_are_placed_again(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=60, at=(30,), channel=5)
    addon.compat.set_handles(strip, 30, 60)
    edits.generate(addon, strip, options={"takes": 2}, seed=40)
    bpy.ops.wm.save_mainfile()
    edits.generate(addon, strip, options={"takes": 2}, seed=50)

    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    (sound,) = sounds(addon)
    assert numbers(addon, sound) == [1, 2]
    addon.resuming.file_opened(addon.page.config(bpy.context))
    edits.finish(addon, [job.id for job in addon.session.current.runner.jobs])

    (sound,) = sounds(addon)
    assert [take["seed"] for take in addon.takes.of(sound)] == [40, 41, 50, 51]
    assert sound["mmaudio"]["take"] == 3
    assert max(map(abs, edits.offsets_ms(project, 30, 59))) < 1


@pytest.mark.version_dependent
def test_a_job_with_takes_and_handles_resumes_when_its_file_is_opened(addon: Any, standin: StandIn, project: Path) -> None:
    standin.set(run_seconds=1.0)
    strip = edits.movie(project, frames=60, at=(10, 30, 50), channel=5)
    addon.compat.set_handles(strip, 30, 60)
    bpy.ops.wm.save_mainfile()
    (job,) = edits.start(addon, strip, options={"takes": 2})
    edits.until(lambda: all(run.prediction_id for run in addon.session.current.runner.job(job.id).runs))
    addon.session.current.close(5)
    standin.set(run_seconds=0.1)
    runs = len(standin.state()["runs"])

    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    addon.resuming.file_opened(addon.page.config(bpy.context))
    (done,) = edits.finish(addon, [job.id])

    assert (done.stage, done.error, done.request.lead) == ("done", None, 12)
    assert len(standin.state()["runs"]) == runs
    (sound,) = sounds(addon)
    assert numbers(addon, sound) == [1, 2]
    for number in (2, 1):
        addon.takes.play(sound, number)
        assert max(map(abs, edits.offsets_ms(project, 30, 59))) < 1


@pytest.mark.version_dependent
def test_a_part_of_a_cut_clip_gets_new_takes_and_the_other_parts_keep_their_sound(
    addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=90, at=(6, 40, 70), channel=5)
    edits.generate(addon, strip)
    right = strip.split(frame=40, split_method="SOFT")

    edits.generate(addon, right, seed=50)

    first, second = sounds(addon)
    handles = [(addon.compat.left_handle(sound), addon.compat.right_handle(sound)) for sound in (first, second)]
    assert handles == [(10, 40), (40, 100)]
    assert (numbers(addon, first), numbers(addon, second)) == ([1], [1, 2])
    assert (first.channel, second.channel) == (4, 4)
    offsets = edits.offsets_ms(project, 10, 99)
    assert len(offsets) == 3 and max(map(abs, offsets)) < 1


@pytest.mark.version_dependent
def test_parts_of_a_clip_that_are_cross_faded_stay_so(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=90, at=(6, 40, 70), channel=5)
    right = strip.split(frame=50, split_method="SOFT")
    edits.generate(addon, strip, right)
    addon.fades.cross_fade(sounds(addon), 12)
    before = [(addon.compat.left_handle(sound), addon.compat.right_handle(sound)) for sound in sounds(addon)]
    assert before == [(10, 56), (44, 100)]

    edits.generate(addon, strip, seed=50)

    first, second = sounds(addon)
    assert [(addon.compat.left_handle(sound), addon.compat.right_handle(sound)) for sound in (first, second)] == before
    assert (numbers(addon, first), numbers(addon, second)) == ([1, 2], [1])


@pytest.mark.version_dependent
def test_a_sound_that_was_cut_gets_new_takes_in_all_its_pieces(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=90, at=(6, 40, 70), channel=5)
    edits.generate(addon, strip)
    (sound,) = sounds(addon)
    sound.split(frame=40, split_method="SOFT")

    edits.generate(addon, strip, seed=50)

    first, second = sounds(addon)
    assert (numbers(addon, first), numbers(addon, second)) == ([1, 2], [1, 2])
    assert file_of(first) == file_of(second)
    offsets = edits.offsets_ms(project, 10, 99)
    assert len(offsets) == 3 and max(map(abs, offsets)) < 1


@pytest.mark.version_dependent
def test_an_undo_between_the_click_and_the_sound_keeps_them_together(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    (job,) = edits.start(addon, strip)
    # An undo to before the click.
    del strip["mmaudio_clip"]
    edits.finish(addon, [job.id])

    (sound,) = sounds(addon)
    assert addon.strips.clips_of(sound) == [strip]
    edits.generate(addon, strip)
    assert numbers(addon, sounds(addon)[0]) == [1, 2] and len(sounds(addon)) == 1


@pytest.mark.version_dependent
def test_a_muted_sound_is_heard_with_its_new_take_and_of_unpacked_ones_the_one_that_is_heard_gets_it(
    addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    edits.generate(addon, strip, options={"takes": 2})
    (sound,) = sounds(addon)
    (unpacked,) = addon.takes.unpack(sound)
    sound.mute, unpacked.mute = True, False

    edits.generate(addon, strip, seed=99)
    assert (numbers(addon, sound), numbers(addon, unpacked)) == ([1], [2, 3])
    assert (sound.mute, unpacked.mute) == (True, False)

    unpacked.mute = True
    edits.generate(addon, strip, seed=100)
    assert [other.mute for other in (sound, unpacked)].count(False) == 1


@pytest.mark.version_dependent
def test_earlier_takes_are_found_after_the_file_was_saved_elsewhere_and_generated_again(
    addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    (job,) = edits.generate(addon, strip)
    elsewhere = project / "other" / "place"
    elsewhere.mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(elsewhere / "project.blend"))
    edits.generate(addon, strip, seed=99)
    (sound,) = sounds(addon)

    addon.takes.play(sound, 1)

    assert file_of(sound) == job.takes[0].file


def test_a_retimed_sound_plays_only_takes_that_stay_in_time(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=60, channel=5)
    addon.compat.set_handles(strip, 30, 60)
    edits.generate(addon, strip, options={"handle_seconds": 0.0})
    edits.generate(addon, strip)
    (sound,) = sounds(addon)
    # Not on 4.5, where adding a key to a sound from Python hangs.
    sound.retiming_keys.add(timeline_frame=40)
    assert len(sound.retiming_keys)

    with pytest.raises(addon.failure.Failure, match="retimed"):
        addon.takes.play(sound, 1)
    assert sound["mmaudio"]["take"] == 2


@pytest.mark.version_dependent
def test_the_own_sound_of_a_neighbor_that_overlaps_a_little_stays(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=60, channel=5)
    right = strip.split(frame=40, split_method="SOFT")
    new_sound = edits.edit().strips.new_sound
    own = new_sound(name="own", filepath=strip.filepath, channel=3, frame_start=10)
    addon.compat.set_handles(own, 10, 40)
    neighbor = new_sound(name="neighbor", filepath=strip.filepath, channel=2, frame_start=10)
    addon.compat.set_handles(neighbor, 35, 70)

    edits.generate(addon, strip, options={"mute_own_sound": True})

    assert (own.mute, neighbor.mute) == (True, False) and right


@pytest.mark.version_dependent
def test_takes_are_found_when_the_file_is_saved_elsewhere(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    (job,) = edits.generate(addon, strip, options={"takes": 2})
    elsewhere = project / "other" / "place"
    elsewhere.mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(elsewhere / "project.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(elsewhere / "project.blend"))
    (sound,) = sounds(addon)

    addon.takes.play(sound, 2)

    assert file_of(sound) == job.takes[1].file


@pytest.mark.version_dependent
def test_reuse_settings_restores_the_settings_of_the_take(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    edits.generate(addon, strip, options={"takes": 2}, seed=40, prompt="gravel", num_steps=30, cfg_strength=6.5)
    (sound,) = sounds(addon)
    addon.takes.play(sound, 2)

    assert addon.strips.clips_of(sound) == [strip]
    asked = addon.settings.of(bpy.context.scene)
    addon.settings.reuse(asked, addon.takes.current(sound), "")
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

    first, second = sounds(addon)
    assert (first.channel, second.channel) == (4, 4)
    assert (numbers(addon, first), numbers(addon, second)) == ([1], [1])


@pytest.mark.version_dependent
def test_the_strips_of_version_0_1_stay_and_are_muted_by_a_new_sound(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    (job,) = edits.generate(addon, strip)
    (old,) = sounds(addon)
    old["mmaudio"] = {"clip": strip["mmaudio_clip"], "take": 1, "seed": 7, "prompt": "rain", "job": job.id}
    assert addon.take_operators.sound_at(old) == old and len(addon.takes.of(old)) == 1

    edits.generate(addon, strip, seed=9)

    new = next(sound for sound in sounds(addon) if sound != old)
    assert (old.mute, new.mute) == (True, False)
    assert numbers(addon, new) == [1]


@pytest.mark.version_dependent
def test_options_place_sounds_above_and_mute_or_lower_the_own_sound(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    new_sound = edits.edit().strips.new_sound
    own = new_sound(name="own", filepath=strip.filepath, channel=4, frame_start=10)
    other = new_sound(name="other", filepath=edits.movie(project, channel=9).filepath, channel=3, frame_start=10)

    edits.generate(addon, strip, options={"above": True, "own_sound_db": -6.0})
    assert own.volume == pytest.approx(10 ** (-6 / 20)) and not own.mute
    edits.generate(addon, strip, options={"own_sound_db": -6.0, "mute_own_sound": True})

    (sound,) = sounds(addon)
    assert (sound.channel, numbers(addon, sound)) == (6, [1, 2])
    assert own.mute and not other.mute
    assert own.volume == pytest.approx(10 ** (-6 / 20)), "lowered twice"
    assert other.volume == 1.0


@pytest.mark.version_dependent
def test_an_own_sound_that_cannot_be_lowered_is_noted(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, channel=5)
    own = edits.edit().strips.new_sound(name="own", filepath=strip.filepath, channel=4, frame_start=10)
    own.driver_add("volume").driver.expression = "0.5"

    (job,) = edits.generate(addon, strip, options={"own_sound_db": -6.0})

    assert (job.stage, job.error, len(sounds(addon))) == ("done", None, 1)
    assert "not lowered" in job.note and "own" in job.note


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
    (sound,) = sounds(addon)
    assert [take["source"] for take in addon.takes.of(sound)] == ["strip", "timeline"]


@pytest.mark.version_dependent
def test_a_strip_of_one_frame_has_a_sound_of_one_frame(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, at=(4,))
    addon.compat.set_handles(strip, 14, 15)

    (job,) = edits.generate(addon, strip)

    assert job.error is None
    (sound,) = sounds(addon)
    assert (addon.compat.left_handle(sound), addon.compat.right_handle(sound)) == (14, 15)
    assert len(samples(job.takes[0].file)) == round(job.request.sound_seconds * 44_100)
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
    assert len(samples(job.takes[0].file)) == round(job.request.sound_seconds * 44_100)


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


@pytest.mark.version_dependent
def test_takes_are_brought_to_a_loudness_and_know_their_gain(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=96, at=(), channel=5)

    (job,) = edits.generate(addon, strip, options={"takes": 2, "lufs": -30.0})

    (sound,) = sounds(addon)
    for take, kept in zip(job.takes, addon.takes.of(sound), strict=True):
        level = measure([samples(take.file)], 44_100)
        assert level.lufs == pytest.approx(-30.0, abs=0.1)
        assert kept["gain_db"] == pytest.approx(take.gain_db) and take.gain_db != 0
