# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests with missing files, which matter only if they are visible. A gap in an image sequence, such as of a shot that is
still being rendered, is filled with the nearest image, and a note reports it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits
from .test_clip import GREY, sent

pytestmark = pytest.mark.version_dependent

FRAMES, FLASH = 24, 8


@pytest.fixture
def sequence(addon: Any, project: Path) -> Any:
    """Strip of 24 images from frame 1 on; the ninth is white."""
    pictures = footage.images(project / "images", frames=FRAMES, at=(FLASH,))
    return edits.image_strip(pictures, name="shot", channel=2, frames=FRAMES)


def delete_images(project: Path, *numbers: int) -> None:
    """Delete images by their numbers, from 0."""
    for number in numbers:
        (project / "images" / f"{number:04}.png").unlink()


def bright(standin: StandIn, project: Path) -> list[int]:
    """Return the white frames of the strip's clip, without the held ones at its end."""
    return [frame for frame, mean in enumerate(sent(standin, project.name)["means"][:FRAMES]) if mean > 2 * GREY]


def generated(addon: Any, strip: Any, project: Path, **options: Any) -> Any:
    (job,) = edits.generate(addon, strip, prompt=project.name, options=options)
    return job


def check_done(job: Any, note: str) -> None:
    assert (job.stage, job.error) == ("done", None)
    assert [take.note for take in job.takes] == [note]


def missing(count: int) -> str:
    """Return the note about this many missing images."""
    if count == 1:
        return "1 image of “shot” was missing; the nearest one was shown in its place."
    return f"{count} images of “shot” were missing; the nearest ones were shown in their place."


def alone(strip: Any) -> Any:
    return strip


def in_a_meta_strip(strip: Any) -> Any:
    return edits.make_meta(strip)


def under_an_effect(strip: Any) -> Any:
    edits.effect("GLOW", strip, channel=5)
    return strip


def in_another_edit(strip: Any) -> Any:
    return nested(other_edit(strip))


def in_a_linked_edit(strip: Any) -> Any:
    other = other_edit(strip)
    library = str(Path(bpy.data.filepath).with_name("library.blend"))
    for layer in other.view_layers:
        # Prevents a crash of 5.2; see `compat.make_writable`.
        _ = layer.objects.active
    bpy.data.libraries.write(library, {other})
    bpy.data.scenes.remove(other)
    # The stubs lack both.
    with bpy.data.libraries.load(library, link=True) as (_, wanted):  # pyright: ignore[reportGeneralTypeIssues]
        wanted.scenes = ["other edit"]
    return nested(wanted.scenes[0])


def other_edit(strip: Any) -> Any:
    """Return a new scene whose edit contains the images of the strip."""
    other: Any = bpy.data.scenes.new("other edit")
    other.render.fps, other.frame_start, other.frame_end = 24, 1, FRAMES
    other.sequence_editor_create()
    files = [Path(strip.directory) / element.filename for element in strip.elements]
    inner = edits.image_strip(files, name="shot", channel=1, frames=FRAMES, into=other)
    strip.name = "another"
    inner.name = "shot"
    return other


def nested(other: Any) -> Any:
    """Return a scene strip that shows the scene's edit."""
    shown = edits.edit().strips.new_scene(name="nested", scene=other, channel=6, frame_start=1)
    shown.scene_input = "SEQUENCER"
    return shown


@pytest.mark.parametrize(
    ("place", "deleted", "white"),
    [
        (alone, [12], [8]),
        (alone, [22, 23], [8]),
        (alone, [*range(8)], [*range(9)]),
        (alone, [9, 10], [8, 9, 10]),
        (in_a_meta_strip, [9, 10], [8, 9, 10]),
        (under_an_effect, [9, 10], [8, 9, 10]),
        (in_another_edit, [9, 10], [8, 9, 10]),
        (in_a_linked_edit, [9, 10], [8, 9, 10]),
    ],
)
def test_a_gap_is_filled_with_the_nearest_image(
    *,
    place: Callable[[Any], Any],
    deleted: list[int],
    white: list[int],
    addon: Any,
    standin: StandIn,
    project: Path,
    sequence: Any,
) -> None:
    shown = place(sequence)
    delete_images(project, *deleted)

    job = generated(addon, shown, project)

    check_done(job, missing(len(deleted)))
    assert bright(standin, project) == white


def test_a_gap_is_filled_if_the_whole_timeline_is_rendered(
    addon: Any, standin: StandIn, project: Path, sequence: Any
) -> None:
    above = edits.effect("TEXT", channel=4, frames=FRAMES)
    delete_images(project, 9)
    job = generated(addon, above, project, source=addon.request.Source.TIMELINE)
    check_done(job, missing(1))
    assert bright(standin, project) == [8, 9]


def test_images_beyond_the_handles_may_be_missing(addon: Any, standin: StandIn, project: Path, sequence: Any) -> None:
    addon.compat.set_handles(sequence, 5, 15)
    delete_images(project, *range(4), *range(14, FRAMES))

    job = generated(addon, sequence, project)

    check_done(job, "")
    # In the sound's handle the first visible image is held.
    assert job.request.lead == 4
    assert sent(standin, project.name)["flashes"] == [pytest.approx((4 + 4) / 24)]


def test_an_image_that_is_held_is_visible(addon: Any, standin: StandIn, project: Path, sequence: Any) -> None:
    # Both handles are beyond its images: it shows only the last one.
    addon.compat.set_right_handle(sequence, 60)
    addon.compat.set_handles(sequence, 30, 60)
    delete_images(project, *range(FRAMES - 1))
    check_done(generated(addon, sequence, project), "")

    delete_images(project, FRAMES - 1)
    (job,) = edits.generate(addon, sequence)
    assert job.error.code == "missing_file" and "0023.png" in job.error.message


def test_missing_images_beyond_the_handles_that_an_effect_shows_are_filled_in(
    addon: Any, standin: StandIn, project: Path, sequence: Any
) -> None:
    """Blender 4.5 crashes if one is missing."""
    addon.compat.set_right_handle(sequence, 13)
    speed = edits.effect("SPEED", sequence, channel=5)
    speed.speed_control, speed.speed_factor = "MULTIPLY", 2.0
    delete_images(project, *range(14, 20))
    check_done(generated(addon, sequence, project), "")


def test_a_sequence_without_any_of_its_visible_images_is_rejected(
    addon: Any, standin: StandIn, project: Path, sequence: Any
) -> None:
    addon.compat.set_handles(sequence, 5, 15)
    delete_images(project, *range(4, 14))
    requests_before = len(standin.requests())

    (job,) = edits.generate(addon, sequence)

    assert job.error.code == "missing_file"
    assert "“shot”" in job.error.message and "0004.png" in job.error.message
    assert len(standin.requests()) == requests_before


def test_an_existing_image_that_cannot_be_decoded_is_rejected(
    addon: Any, standin: StandIn, project: Path, sequence: Any
) -> None:
    delete_images(project, 10)
    (project / "images" / "0009.png").write_bytes(b"")
    (job,) = edits.generate(addon, sequence)
    assert job.error.code == "undecodable" and "0009.png" in job.error.message


@pytest.mark.parametrize("reason", ["cut off", "muted", "in a muted channel"])
def test_a_missing_strip_that_its_meta_strip_does_not_show_does_not_matter(
    reason: str, addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=24, at=(8,), start=1)
    hidden = edits.movie(project, frames=24, at=(), channel=5, start=25 if reason == "cut off" else 1)
    meta = edits.make_meta(strip, hidden)
    if reason == "cut off":
        addon.compat.set_right_handle(meta, 25)
    elif reason == "muted":
        hidden.mute = True
    else:
        meta.channels[hidden.channel].mute = True
    Path(bpy.path.abspath(hidden.filepath)).unlink()

    job = generated(addon, meta, project)

    check_done(job, "")
    assert sent(standin, project.name)["flashes"] == [pytest.approx(8 / 24)]
