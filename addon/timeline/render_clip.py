# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering of small clips of a strip, or of the edit in its range. A script that runs inside the background Blender:

    blender --background --factory-startup --python render_clip.py

Each line of the standard input is a `RenderOrder` of `export.py` as JSON. At the end of each, the script prints "mmaudio "
and a JSON object on a line. That of a clip has `notes`, what the user should know of it, and `memory_mb`. Otherwise one of
these says what is wrong with which file: `missing`; `unreadable`, with the `errno` and `winerror` of the system;
`undecodable`, since Blender would render a color in its place; or any other `error`. It ends when its input is closed.
"""

import json
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy


def _create_package() -> str:
    """Register the folder of this script as a package, and return the package's name.

    Blender runs the script outside any package, and the add-on itself isn't installed in the background Blender. Relative
    imports need a package (PEP 366).
    """
    package = ModuleType("mmaudio_timeline")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules[package.__name__] = package
    return package.__name__


if not __package__:
    __package__ = _create_package()

from . import (  # noqa: E402
    clip_meta,
    compat,
    decodable,
    freeze_frame,
    isolate,
    media_files,
    peak_memory,
    render_settings,
    simulations,
)

_CACHE_MB = 128
"""Each frame is rendered once, so Blender's cache of up to 4 GB would never be used."""


class Snapshot:
    """An opened snapshot, which orders leave as it is."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._opened_for = _key(order)
        self.scene = _open(order["blend"], order["scene"], order["whole_project"])
        if not order["scenes_as_they_are"]:
            render_settings.use_workbench()
        bpy.context.preferences.system.memory_cache_limit = _CACHE_MB
        self._checked_export = ""
        self.has_handles = True
        self._gaps_filled = False

    def serves(self, order: dict[str, Any]) -> bool:
        """Whether the order can be rendered from it, with the same result as from a snapshot opened anew."""
        is_complete = not self._gaps_filled or self._checked_export == order["export"]
        return self._opened_for == _key(order) and is_complete and not simulations.may_change_frames()

    def check_media(self, order: dict[str, Any]) -> list[str]:
        """Fill gaps in image sequences, and return notes on them.

        Raises MissingFile, UnreadableFile, Undecodable for what Blender can't show. Beyond the strip's handles none of these
        matters: `has_handles` tells whether all media are there too.
        """
        if self._checked_export == order["export"]:
            return []
        textures = order["scenes_as_they_are"]
        shown = _dependencies(self.scene, order, _scored(order))
        self.has_handles = _is_complete(shown, textures=textures)
        if not self.has_handles:
            shown = _dependencies(self.scene, order, _visible(order))
            media_files.check(shown)
        # Also images that an effect shows beyond the handles.
        notes = media_files.fill_gaps(shown)
        if not self.has_handles:
            decodable.check(shown, textures=textures)
        # For the next export the missing images may be there.
        self._gaps_filled = bool(notes)
        self._checked_export = order["export"]
        return notes

    @contextmanager
    def copy(self) -> Generator[Any]:
        """A copy of the scene, which may be changed."""
        scene: Any = self.scene.copy()
        action = _use_own_action(scene)
        try:
            yield scene
        finally:
            bpy.data.scenes.remove(scene)
            if action is not None:
                bpy.data.actions.remove(action)


def _use_own_action(scene: Any) -> Any:
    """Give the scene a copy of its action, since strips that are moved take their keyframes along. Return the copy."""
    animation = scene.animation_data
    if animation is None or animation.action is None:
        return None
    slot = animation.action_slot
    animation.action = animation.action.copy()
    if slot is not None:
        animation.action_slot = animation.action.slots[slot.identifier]
    return animation.action


def _key(order: dict[str, Any]) -> tuple[Any, ...]:
    return (order["blend"], order["scene"], order["scenes_as_they_are"])


def _open(blend: str, name: str, whole_project: bool) -> Any:
    """Open the edit and return its scene. From a copy of the whole project, load only what the scene needs."""
    if whole_project:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        # The type stubs declare that it returns None.
        with bpy.data.libraries.load(blend, link=False) as (_, wanted):  # pyright: ignore[reportGeneralTypeIssues]
            wanted.scenes = [name]
        scene = wanted.scenes[0]
    else:
        bpy.ops.wm.open_mainfile(filepath=blend, load_ui=False, use_scripts=False)
        scene = bpy.data.scenes[name]
    simulations.restore(scene, Path(blend))
    return scene


def render(snapshot: Snapshot, order: dict[str, Any]) -> list[str]:
    """Render an order to its file, and return notes for the user."""
    notes = snapshot.check_media(order)
    shown = _scored(order) if snapshot.has_handles else _visible(order)
    dependencies = _dependencies(snapshot.scene, order, shown)
    with snapshot.copy() as scene:
        make_meta = clip_meta.of_edit if order["whole_edit"] else clip_meta.of_strip
        meta = make_meta(scene, order["strip"], *shown)
        # Beyond what it shows, the meta strip holds its first and its last frame.
        strip_first = clip_meta.show_range(scene.sequence_editor, meta, order["strip_first"], order["strip_frames"])
        render_settings.set_picture(scene.render, order["short_side_max"], order["long_side_max"])
        render_settings.set_colors(scene, dependencies)
        render_settings.scale_smoothly(scene)
        render_settings.scale_nested_edits(scene.render.resolution_percentage)
        scene.frame_step = 1
        with _named_when_complete(order) as (video, still):
            strip_end, first = strip_first + order["strip_frames"], strip_first + order["first"]
            until = first + order["frames"]
            if until > strip_end:
                parts = [part for part, _, _ in dependencies]
                freeze_frame.hold_last_frame(scene, meta, parts, end=strip_end, until=until, still=still)
            _render_range(scene, first, order["frames"], video)
    return notes


def _scored(order: dict[str, Any]) -> tuple[int, int]:
    """Return the first of the frames that are scored, and the frame after the last."""
    return order["strip_first"], order["strip_first"] + order["strip_frames"]


def _visible(order: dict[str, Any]) -> tuple[int, int]:
    """Return the first of the scored frames between the strip's handles, and the frame after the last."""
    first, end = _scored(order)
    return first + order["lead"], end - order["tail"]


def _dependencies(scene: Any, order: dict[str, Any], shown: tuple[int, int]) -> list[isolate.StripRange]:
    edit, (first, end) = scene.sequence_editor, shown
    if not order["whole_edit"]:
        return list(isolate.dependencies(edit.strips_all[order["strip"]], first, end))
    ranges = [(strip, *isolate.frame_range(strip)) for strip in isolate.visible_strips(edit, first, end)]
    return [part for strip, left, right in ranges for part in isolate.dependencies(strip, max(first, left), min(end, right))]


def _is_complete(dependencies: list[isolate.StripRange], *, textures: bool) -> bool:
    """Return whether Blender can show all of the media."""
    try:
        media_files.check(dependencies, with_gaps=False)
        decodable.check(dependencies, textures=textures)
    except (media_files.MissingFile, media_files.UnreadableFile, decodable.Undecodable):
        return False
    return True


@contextmanager
def _named_when_complete(order: dict[str, Any]) -> Generator[tuple[Path, Path]]:
    """Yield the paths for the video and for a still. The video gets its own name at the end, and nothing else is left."""
    output = Path(order["output"])
    # A render whose parent Blender was killed a moment ago may still be writing its own files.
    temporary = f"{output.name}.{order['export']}"
    part, still = output.with_name(f"{temporary}.part"), output.with_name(f"{temporary}.still")
    try:
        yield part, still
        part.replace(output)
    finally:
        for file in output.parent.glob(f"{temporary}.*"):
            file.unlink()


def _render_range(scene: Any, first: int, frames: int, video: Path) -> None:
    render_settings.set_video_format(scene.render)
    scene.frame_start, scene.frame_end = first, first + frames - 1
    compat.set_render_path(scene.render, str(video))
    bpy.ops.render.render(animation=True, scene=scene.name)
    _check_complete(video, frames)


def _check_complete(part: Path, frames: int) -> None:
    """Raise RuntimeError if the video is incomplete.

    Blender reports no error if the disk is too full for a video. The truncated file has no index and can't be read.
    """
    clip = bpy.data.movieclips.load(str(part))
    if clip.frame_duration < frames:
        raise RuntimeError(f"only {clip.frame_duration} of {frames} frames were written")
    bpy.data.movieclips.remove(clip)


def _problem(fault: Exception) -> dict[str, Any]:
    """Return the reply to an order that failed."""
    cause = fault.__cause__
    match fault:
        case media_files.MissingFile():
            return {"missing": str(fault)}
        case media_files.UnreadableFile() if isinstance(cause, OSError):
            return {"unreadable": str(fault), "errno": cause.errno, "winerror": getattr(cause, "winerror", None)}
        case decodable.Undecodable():
            return {"undecodable": str(fault)}
        case _:
            return {"error": str(fault)}


def main() -> None:
    if hasattr(os, "nice"):
        # Leaves the processor to the user's own Blender. On Windows, `render_process.py` sets the priority.
        os.nice(19)
    if hasattr(signal, "SIGPIPE"):
        # Ends this process at the next frame once the parent is gone. Python ignores the signal by default.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    snapshot: Snapshot | None = None
    with open(0, "rb", closefd=False) as orders:
        for line in orders:
            order = json.loads(line)
            try:
                if snapshot is None or not snapshot.serves(order):
                    snapshot = Snapshot(order)
                reply: dict[str, Any] = {"notes": render(snapshot, order), "memory_mb": peak_memory.megabytes()}
            except Exception as fault:
                # The one place that catches everything: whatever it was, the next order begins with the file as it was.
                reply, snapshot = _problem(fault), None
            print(f"mmaudio {json.dumps(reply)}", flush=True)


if __name__ == "__main__":
    main()
