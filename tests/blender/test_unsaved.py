# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests with unsaved projects and recovered sessions: their sounds are copied when they are saved, and no sound is placed in
another project with the same path and names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from scripts import in_blender
from tests.standin.client import StandIn

from . import edits
from .conftest import RUN_SECONDS

pytestmark = pytest.mark.version_dependent


@pytest.fixture
def temporary(addon: Any, tmp_path: Path) -> Iterator[Path]:
    """Blender's temporary folder, replaced by a new one."""
    paths = bpy.context.preferences.filepaths
    before, folder = paths.temporary_directory, tmp_path / "temp"
    folder.mkdir()
    paths.temporary_directory = str(folder)
    assert folder in Path(bpy.app.tempdir).resolve().parents
    yield folder
    paths.temporary_directory = before


@pytest.fixture
def unsaved(addon: Any, project: Path) -> Path:
    """Folder for the footage of an edit that was never saved."""
    in_blender.new_edit()
    return project


def sound_of(job: Any) -> Any:
    return edits.edit().strips[job.takes[0].sound.strip]


def file_of(sound: Any) -> Path:
    return Path(bpy.path.abspath(sound.sound.filepath))


def check_copied(addon: Any, job: Any, results: Path, before: Path) -> None:
    """Assert that strip, job and journal refer to a copy of the sound, and that the original, which undo needs, exists."""
    sound = sound_of(job)
    assert file_of(sound).parent == results and file_of(sound).read_bytes() == before.read_bytes()
    files = [Path(bpy.path.abspath(take["file"])) for take in addon.takes.of(sound)]
    assert len(files) == len(job.takes) and {file.parent for file in files} == {results}
    assert all(file.is_file() for file in files)
    (known,) = (kept for kept in addon.session.current.runner.jobs if kept.id == job.id)
    assert known.takes[0].file == file_of(sound) and known.request.folder == results
    config = addon.page.config(bpy.context)
    (entry,) = (
        entry for entry in addon.session.current.runner.open(config.extension_folder).journal.all() if entry.id == job.id
    )
    assert (entry.project, entry.job.takes[0].file) == (bpy.data.filepath, file_of(sound))


def test_the_first_save_copies_sounds_to_the_results_folder(addon: Any, standin: StandIn, unsaved: Path) -> None:
    (job,) = edits.generate(addon, edits.movie(unsaved, frames=30), options={"takes": 2})
    config = addon.page.config(bpy.context)
    before = file_of(sound_of(job))
    assert before.parent == config.extension_folder / "sounds"

    (unsaved / "film").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(unsaved / "film" / "film.blend"))

    check_copied(addon, job, unsaved / "film" / "mmaudio", before)
    name = job.takes[0].sound.strip
    bpy.ops.wm.open_mainfile(filepath=str(unsaved / "film" / "film.blend"))
    assert file_of(edits.edit().strips[name]).parent == unsaved / "film" / "mmaudio"


def test_a_recovered_session_counts_as_unsaved_until_it_is_saved(
    addon: Any, standin: StandIn, unsaved: Path, temporary: Path
) -> None:
    strip = edits.movie(unsaved, frames=30)
    bpy.ops.wm.save_as_mainfile(filepath=str(temporary / "quit.blend"))
    strip = edits.edit().strips[strip.name]

    (job,) = edits.generate(addon, strip)

    config = addon.page.config(bpy.context)
    before = file_of(sound_of(job))
    assert (job.project, before.parent) == ("", config.extension_folder / "sounds")
    assert not (temporary / "mmaudio").exists()
    bpy.ops.wm.save_as_mainfile(filepath=str(unsaved / "film.blend"))
    check_copied(addon, job, unsaved / "mmaudio", before)


def test_sounds_next_to_a_recovered_session_are_copied_too(
    addon: Any, standin: StandIn, unsaved: Path, temporary: Path
) -> None:
    """Older versions have left them there."""
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
    # Before the first create call the job has cost nothing, and nothing is left of it once its edit is gone.
    edits.until(lambda: addon.session.current.runner.job(job.id).paid)
    config = addon.page.config(bpy.context)
    addon.session.current.close(5)
    standin.set(run_seconds=RUN_SECONDS)

    # Another project with the same path and the same names of scene and strip; its strip shows other frames.
    in_blender.new_edit()
    edits.movie(unsaved, frames=40, at=(5,))
    bpy.ops.wm.save_as_mainfile(filepath=str(temporary / "quit.blend"))
    addon.resuming.file_opened(config)
    (ended,) = edits.finish(addon, [job.id])

    assert (ended.stage, ended.takes[0].file.is_file()) == ("failed", True)
    assert [part for part in edits.edit().strips if part.get("mmaudio")] == []
    assert "Insert Result" in ended.error.hint
    addon.generation.insert(ended)
    (inserted,) = edits.finish(addon, [job.id])
    assert (inserted.stage, sound_of(inserted).type) == ("done", "SOUND")


def test_a_sound_whose_clip_was_deleted_is_placed_only_in_its_own_scene(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30)
    (job,) = edits.start(addon, strip)
    bpy.context.scene.name = "renamed"
    edits.edit().strips.remove(strip)
    (done,) = edits.finish(addon, [job.id])
    assert (done.stage, "clip no longer exists" in done.note) == ("done", True)

    strip = edits.movie(project, frames=30)
    (job,) = edits.start(addon, strip)
    edits.edit().strips.remove(strip)
    del bpy.context.scene["mmaudio_scene"]
    (lost,) = edits.finish(addon, [job.id])
    assert (lost.stage, lost.error.code) == ("failed", "no_scene")


def test_no_sounds_are_copied_for_the_copy_that_the_background_render_uses(addon: Any, unsaved: Path) -> None:
    config = addon.page.config(bpy.context)
    assert addon.resuming.is_own_copy(str(config.work / "edit-1.blend"), config)
    assert not addon.resuming.is_own_copy(str(unsaved / "film.blend"), config)
