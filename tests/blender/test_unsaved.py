# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects that have no place on disk yet, and recovered sessions: their sounds come along when they are saved, and none is
placed into another project that has the same path and the same names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits


@pytest.fixture
def temporary(addon: Any, tmp_path: Path) -> Iterator[Path]:
    """Blender's temporary folder."""
    paths = bpy.context.preferences.filepaths
    before, folder = paths.temporary_directory, tmp_path / "temp"
    folder.mkdir()
    paths.temporary_directory = str(folder)
    assert folder in Path(bpy.app.tempdir).resolve().parents
    yield folder
    paths.temporary_directory = before


@pytest.fixture
def unsaved(addon: Any, project: Path) -> Path:
    """An edit that was never saved, and a folder for its footage."""
    new_edit()
    return project


def new_edit() -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.resolution_x, scene.render.resolution_y = 24, 1280, 720
    scene.sequence_editor_create()


def sound_of(job: Any) -> Any:
    return edits.edit().strips[job.takes[0].sound.strip]


def file_of(sound: Any) -> Path:
    return Path(bpy.path.abspath(sound.sound.filepath))


def check_came_along(addon: Any, job: Any, results: Path, before: Path) -> None:
    """The strip, the job and the journal have the sound where it is now; what an undo may point at is there still."""
    sound = sound_of(job)
    assert file_of(sound).parent == results and file_of(sound).read_bytes() == before.read_bytes()
    (known,) = (kept for kept in addon.generation.runner.jobs if kept.id == job.id)
    assert known.takes[0].file == file_of(sound) and known.request.folder == results
    config = addon.page.config(bpy.context)
    (entry,) = (entry for entry in addon.generation.runner.open(config.own).journal.all() if entry.id == job.id)
    assert (entry.project, entry.job.takes[0].file) == (bpy.data.filepath, file_of(sound))


def test_the_first_save_brings_sounds_to_the_results_folder(addon: Any, standin: StandIn, unsaved: Path) -> None:
    (job,) = edits.generate(addon, edits.movie(unsaved, frames=30))
    config = addon.page.config(bpy.context)
    before = file_of(sound_of(job))
    assert before.parent == config.own / "sounds"

    (unsaved / "film").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(unsaved / "film" / "film.blend"))

    check_came_along(addon, job, unsaved / "film" / "mmaudio", before)
    name = job.takes[0].sound.strip
    bpy.ops.wm.open_mainfile(filepath=str(unsaved / "film" / "film.blend"))
    assert file_of(edits.edit().strips[name]).parent == unsaved / "film" / "mmaudio"


def test_a_recovered_session_counts_as_not_saved_until_it_is(
    addon: Any, standin: StandIn, unsaved: Path, temporary: Path
) -> None:
    strip = edits.movie(unsaved, frames=30)
    bpy.ops.wm.save_as_mainfile(filepath=str(temporary / "quit.blend"))
    strip = edits.edit().strips[strip.name]

    (job,) = edits.generate(addon, strip)

    config = addon.page.config(bpy.context)
    before = file_of(sound_of(job))
    assert (job.project, before.parent) == ("", config.own / "sounds")
    assert not (temporary / "mmaudio").exists()
    bpy.ops.wm.save_as_mainfile(filepath=str(unsaved / "film.blend"))
    check_came_along(addon, job, unsaved / "mmaudio", before)


def test_sounds_that_lie_beside_a_recovered_session_come_along_too(
    addon: Any, standin: StandIn, unsaved: Path, temporary: Path
) -> None:
    """As an older version has left them."""
    (job,) = edits.generate(addon, edits.movie(unsaved, frames=30))
    beside = temporary / "mmaudio" / file_of(sound_of(job)).name
    beside.parent.mkdir()
    beside.write_bytes(file_of(sound_of(job)).read_bytes())
    sound_of(job).sound.filepath = str(beside)
    bpy.ops.wm.save_as_mainfile(filepath=str(temporary / "quit.blend"))

    bpy.ops.wm.save_as_mainfile(filepath=str(unsaved / "film.blend"))

    assert file_of(sound_of(job)).parent == unsaved / "mmaudio" and beside.is_file()


def test_a_job_of_one_recovered_session_is_not_placed_into_another(
    addon: Any, standin: StandIn, unsaved: Path, temporary: Path
) -> None:
    standin.set(run_seconds=1.0)
    strip = edits.movie(unsaved, frames=30)
    bpy.ops.wm.save_as_mainfile(filepath=str(temporary / "quit.blend"))
    (job,) = edits.start(addon, edits.edit().strips[strip.name])
    edits.wait_for_stage(addon, job.id, "predicting")
    config = addon.page.config(bpy.context)
    addon.generation.leave(5)
    standin.set(run_seconds=0.4)

    # Another project, of the same path; its scene and its strip have the same names, and its strip shows other frames.
    new_edit()
    edits.movie(unsaved, frames=40, at=(5,))
    bpy.ops.wm.save_as_mainfile(filepath=str(temporary / "quit.blend"))
    addon.resuming.opened(config)
    (ended,) = edits.finish(addon, [job.id])

    assert (ended.stage, ended.takes[0].file.is_file()) == ("failed", True)
    assert [part for part in edits.edit().strips if part.get("mmaudio")] == []
    assert "Insert Result" in ended.error.hint
    addon.generation.insert(ended)
    (inserted,) = edits.finish(addon, [job.id])
    assert (inserted.stage, sound_of(inserted).type) == ("done", "SOUND")


def test_a_sound_whose_clip_is_gone_is_placed_in_its_own_scene_alone(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    (job,) = edits.start(addon, strip)
    bpy.context.scene.name = "renamed"
    edits.edit().strips.remove(strip)
    (done,) = edits.finish(addon, [job.id])
    assert (done.stage, "clip is gone" in done.note) == ("done", True)

    strip = edits.movie(project, frames=30)
    (job,) = edits.start(addon, strip)
    edits.edit().strips.remove(strip)
    del bpy.context.scene["mmaudio_scene"]
    (lost,) = edits.finish(addon, [job.id])
    assert (lost.stage, lost.error.code) == ("failed", "no_scene")


def test_the_background_renders_own_copy_brings_no_sounds(addon: Any, unsaved: Path) -> None:
    config = addon.page.config(bpy.context)
    assert addon.resuming.is_own_copy(str(config.job_context.work / "edit-1.blend"), config)
    assert not addon.resuming.is_own_copy(str(unsaved / "film.blend"), config)
