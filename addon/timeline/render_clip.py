# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering of small clips of a strip, or of the edit in its range. A script that runs inside the background Blender:

    blender --background --factory-startup --python render_clip.py -- REQUEST.json

The request is an `ExportRequest` of `export.py` as JSON. The script prints "mmaudio wrote N" for each complete file, after
"mmaudio note " and a JSON string for what the user should know of the files. Its exit status is 0 if all files were written.
Otherwise it is 1, after a line that starts with "mmaudio: ", or with "mmaudio can't decode " for a file in whose place
Blender would render a color.
"""

import contextlib
import json
import os
import sys
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

from . import compat, decodable, freeze_frame, isolate, media_files, simulations  # noqa: E402

_CHANNEL_MAX = 128
_CACHE_MB = 128
"""Each frame is rendered once, so Blender's cache of up to 4 GB would never be used."""
_SIDE_MIN = 16
"""Smallest side in pixels that H.264 encoders and decoders accept."""
_PARENT_PROCESS = os.getppid()


def render(request: dict[str, Any]) -> None:
    scene = _open(request["blend"], request["scene"], request["whole_project"])
    bpy.context.preferences.system.memory_cache_limit = _CACHE_MB
    _check_media(scene, request)
    make_meta = _meta_of_edit if request["whole_edit"] else _meta_of_strip
    meta = make_meta(scene, request["strip"], request["first"])
    first = _show_range(scene.sequence_editor, meta, request["first"], request["frames"])
    _set_picture(scene.render, request["short_side_max"], request["long_side_max"])
    _set_colors(scene)
    _scale_quickly(scene.sequence_editor)
    _scale_nested_edits(scene.render.resolution_percentage)
    if not request["scenes_as_they_are"]:
        _use_workbench()
    ranges, token = request["ranges"], request["token"]
    end, until = first + request["frames"], first + max(part["first"] + part["frames"] for part in ranges)
    still = Path(ranges[0]["output"]).with_name(f"still-{token}.exr")
    try:
        if until > end:
            freeze_frame.hold_last_frame(scene, end, until, still, _free_channel(scene.sequence_editor))
        _set_video_format(scene.render)
        for number, clip_range in enumerate(ranges):
            _render_file(scene, first + clip_range["first"], clip_range["frames"], clip_range["output"], token)
            print(f"mmaudio wrote {number}", flush=True)
    finally:
        still.unlink(missing_ok=True)


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


def _check_media(scene: Any, request: dict[str, Any]) -> None:
    """Fill gaps in image sequences. Raise Undecodable if a placeholder would be rendered in the place of a file."""
    edit, first, end = scene.sequence_editor, request["first"], request["first"] + request["frames"]
    strips = isolate.visible_strips(edit, first, end) if request["whole_edit"] else [edit.strips_all[request["strip"]]]
    dependencies = [part for strip in strips for part in isolate.dependencies(strip, first, end)]
    for note in media_files.fill_gaps(dependencies):
        print(f"mmaudio note {json.dumps(note)}", flush=True)
    decodable.check(dependencies, textures=request["scenes_as_they_are"])


def _render_file(scene: Any, first: int, frames: int, output: str, token: str) -> None:
    """Render the frames to a file, which gets its name when it is complete."""
    if os.getppid() != _PARENT_PROCESS:
        # Blender was killed. Windows doesn't show it. A thread that watches for it blocks 4.5 in the middle of a render.
        raise RuntimeError("the Blender that started this render has ended")
    scene.frame_start, scene.frame_end, scene.frame_step = first, first + frames - 1, 1
    part = Path(f"{output}.{token}.part")
    compat.set_render_path(scene.render, str(part))
    try:
        bpy.ops.render.render(animation=True, scene=scene.name)
        _check_complete(part, frames)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _check_complete(part: Path, frames: int) -> None:
    """Raise RuntimeError if the video is incomplete.

    Blender reports no error if the disk is too full for a video. The truncated file has no index and can't be read.
    """
    clip = bpy.data.movieclips.load(str(part))
    if clip.frame_duration < frames:
        raise RuntimeError(f"only {clip.frame_duration} of {frames} frames were written")
    bpy.data.movieclips.remove(clip)


def _meta_of_strip(scene: Any, name: str, first: int) -> Any:
    """Move the strip and what its picture depends on into a new meta strip, within those around it, with all else muted."""
    edit = scene.sequence_editor
    strip = edit.strips_all[name]
    shown = isolate.with_strips_below(strip)
    for meta in isolate.enclosing_metas(strip):
        _show_only(meta, shown)
        shown = [isolate.topmost_effect(meta)]
    meta = _new_meta(edit, shown, first)
    _show_only(meta, shown)
    return meta


def _show_only(meta: Any, shown: list[Any]) -> None:
    """Mute all other strips of a meta strip. The last of `shown` is no longer blended with what was below it."""
    for part in meta.strips:
        # An effect and its inputs move together. A muted input still feeds its effect.
        part.mute = part not in shown
    for channel in meta.channels:
        channel.mute = False
    if shown[-1].blend_type not in ("REPLACE", "CROSS"):
        # Nothing is left below it to be multiplied with or added to.
        shown[-1].blend_type = "ALPHA_OVER"


def _meta_of_edit(scene: Any, _: str, first: int) -> Any:
    """Move all strips into a new meta strip, keeping which strips and channels are muted."""
    edit = scene.sequence_editor
    muted = [channel.mute for channel in edit.channels]
    meta = _new_meta(edit, list(edit.strips), first)
    for channel, mute in zip(meta.channels, muted, strict=True):
        channel.mute = mute
    return meta


def _show_range(edit: Any, meta: Any, first: int, frames: int) -> int:
    """Trim the meta strip to the frame range and mute all other strips. Return the frame at which the range now starts."""
    compat.set_handles(meta, first, first + frames)
    for other in edit.strips:
        other.mute = other != meta
    for channel in edit.channels:
        channel.mute = False
    if first < 0:
        # Blender renders no negative frames.
        compat.move_content(meta, -first)
        return 0
    return first


def _new_meta(edit: Any, parts: list[Any], first: int) -> Any:
    """Return a new meta strip of `parts`, on a channel without other strips."""
    meta = edit.strips.new_meta(name="mmaudio", channel=_free_channel(edit), frame_start=first)
    for part in parts:
        # An effect takes its inputs along, so a part may already be inside.
        if part.parent_meta() != meta:
            part.move_to_meta(meta)
    for part in meta.strips:
        if not isolate.inputs(part):
            # A new meta strip measures its content only when a handle inside it is set. Effects follow their inputs.
            compat.set_right_handle(part, compat.right_handle(part))
    return meta


def _free_channel(edit: Any) -> int:
    occupied = {strip.channel for strip in edit.strips}
    return next((number for number in range(_CHANNEL_MAX, 0, -1) if number not in occupied), _CHANNEL_MAX)


def _set_picture(render: Any, short_side_max: int, long_side_max: int) -> None:
    """Scale by whole percent, as Blender does, and trim each side to an even number of pixels, as H.264 requires."""
    short_side, long_side = sorted((render.resolution_x, render.resolution_y))
    percent = max(1, min(100, short_side_max * 100 // short_side, long_side_max * 100 // long_side))
    render.resolution_percentage = percent
    for side in ("resolution_x", "resolution_y"):
        # A side that would become too small gets a black border.
        setattr(render, side, max(getattr(render, side), -(-_SIDE_MIN * 100 // percent)))
        while int(getattr(render, side) * percent / 100) % 2:
            setattr(render, side, getattr(render, side) - 1)
    render.use_sequencer = True
    render.use_border = False
    render.use_multiview = False
    render.use_stamp = False
    render.frame_map_old = render.frame_map_new = 100


def _set_colors(scene: Any) -> None:
    """Render for an sRGB display, whatever display the project is set to."""
    display, view = scene.display_settings, scene.view_settings
    if display.display_device != "sRGB":
        transform = view.view_transform.split(" - ")[0]
        display.display_device = "sRGB"
        with contextlib.suppress(TypeError):
            # Without a view transform of that name, Blender's choice for the display is kept.
            view.view_transform = transform


def _scale_quickly(edit: Any) -> None:
    """Replace the AUTO filter, which picks a box filter that takes twice as long. The service scales the clip down again."""
    for strip in edit.strips_all:
        if getattr(strip, "transform", None) is not None and strip.transform.filter == "AUTO":
            strip.transform.filter = "BILINEAR"


def _scale_nested_edits(percent: int) -> None:
    """Set the percentage of scenes whose edit a scene strip shows. Blender scales that edit by its own percentage."""
    for scene in bpy.data.scenes:
        strips: Any = scene.sequence_editor.strips_all if scene.sequence_editor else ()
        for strip in strips:
            if strip.type == "SCENE" and strip.scene_input == "SEQUENCER" and strip.scene is not None:
                strip.scene.render.resolution_percentage = percent


def _set_video_format(render: Any) -> None:
    compat.set_video_output(render.image_settings)
    render.image_settings.color_management = "FOLLOW_SCENE"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGB", "8"
    render.use_file_extension = False
    render.use_overwrite = True
    ffmpeg = render.ffmpeg
    ffmpeg.format = "MPEG4"
    ffmpeg.codec = "H264"
    ffmpeg.audio_codec = "NONE"
    ffmpeg.constant_rate_factor = "MEDIUM"
    ffmpeg.ffmpeg_preset = "GOOD"
    # Few keyframes: the clip is read from start to end, and Blender's default of one in 12 makes it half as large again.
    ffmpeg.gopsize = 250
    ffmpeg.use_max_b_frames = False
    ffmpeg.use_autosplit = False


def _use_workbench() -> None:
    """Render 3D scenes with Workbench. The model needs motion, not light, and EEVEE or Cycles would take minutes a frame."""
    for scene in bpy.data.scenes:
        render: Any = scene.render
        render.engine = "BLENDER_WORKBENCH"


def main() -> int:
    if hasattr(os, "nice"):
        # Leaves the processor to the user's own Blender. On Windows, export.py sets the priority.
        os.nice(19)
    try:
        render(json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8")))
    except decodable.Undecodable as fault:
        # A file name may contain line breaks.
        print(f"mmaudio can't decode {' '.join(str(fault).split())}", flush=True)
        return 1
    except Exception as fault:
        # The one place that catches everything, since a background Blender exits with status 0 after an uncaught exception.
        print(f"mmaudio: {fault}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
