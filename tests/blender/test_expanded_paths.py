# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests with names that Blender could expand, of the user's folder, the project, the media, the strip and the results."""

from pathlib import Path
from typing import Any

import bpy
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits
from .test_hostile_names import as_file, files
from .test_resume import Blenders
from .test_simulations import cloth, new_shot

# Without a backslash: except on Windows, Blender itself can't open movies or write libraries in such a folder.
TEMPLATES, ESCAPED = "{x} {blend_name}", "{{x}} } {"
OTHERS = "a##b #### %d %04d %s $HOME ${HOME} ~ <UDIM> 'one' \"two\" \u00e9 e\u0301 `x` ;&|"
ALL = f"{TEMPLATES} {ESCAPED} {OTHERS}"


@pytest.mark.parametrize(
    ("name", "with_baked_cloth"),
    [
        pytest.param(TEMPLATES, False, id="templates"),
        pytest.param(ESCAPED, False, id="escaped braces"),
        pytest.param(OTHERS, False, id="others"),
        pytest.param(ALL, True, id="all, the whole project", marks=pytest.mark.version_dependent),
    ],
)
def test_a_job_succeeds_whatever_its_folders_are_called(
    *,
    name: str,
    with_baked_cloth: bool,
    addon: Any,
    standin: StandIn,
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    folder = project / as_file(name)
    folder.mkdir()
    blend = folder / f"{as_file(name)}.blend"
    strips = media_strips(folder, name)
    if with_baked_cloth:
        # A point cache in memory is lost in the small copy, so the add-on copies the whole project.
        shot = new_shot()
        cloth(shot, 0, disk=False)
        strips.append(edits.edit().strips.new_scene(name=f"shot {name}", scene=shot, channel=6, frame_start=1))
    called = [strip.name for strip in strips]
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    user = tmp_path_factory.mktemp("user") / as_file(name)
    user.mkdir()
    before, runs = files(project), len(standin.state()["runs"])

    blenders = Blenders(user, standin, blend)
    chosen = [argument for strip in called for argument in ("--strip", strip)]
    jobs = blenders.command("generate", *chosen, "--save")["jobs"]

    assert [(job["strip"], job["state"], job["error"]) for job in jobs] == [(strip, "done", None) for strip in called]
    made = files(project) - before
    assert {path.parent for path in made} == {folder / "mmaudio"} and len(made) == len(called)
    assert {path.name for path in user.parent.iterdir()} == {user.name}
    clips = [run["clip"] for run in standin.state()["runs"][runs:]]
    assert len(clips) == len(called)
    assert [clip["flashes"] for clip in clips if clip["flashes"]] == [[pytest.approx(8 / 24)]] * 3
    # Longer than the strip: the last frame is held, which uses another file.
    assert {clip["frames"] for clip in clips} == {31}
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    sounds = [strip for strip in edits.edit().strips if strip.get("mmaudio")]
    assert {Path(bpy.path.abspath(sound.sound.filepath)).resolve() for sound in sounds} == made


def media_strips(folder: Path, name: str) -> list[Any]:
    """Add a movie, an image sequence and a movie clip of 24 frames each, with files in this folder."""
    new = edits.edit().strips
    movie = edits.movie(folder, frames=24, at=(8,), channel=1, start=1, size=(320, 180))
    pictures = footage.images(folder / "images", frames=24, at=(8,))
    images = edits.image_strip(pictures, name=f"images {name}", channel=3, frames=24)
    clip_file = footage.flashes(folder / "clip of the editor.mp4", frames=24, at=(8,), size=(320, 180))
    clip = new.new_clip(name=f"clip {name}", clip=bpy.data.movieclips.load(str(clip_file)), channel=4, frame_start=1)
    movie.name = name
    return [movie, images, clip]
