# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the background Blender that renders many clips: each as if it were the first, and never without a parent."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from scripts import toolchain
from tests import footage
from tests.processes import is_alive

from . import edits

pytestmark = pytest.mark.version_dependent


def order(addon: Any, blend: Path, strip: Any, output: Path, **changes: Any) -> Any:
    values = {
        "blend": str(blend),
        "scene": bpy.context.scene.name,
        "whole_project": False,
        "strip": strip.name,
        "strip_first": addon.compat.left_handle(strip),
        "strip_frames": addon.compat.right_handle(strip) - addon.compat.left_handle(strip),
        "first": 0,
        "frames": 20,
        "output": str(output),
        "short_side_max": 384,
        "long_side_max": 1536,
        "whole_edit": False,
        "scenes_as_they_are": False,
        "lead": 0,
        "tail": 0,
        "export": output.stem,
    }
    return addon.export.RenderOrder(**(values | changes))


def snapshot(addon: Any, folder: Path) -> dict[str, Any]:
    written = addon.snapshot.write(bpy.context.scene, None, folder / "edit.blend")
    return {"scene": written.scene, "whole_project": written.whole_project}


def render(addon: Any, exporter: Any, orders: list[Any]) -> None:
    for one in orders:
        list(exporter.export([one], addon.config.render_command(), 1, lambda: None))


def mixed_edit(addon: Any, folder: Path) -> list[Any]:
    """Make strips of many kinds, whose clips last longer than the strips or begin later."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = 320, 180
    movie = edits.movie(folder, frames=30, at=(10,), channel=2, start=1, size=(320, 180))
    keyed = edits.movie(folder, frames=16, at=(3,), channel=4, start=5, size=(320, 180))
    for frame, brightness in ((5, 0.2), (20, 2.0)):
        keyed.color_multiply = brightness
        keyed.keyframe_insert("color_multiply", frame=frame)
    color = edits.effect("COLOR", channel=6, start=-20, frames=40, name="color")
    color.color = (0.8, 0.3, 0.1)
    faint = edits.movie(folder, frames=30, at=(12,), channel=8, start=40, size=(320, 180))
    faint.blend_alpha = 0.4
    meta = edits.make_meta(edits.movie(folder, frames=30, at=(5,), channel=10, start=80, size=(320, 180)))
    world: Any = bpy.data.scenes.new("3D")
    world.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    world.collection.objects.link(world.camera)
    scene_strip = edits.edit().strips.new_scene(name="3D", scene=world, channel=12, frame_start=120)
    # Workbench is slow without a graphics card, and nothing else is in its range.
    addon.compat.set_right_handle(scene_strip, 124)
    title = edits.effect("TEXT", channel=14, start=10, frames=18, name="title")
    title.text = "Rain"
    return [movie, keyed, color, faint, meta, scene_strip, title]


def clip_bytes(one: Any) -> bytes:
    """Return the content of the file without the time at which it was made."""
    content, count = re.subn(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", b"", Path(one.output).read_bytes())
    assert count == 1
    return content


def test_a_clip_that_is_rendered_last_equals_one_that_is_rendered_first(addon: Any, project: Path) -> None:
    strips = mixed_edit(addon, project)
    common = snapshot(addon, project)
    whole = [{"whole_edit": edit} for edit in (False, True)]

    def orders(folder: str) -> list[Any]:
        (project / folder).mkdir()
        return [
            order(addon, project / "edit.blend", strip, project / folder / f"{strip.name} {number}.mp4", **common, **changes)
            for strip in strips
            for number, changes in enumerate(whole)
        ]

    together, reverse = orders("together"), orders("reverse")
    for chosen in (together, reversed(reverse)):
        exporter = addon.export.Exporter()
        render(addon, exporter, list(chosen))
        exporter.close()

    for one, other in zip(together, reverse, strict=True):
        assert clip_bytes(one) == clip_bytes(other), one.output
    assert len({clip_bytes(one) for one in together if not one.whole_edit}) == len(strips)


def test_a_file_that_is_replaced_between_two_clips_is_read_again(addon: Any, project: Path) -> None:
    strip = edits.movie(project, frames=20, at=(), start=1, size=(320, 180))
    common = snapshot(addon, project)
    exporter = addon.export.Exporter()

    def clip(name: str) -> dict[str, Any]:
        output = project / f"{name}.mp4"
        render(addon, exporter, [order(addon, project / "edit.blend", strip, output, **common)])
        return footage.describe(output)

    assert clip("before")["flashes"] == []
    source = Path(bpy.path.abspath(strip.filepath))
    footage.flashes(source, frames=20, at=(7,), size=(320, 180))
    assert len(clip("replaced")["flashes"]) == 1
    source.write_bytes(b"not a movie")
    with pytest.raises(Exception, match="can't be decoded"):
        clip("damaged")
    footage.flashes(source, frames=20, at=(), size=(320, 180))
    assert clip("repaired")["flashes"] == []
    exporter.close()


def test_the_clip_of_real_footage_looks_like_a_render_at_best_quality(
    addon: Any, project: Path, record_property: Callable[[str, object], None]
) -> None:
    scene = bpy.context.scene
    scene.render.fps = 25
    source = toolchain.footage()
    strip = edits.edit().strips.new_movie(name="bunny", filepath=str(source), channel=1, frame_start=1, fit_method="FIT")
    common = snapshot(addon, project)
    output, frames = project / "clip.mp4", 60
    exporter = addon.export.Exporter()
    render(addon, exporter, [order(addon, project / "edit.blend", strip, output, **common, frames=frames)])
    exporter.close()

    scene.view_settings.view_transform = "Standard"
    scene.frame_start, scene.frame_end = 1, frames
    scene.render.image_settings.file_format, scene.render.resolution_percentage = "PNG", 100
    scene.render.filepath = str(project / "best ")
    bpy.ops.render.render(animation=True)
    ratios = footage.psnr(output, sorted(project.glob("best *.png")))
    record_property("clip against a render at best quality, lowest PSNR in dB", f"{min(ratios):.1f}")
    assert len(ratios) == frames and min(ratios) >= 35


def moving(folder: Path, channel: int) -> Any:
    """Add footage that flashes again and again, from frame 1 to 61, of which frames 11 to 30 are shown."""
    flashes = tuple(range(0, 60, 3))
    return edits.movie(folder, frames=60, at=flashes, channel=channel, start=1, size=(320, 180))


def trimmed(addon: Any, strip: Any) -> Any:
    addon.compat.set_handles(strip, 11, 31)
    return strip


def reversed_movie(addon: Any, folder: Path) -> Any:
    strip = moving(folder, 2)
    strip.use_reverse_frames = True
    return trimmed(addon, strip)


def transition(kind: str) -> Callable[[Any, Path], Any]:
    def make(addon: Any, folder: Path) -> Any:
        below, above = trimmed(addon, moving(folder, 2)), trimmed(addon, moving(folder, 4))
        return edits.effect(kind, below, above, channel=6, start=11, frames=20)

    return make


def multicam(addon: Any, folder: Path) -> Any:
    moving(folder, 2)
    strip = edits.effect("MULTICAM", channel=4, start=11, frames=20)
    strip.multicam_source = 2
    return strip


def speed(addon: Any, folder: Path) -> Any:
    strip = edits.effect("SPEED", trimmed(addon, moving(folder, 2)), channel=4, start=11, frames=20)
    strip.speed_control, strip.speed_factor = "MULTIPLY", 0.5
    return strip


def meta_within_a_cut(addon: Any, folder: Path) -> Any:
    return trimmed(addon, edits.make_meta(moving(folder, 2)))


def faded(addon: Any, folder: Path) -> Any:
    strip = trimmed(addon, moving(folder, 2))
    for frame, alpha in ((11, 0.0), (50, 1.0)):
        strip.blend_alpha = alpha
        strip.keyframe_insert("blend_alpha", frame=frame)
    return strip


HELD = {
    "movie": lambda addon, folder: trimmed(addon, moving(folder, 2)),
    "reversed": reversed_movie,
    "cross": transition("CROSS"),
    "wipe": transition("WIPE"),
    "multicam": multicam,
    "speed": speed,
    "meta": meta_within_a_cut,
    "keyframes": faded,
}


@pytest.mark.parametrize("whole_edit", [False, True])
@pytest.mark.parametrize("kind", HELD)
def test_nothing_moves_in_the_frames_beyond_the_strip(kind: str, addon: Any, project: Path, *, whole_edit: bool) -> None:
    strip = HELD[kind](addon, project)
    common = snapshot(addon, project) | {"whole_edit": whole_edit}
    output = project / "clip.mp4"
    exporter = addon.export.Exporter()
    render(addon, exporter, [order(addon, project / "edit.blend", strip, output, **common, frames=32)])
    exporter.close()

    motion = footage.describe(output)["motion"]
    assert len(motion) == 32 and max(motion[20:]) < 2.0 < max(motion[:20]), motion


_PARENT = """
import json, sys, threading
sys.path.insert(0, {root!r})
import tests.addon_package
from addon.media.export import Exporter, RenderOrder
for exported in Exporter().export([RenderOrder(**json.loads({order!r}))], {command!r}, 1, lambda: None):
    print(exported.frames, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends the process by other means, see windows_job.py")
def test_a_render_ends_with_its_parent(addon: Any, project: Path) -> None:
    strip = edits.movie(project, frames=96, start=1)
    common = snapshot(addon, project)
    output = project / "clip.mp4"
    long = order(addon, project / "edit.blend", strip, output, **common, frames=2000)
    code = _PARENT.format(
        root=str(Path(__file__).parents[2]), order=json.dumps(vars(long)), command=addon.config.render_command()
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        while int(parent.stdout.readline()) < 20:
            pass
        (child,) = (int(line) for line in _children(parent.pid))
        parent.send_signal(signal.SIGKILL)
    edits.until(lambda: not is_alive(child), 10)
    assert not output.exists()


def _children(process: int) -> list[str]:
    return subprocess.run(["pgrep", "-P", str(process)], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
