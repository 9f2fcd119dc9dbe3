# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of media that Blender can't decode, for which it would show a color: the job fails before anything is sent.

Also if they are nested: in meta strips, effects, other edits and movie clips.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><title>Sign in</title>" * 50)


def without_its_end(path: Path) -> None:
    """Truncate a plain mp4 file, whose index is at its end."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_its_end_but_with_its_index(path: Path) -> None:
    """Truncate an mp4 file for the web, which starts with its index and can be opened nevertheless."""
    remuxed = path.with_name("again.mp4")
    footage.remux(path, remuxed, {"movflags": "faststart"})
    path.write_bytes(remuxed.read_bytes()[: path.stat().st_size // 2])


def matroska_without_its_end(path: Path) -> None:
    remuxed = path.with_name("again.mkv")
    footage.remux(path, remuxed)
    path.write_bytes(remuxed.read_bytes()[: path.stat().st_size // 2])


def shorter(path: Path) -> None:
    path.unlink()
    footage.flashes(path, frames=12, at=(4,))


def zeroed_inside(path: Path) -> None:
    """Zero a quarter of the file, as a download that reserves its space and is then aborted."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - len(data) // 2)
    path.write_bytes(data)


BROKEN = [emptied, web_page, without_its_end, without_its_end_but_with_its_index, matroska_without_its_end, shorter]


def alone(strip: Any) -> Any:
    return strip


def in_a_meta_strip(strip: Any) -> Any:
    return edits.make_meta(strip)


def under_an_effect(strip: Any) -> Any:
    return edits.effect("GLOW", strip, channel=5)


def in_another_edit(strip: Any) -> Any:
    other: Any = bpy.data.scenes.new("other edit")
    other.render.fps, other.frame_start, other.frame_end = 24, 1, 30
    path = bpy.path.abspath(strip.filepath)
    other.sequence_editor_create().strips.new_movie(name="inner", filepath=path, channel=1, frame_start=1)
    shown = edits.edit().strips.new_scene(name="nested", scene=other, channel=6, frame_start=1)
    shown.scene_input = "SEQUENCER"
    return shown


def in_a_movie_clip(strip: Any) -> Any:
    clip = bpy.data.movieclips.load(bpy.path.abspath(strip.filepath))
    return edits.edit().strips.new_clip(name="movie clip", clip=clip, channel=7, frame_start=1)


def refused(addon: Any, standin: StandIn, strip: Any) -> Any:
    """Run a job that must fail before it sends anything; return its error."""
    before = len(standin.requests())
    (job,) = edits.generate(addon, strip)
    assert len(standin.requests()) == before
    assert job.stage == "failed"
    return job.error


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_movie_that_cannot_be_decoded_is_rejected(
    spoil: Callable[[Path], None], addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=30, at=(10,), start=1)
    spoil(Path(strip.filepath))

    error = refused(addon, standin, strip)

    assert error.code == "undecodable"
    assert "“clip”" in error.message and Path(strip.filepath).name in error.message and error.hint


@pytest.mark.parametrize("place", [in_a_meta_strip, under_an_effect, in_another_edit, in_a_movie_clip])
def test_a_nested_movie_that_cannot_be_decoded_is_rejected(
    place: Callable[[Any], Any], addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=30, at=(10,), start=1)
    path = Path(strip.filepath)
    shown = place(strip)
    emptied(path)

    error = refused(addon, standin, shown)

    assert (error.code, path.name in error.message) == ("undecodable", True)


def test_a_movie_clip_whose_file_is_missing_is_rejected(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=30, start=1)
    shown = in_a_movie_clip(strip)
    Path(strip.filepath).unlink()
    assert refused(addon, standin, shown).code == "missing_file"


@pytest.mark.parametrize("spoil", [emptied, web_page, without_its_end, zeroed_inside])
def test_an_image_of_a_sequence_that_cannot_be_decoded_is_rejected_if_it_is_visible(
    spoil: Callable[[Path], None], addon: Any, standin: StandIn, project: Path
) -> None:
    pictures = footage.images(project / "images", frames=24, at=(3,))
    strip = edits.image_strip(pictures, name="images", channel=2, frames=24)
    spoil(pictures[20])
    assert refused(addon, standin, strip).code == "undecodable"

    # Trimmed, the strip doesn't show that image.
    addon.compat.set_right_handle(strip, 19)
    (job,) = edits.generate(addon, strip)
    assert job.error is None


@pytest.mark.parametrize("spoil", [emptied, zeroed_inside])
def test_an_image_of_a_movie_clip_that_cannot_be_decoded_is_rejected(
    spoil: Callable[[Path], None], addon: Any, standin: StandIn, project: Path
) -> None:
    pictures = footage.images(project / "images", frames=24, at=(3,))
    clip = bpy.data.movieclips.load(str(pictures[0]))
    assert clip.source == "SEQUENCE"
    strip = edits.edit().strips.new_clip(name="movie clip", clip=clip, channel=2, frame_start=1)
    addon.compat.set_right_handle(strip, 25)
    spoil(pictures[20])
    error = refused(addon, standin, strip)
    assert (error.code, pictures[20].name in error.message) == ("undecodable", True)


def test_a_truncated_movie_is_accepted_if_the_visible_part_is_complete(addon: Any, standin: StandIn, project: Path) -> None:
    strip = edits.movie(project, frames=96, at=(4,), start=1)
    path = Path(strip.filepath)
    whole = path.with_name("whole.mp4")
    footage.remux(path, whole, {"movflags": "faststart"})
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    addon.compat.set_right_handle(strip, 11)
    (job,) = edits.generate(addon, strip)
    assert job.error is None


@pytest.mark.parametrize("color", [(255, 0, 255), (250, 0, 250)])
def test_footage_may_have_the_color_of_the_placeholder(
    color: tuple[int, int, int], addon: Any, standin: StandIn, project: Path
) -> None:
    path = footage.plain(project / "magenta.mp4", frames=30, color=color)
    strip = edits.edit().strips.new_movie(name="magenta", filepath=str(path), channel=2, frame_start=1)
    (job,) = edits.generate(addon, strip)
    assert job.error is None


@pytest.mark.parametrize(
    "name", ["variable rate.mp4", "start time.ts", "longer sound.mp4", "hevc.mp4", "prores.mov", "vp9.webm", "one frame.mp4"]
)
def test_unusual_footage_is_accepted(name: str, addon: Any, standin: StandIn, project: Path) -> None:
    path = footage.unusual(project / name)
    strip = edits.add_movie(path, channel=2, start=1)
    (job,) = edits.generate(addon, strip)
    assert job.error is None
