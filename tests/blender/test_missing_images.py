# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is missing matters only where it is seen. A gap in an image sequence, such as of a shot that is still being
rendered, is filled with the nearest image, and a note says so.
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

FRAMES, FLASH = 24, 8


@pytest.fixture
def sequence(addon: Any, project: Path) -> Any:
    """A strip of 24 images from frame 1 on, of which the ninth is white."""
    pictures = footage.images(project / "images", frames=FRAMES, at=(FLASH,))
    strip = edits.edit().strips.new_image(name="shot", filepath=str(pictures[0]), channel=2, frame_start=1)
    for picture in pictures[1:]:
        strip.elements.append(picture.name)
    addon.compat.set_right_handle(strip, 1 + FRAMES)
    return strip


def lose(project: Path, *numbers: int) -> None:
    """Deletes images by their numbers from 0."""
    for number in numbers:
        (project / "images" / f"{number:04}.png").unlink()


def bright(standin: StandIn, project: Path) -> list[int]:
    """The frames of the strip that are white, without those that hold its last picture."""
    return [frame for frame, mean in enumerate(sent(standin, project.name)["means"][:FRAMES]) if mean > 2 * GREY]


def generated(addon: Any, strip: Any, project: Path, **options: Any) -> Any:
    (job,) = edits.generate(addon, strip, prompt=project.name, options=options)
    return job


def check_done(job: Any, note: str) -> None:
    assert (job.stage, job.error) == ("done", None)
    assert [take.note for take in job.takes] == [note]


def missing(count: int) -> str:
    """The note on so many missing images."""
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
        # 5.2 crashes otherwise, see `compat.make_writable`.
        _ = layer.objects.active
    bpy.data.libraries.write(library, {other})
    bpy.data.scenes.remove(other)
    # The stubs know neither of the two.
    with bpy.data.libraries.load(library, link=True) as (_, wanted):  # pyright: ignore[reportGeneralTypeIssues]
        wanted.scenes = ["other edit"]
    return nested(wanted.scenes[0])


def other_edit(strip: Any) -> Any:
    """A scene whose edit has the images of the strip."""
    other: Any = bpy.data.scenes.new("other edit")
    other.render.fps, other.frame_start, other.frame_end = 24, 1, FRAMES
    inner = other.sequence_editor_create().strips.new_image(
        name="shot", filepath=f"{strip.directory}/{strip.elements[0].filename}", channel=1, frame_start=1
    )
    for element in list(strip.elements)[1:]:
        inner.elements.append(element.filename)
    setattr(inner, "duration" if bpy.app.version >= (5, 2) else "frame_final_duration", FRAMES)
    strip.name = "another"
    inner.name = "shot"
    return other


def nested(other: Any) -> Any:
    """A strip that shows the scene's edit."""
    shown = edits.edit().strips.new_scene(name="nested", scene=other, channel=6, frame_start=1)
    shown.scene_input = "SEQUENCER"
    return shown


@pytest.mark.parametrize(
    ("place", "lost", "white"),
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
    lost: list[int],
    white: list[int],
    addon: Any,
    standin: StandIn,
    project: Path,
    sequence: Any,
) -> None:
    shown = place(sequence)
    lose(project, *lost)

    job = generated(addon, shown, project)

    check_done(job, missing(len(lost)))
    assert bright(standin, project) == white


def test_a_gap_is_filled_in_the_timeline_as_it_is_seen(addon: Any, standin: StandIn, project: Path, sequence: Any) -> None:
    above = edits.effect("TEXT", channel=4, frames=FRAMES)
    lose(project, 9)
    job = generated(addon, above, project, source=addon.request.Source.TIMELINE)
    check_done(job, missing(1))
    assert bright(standin, project) == [8, 9]


def test_images_beyond_the_handles_may_be_missing(addon: Any, standin: StandIn, project: Path, sequence: Any) -> None:
    addon.compat.set_handles(sequence, 5, 15)
    lose(project, *range(4), *range(14, FRAMES))

    job = generated(addon, sequence, project)

    check_done(job, "")
    assert sent(standin, project.name)["flashes"] == [pytest.approx(4 / 24)]


def test_an_image_that_is_held_is_seen(addon: Any, standin: StandIn, project: Path, sequence: Any) -> None:
    # Its handles are apart from its images: the last one is all that it shows.
    addon.compat.set_right_handle(sequence, 60)
    addon.compat.set_handles(sequence, 30, 60)
    lose(project, *range(FRAMES - 1))
    check_done(generated(addon, sequence, project), "")

    lose(project, FRAMES - 1)
    (job,) = edits.generate(addon, sequence)
    assert job.error.code == "missing_file" and "0023.png" in job.error.message


def test_an_effect_that_shows_images_beyond_the_handles_finds_them(
    addon: Any, standin: StandIn, project: Path, sequence: Any
) -> None:
    """Blender 4.5 would crash."""
    addon.compat.set_right_handle(sequence, 13)
    edits.effect("SPEED", sequence, channel=5)
    lose(project, *range(14, 20))
    check_done(generated(addon, sequence, project), "")


def test_a_sequence_none_of_whose_seen_images_is_there_is_refused(
    addon: Any, standin: StandIn, project: Path, sequence: Any
) -> None:
    addon.compat.set_handles(sequence, 5, 15)
    lose(project, *range(4, 14))
    asked = len(standin.requests())

    (job,) = edits.generate(addon, sequence)

    assert job.error.code == "missing_file"
    assert "“shot”" in job.error.message and "0004.png" in job.error.message
    assert len(standin.requests()) == asked


def test_an_image_that_is_there_and_cannot_be_decoded_is_refused_all_the_same(
    addon: Any, standin: StandIn, project: Path, sequence: Any
) -> None:
    lose(project, 10)
    (project / "images" / "0009.png").write_bytes(b"")
    (job,) = edits.generate(addon, sequence)
    assert job.error.code == "undecodable" and "0009.png" in job.error.message


@pytest.mark.parametrize("unseen", ["cut off", "muted", "in a muted channel"])
def test_a_missing_strip_that_its_meta_strip_does_not_show_does_not_matter(
    unseen: str, addon: Any, standin: StandIn, project: Path
) -> None:
    strip = edits.movie(project, frames=24, at=(8,), start=1)
    lost = edits.movie(project, frames=24, at=(), channel=5, start=25 if unseen == "cut off" else 1)
    meta = edits.make_meta(strip, lost)
    if unseen == "cut off":
        addon.compat.set_right_handle(meta, 25)
    elif unseen == "muted":
        lost.mute = True
    else:
        meta.channels[lost.channel].mute = True
    Path(bpy.path.abspath(lost.filepath)).unlink()

    job = generated(addon, meta, project)

    check_done(job, "")
    assert sent(standin, project.name)["flashes"] == [pytest.approx(8 / 24)]
