# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of changes to the edit during a job: the sound is placed where its picture is by then."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import addon_utils
import bpy
import pytest

from tests.standin.client import StandIn

from . import edits
from .conftest import MODULE

pytestmark = pytest.mark.version_dependent

FRAMES = (10, 40)
FLASHES = (5, 22)
"""Frames of the clip, from 0."""


@pytest.fixture
def clip(addon: Any, project: Path) -> Any:
    """Clip from frame 10 to 40, in a saved project."""
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    strip = edits.movie(project, frames=30, at=FLASHES, size=(320, 180))
    bpy.ops.wm.save_mainfile()
    return strip


def made_sounds() -> list[Any]:
    """Return all sound strips that the add-on has made, of all scenes."""
    all_edits = [scene.sequence_editor for scene in bpy.data.scenes if scene.sequence_editor]
    return [strip for edit in all_edits for strip in edit.strips_all if strip.get("mmaudio")]


def frame_ranges(addon: Any) -> list[tuple[int, int]]:
    return sorted((addon.compat.left_handle(sound), addon.compat.right_handle(sound)) for sound in made_sounds())


def config(addon: Any) -> Any:
    return addon.page.config(bpy.context)


def move(addon: Any, strip: Any) -> None:
    addon.compat.move_content(strip, 100)


def move_and_rename(addon: Any, strip: Any) -> None:
    move(addon, strip)
    strip.name = "another name"
    # Another strip that now has its name must not be mistaken for it.
    edits.edit().strips.new_meta(name="clip", channel=9, frame_start=1)


def trim_left(addon: Any, strip: Any) -> None:
    addon.compat.set_handles(strip, 13, 40)


def trim_right(addon: Any, strip: Any) -> None:
    addon.compat.set_handles(strip, 10, 34)
    # A strip after the new end, on the sound's channel, must not push the sound to another channel.
    edits.edit().strips.new_meta(name="next", channel=2, frame_start=36)


def trim_and_move(addon: Any, strip: Any) -> None:
    addon.compat.set_handles(strip, 12, 37)
    move(addon, strip)


def slip(addon: Any, strip: Any) -> None:
    addon.compat.set_handles(strip, 14, 36)
    addon.compat.move_content(strip, 3)
    addon.compat.set_handles(strip, 14, 36)


def copy_of(strip: Any) -> Any:
    """Copy the strip to 100 frames later, as Duplicate does; the operator crashes if the Sequencer was never drawn."""
    copy = edits.edit().strips.new_movie(name="clip.001", filepath=strip.filepath, channel=3, frame_start=110)
    copy["mmaudio_clip"] = strip["mmaudio_clip"]
    return copy


def duplicate(addon: Any, strip: Any) -> None:
    copy_of(strip).mute = True


def duplicate_and_delete(addon: Any, strip: Any) -> None:
    copy_of(strip)
    edits.edit().strips.remove(strip)


def cut(addon: Any, strip: Any) -> None:
    strip.split(frame=25, split_method="SOFT")


def cut_and_move_one(addon: Any, strip: Any) -> None:
    move(addon, strip.split(frame=25, split_method="SOFT"))


def cut_hard(addon: Any, strip: Any) -> None:
    strip.split(frame=25, split_method="HARD")


def cut_hard_and_delete_the_first(addon: Any, strip: Any) -> None:
    strip.split(frame=25, split_method="HARD")
    edits.edit().strips.remove(strip)


def cut_and_put_one_into_a_meta(addon: Any, strip: Any) -> None:
    strip.split(frame=25, split_method="SOFT")
    edits.make_meta(strip)


def cut_and_delete_the_middle(addon: Any, strip: Any) -> None:
    middle = strip.split(frame=20, split_method="SOFT")
    middle.split(frame=28, split_method="SOFT")
    edits.edit().strips.remove(middle)


def cut_and_swap(addon: Any, strip: Any) -> None:
    right = strip.split(frame=25, split_method="SOFT")
    addon.compat.move_content(strip, 15)
    right.channel = 7
    addon.compat.move_content(right, -15)


def cut_and_delete_the_first(addon: Any, strip: Any) -> None:
    strip.split(frame=25, split_method="SOFT")
    edits.edit().strips.remove(strip)


def put_into_a_meta(addon: Any, strip: Any) -> None:
    edits.make_meta(strip)


def rename_the_scene(addon: Any, strip: Any) -> None:
    bpy.context.scene.name = "Final"
    bpy.data.scenes.new("Scene")


def undo_past_the_click(addon: Any, strip: Any) -> None:
    bpy.ops.ed.undo()


@dataclass(frozen=True)
class Change:
    """Change to the edit during a job."""

    do: Callable[[Any, Any], None]
    at: tuple[tuple[int, int], ...]
    """Expected frame ranges of the sounds."""


CHANGES = [
    Change(move, ((110, 140),)),
    Change(move_and_rename, ((110, 140),)),
    Change(trim_left, ((13, 40),)),
    Change(trim_right, ((10, 34),)),
    Change(trim_and_move, ((112, 137),)),
    Change(slip, ((14, 36),)),
    Change(duplicate, ((10, 40),)),
    Change(duplicate_and_delete, ((110, 140),)),
    Change(cut, ((10, 40),)),
    Change(cut_and_move_one, ((10, 25), (125, 140))),
    Change(cut_hard, ((10, 40),)),
    Change(cut_hard_and_delete_the_first, ((25, 40),)),
    Change(cut_and_put_one_into_a_meta, ((10, 25), (25, 40))),
    Change(cut_and_delete_the_middle, ((10, 20), (28, 40))),
    Change(cut_and_swap, ((10, 25), (25, 40))),
    Change(cut_and_delete_the_first, ((25, 40),)),
    Change(put_into_a_meta, ((10, 40),)),
    Change(rename_the_scene, ((10, 40),)),
    Change(undo_past_the_click, ((10, 40),)),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.do.__name__)
def test_the_sound_is_placed_where_its_picture_is(
    change: Change, clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    bpy.ops.ed.undo_push(message="Add Strip")
    clip.blend_alpha = 0.9
    bpy.ops.ed.undo_push(message="Fade")
    (job,) = edits.start(addon, clip)

    change.do(addon, edits.edit().strips["clip"])
    (done,) = edits.finish(addon, [job.id])

    assert (done.stage, done.error, done.note) == ("done", None, "")
    assert frame_ranges(addon) == list(change.at)
    worst = max(abs(offset) for offset in edits.offsets_ms(project, 1, 150))
    assert worst < 1.0


def test_the_sound_of_a_deleted_clip_stays_where_it_was_with_a_note(clip: Any, addon: Any, standin: StandIn) -> None:
    (job,) = edits.start(addon, clip)

    edits.edit().strips.remove(clip)
    (done,) = edits.finish(addon, [job.id])

    assert (done.stage, done.note) == ("done", "The clip no longer exists; its sound was placed where the clip was.")
    assert frame_ranges(addon) == [FRAMES]


def test_another_strip_that_now_has_the_name_is_not_mistaken_for_the_clip(
    clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    (job,) = edits.start(addon, clip)

    edits.edit().strips.remove(clip)
    other = edits.movie(project, frames=50, at=FLASHES, start=200, size=(320, 180))
    assert other.name == "clip"
    (done,) = edits.finish(addon, [job.id])

    assert "The clip no longer exists" in done.note
    assert frame_ranges(addon) == [FRAMES]


def test_a_take_of_a_clip_that_was_cut_meanwhile_is_added_to_its_sound(clip: Any, addon: Any, standin: StandIn) -> None:
    edits.generate(addon, clip)
    (job,) = edits.start(addon, clip, seed=99)

    clip.split(frame=25, split_method="SOFT")
    edits.finish(addon, [job.id])

    assert frame_ranges(addon) == [FRAMES]
    (sound,) = made_sounds()
    assert ([take["take"] for take in addon.takes.of(sound)], sound["mmaudio"]["take"]) == ([1, 2], 2)


def test_the_parts_of_a_still_that_was_cut_keep_their_sound(addon: Any, standin: StandIn, project: Path) -> None:
    still = edits.effect("COLOR", channel=3, start=10, name="still")
    (job,) = edits.start(addon, still)

    right = still.split(frame=25, split_method="SOFT")
    right.split(frame=30, split_method="SOFT")
    edits.edit().strips.remove(right)
    (done,) = edits.finish(addon, [job.id])

    assert (done.stage, frame_ranges(addon)) == ("done", [(10, 25), (30, 40)])


def test_the_sound_of_a_deleted_scene_is_kept_and_placed_when_the_scene_is_back(
    clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    bpy.ops.ed.undo_push(message="Add Strip")
    runs = len(standin.state()["runs"])
    (job,) = edits.start(addon, clip)

    other = bpy.data.scenes.new("Other")
    bpy.data.scenes.remove(bpy.data.scenes["Scene"])
    (failed,) = edits.finish(addon, [job.id])

    assert (failed.stage, failed.error.code) == ("failed", "no_scene")
    assert "“clip”" in failed.error.message and str(project) in failed.error.hint
    assert failed.takes[0].file.is_file()
    assert (other.sequence_editor, made_sounds()) == (None, [])
    bpy.ops.wm.open_mainfile(filepath=str(project / "project.blend"))
    addon.retrying.retry(addon.session.current.runner.job(job.id), config(addon))
    (done,) = edits.finish(addon, [job.id])
    assert (done.stage, frame_ranges(addon)) == ("done", [FRAMES])
    assert len(standin.state()["runs"]) == runs + 1


def test_the_sound_is_placed_in_its_own_scene_while_another_is_shown(clip: Any, addon: Any, standin: StandIn) -> None:
    (job,) = edits.start(addon, clip)
    scene = bpy.context.scene

    bpy.context.window.scene = bpy.data.scenes.new("Other")
    (done,) = edits.finish(addon, [job.id])

    assert done.takes[0].sound.strip in scene.sequence_editor.strips
    assert bpy.data.scenes["Other"].sequence_editor is None


# Files


def test_a_job_follows_its_file_when_it_is_saved_under_another_name(
    clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    runs = len(standin.state()["runs"])
    (job,) = edits.start(addon, clip)
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "second.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(project / "project.blend"))
    edits.wait_for_stage(addon, job.id, "placing")

    addon.generation.advance()
    assert made_sounds() == [], "the job was started in this file, but belongs to the one it was saved as"
    bpy.ops.wm.open_mainfile(filepath=str(project / "second.blend"))
    (done,) = edits.finish(addon, [job.id])

    assert (done.stage, frame_ranges(addon)) == ("done", [FRAMES])
    assert len(standin.state()["runs"]) == runs + 1


def test_a_job_is_done_once_its_file_is_saved_but_not_by_saving_a_copy(
    clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    (job,) = edits.generate(addon, clip)
    journal = addon.session.current.runner.open(config(addon).extension_folder).journal

    def kept() -> str:
        (entry,) = [entry for entry in journal.all() if entry.id == job.id]
        return str(entry.job.stage)

    assert kept() == "placing"
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "copy.blend"), copy=True)
    bpy.ops.wm.save_homefile()
    (Path(os.environ["BLENDER_USER_RESOURCES"]) / "config" / "startup.blend").unlink()
    assert kept() == "placing"
    bpy.ops.wm.save_mainfile()
    assert kept() == "done"


def test_a_sound_that_was_never_saved_is_placed_again_when_its_file_is_opened_anew(
    clip: Any, addon: Any, standin: StandIn, project: Path
) -> None:
    runs = len(standin.state()["runs"])
    (job,) = edits.generate(addon, clip)

    bpy.ops.wm.revert_mainfile()
    assert made_sounds() == []
    addon.resuming.file_opened(config(addon))
    (done,) = edits.finish(addon, [job.id])

    assert (done.stage, frame_ranges(addon)) == ("done", [FRAMES])
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.revert_mainfile()
    addon.resuming.file_opened(config(addon))
    edits.finish(addon, [job.id])
    assert frame_ranges(addon) == [FRAMES]
    assert len(standin.state()["runs"]) == runs + 1


@pytest.mark.parametrize("saved", [True, False])
def test_a_job_continues_after_the_addon_was_disabled_and_enabled(
    saved: bool, addon: Any, standin: StandIn, project: Path
) -> None:
    if not saved:
        bpy.ops.wm.read_homefile(use_empty=True)
        bpy.context.scene.sequence_editor_create()
    strip = edits.movie(project, frames=30, size=(320, 180))
    if saved:
        bpy.ops.wm.save_mainfile()
    runs = len(standin.state()["runs"])
    (job,) = edits.start(addon, strip)
    edits.until(lambda: bool(addon.generation.advance()) and len(standin.state()["runs"]) > runs)

    addon_utils.disable(MODULE)
    assert addon.session.current.runner.jobs == []
    addon_utils.enable(MODULE)
    (again,) = addon.resuming.file_opened(config(addon))
    (done,) = edits.finish(addon, [again.id])

    assert (done.id, done.stage, done.error) == (job.id, "done", None)
    assert frame_ranges(addon) == [FRAMES]
    assert len(standin.state()["runs"]) == runs + 1
