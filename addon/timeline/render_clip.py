# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a strip, or the edit in its range, small, the last picture held. Runs inside the background Blender, as a script:

    blender --background --factory-startup --python render_clip.py -- ORDER.json

with `Order` of `export.py` as JSON. Says "mmaudio wrote N" for each file. Exit status 0 when all are there, else 1 and a
line that starts with "mmaudio: ", or with "mmaudio can't decode " for a file in whose place Blender would show a color.
What the artist should know of the files is said before, as "mmaudio note " and a JSON string.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy

_CHANNEL_MAX = 128
_CACHE_MB = 128
_SIDE_MIN = 16
"""Pixels: a side that H.264 encoders and decoders take."""
_ASKED_BY = os.getppid()


def _timeline(module: str) -> ModuleType:
    """A module of timeline/: here the add-on is no package, so that room is loaded as one, by its path."""
    if "mmaudio_timeline" not in sys.modules:
        room = Path(__file__).parent
        spec = importlib.util.spec_from_file_location(
            "mmaudio_timeline", room / "__init__.py", submodule_search_locations=[str(room)]
        )
        assert spec is not None
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"mmaudio_timeline.{module}")


compat = _timeline("compat")
isolate = _timeline("isolate")
decodable = _timeline("decodable")
held_picture = _timeline("held_picture")
media_files = _timeline("media_files")
simulations = _timeline("simulations")


def render(order: dict[str, Any]) -> None:
    scene = _open(order["blend"], order["scene"], order["whole_project"])
    # Each frame is rendered once: what Blender would keep of it, up to 4 GB, is never asked for again.
    bpy.context.preferences.system.memory_cache_limit = _CACHE_MB
    _check_media(scene, order)
    pick = _whole_edit if order["whole_edit"] else _alone
    cut = pick(scene, order["strip"], order["first"])
    first = _show_range(scene.sequence_editor, cut, order["first"], order["frames"])
    _set_picture(scene.render, order["short_side_max"], order["long_side_max"])
    _set_colours(scene)
    _scale_quickly(scene.sequence_editor)
    _scale_nested_edits(scene.render.resolution_percentage)
    if not order["scenes_as_they_are"]:
        _use_workbench()
    end, until = first + order["frames"], first + max(part["first"] + part["frames"] for part in order["ranges"])
    still = Path(order["ranges"][0]["output"]).with_name(f"still-{order['token']}.exr")
    try:
        if until > end:
            held_picture.hold_last(scene, end, until, still, _free_channel(scene.sequence_editor))
        _set_file(scene.render)
        for number, clip_range in enumerate(order["ranges"]):
            _render_file(scene, first + clip_range["first"], clip_range["frames"], clip_range["output"], order["token"])
            print(f"mmaudio wrote {number}", flush=True)
    finally:
        still.unlink(missing_ok=True)


def _open(blend: str, name: str, whole_project: bool) -> Any:
    """Opens the edit; of a copy of the whole project only what the edit needs."""
    if whole_project:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        # The stubs know neither of the two.
        with bpy.data.libraries.load(blend, link=False) as (_, wanted):  # pyright: ignore[reportGeneralTypeIssues]
            wanted.scenes = [name]
        scene = wanted.scenes[0]
    else:
        bpy.ops.wm.open_mainfile(filepath=blend, load_ui=False, use_scripts=False)
        scene = bpy.data.scenes[name]
    simulations.restore(scene, Path(blend))
    return scene


def _check_media(scene: Any, order: dict[str, Any]) -> None:
    """Fills gaps in image sequences; raises Undecodable where a placeholder would be seen in the place of a file."""
    edit, first, end = scene.sequence_editor, order["first"], order["first"] + order["frames"]
    shown = isolate.visible(edit, first, end) if order["whole_edit"] else [edit.strips_all[order["strip"]]]
    parts = [part for strip in shown for part in isolate.made_of(strip, first, end)]
    for note in media_files.fill_gaps(parts):
        print(f"mmaudio note {json.dumps(note)}", flush=True)
    decodable.check(parts, textures=order["scenes_as_they_are"])


def _render_file(scene: Any, first: int, frames: int, output: str, token: str) -> None:
    if os.getppid() != _ASKED_BY:
        # Blender was killed. Windows doesn't tell of it; a thread that would, stops 4.5 in the middle of a render.
        raise RuntimeError("the Blender that started this render has ended")
    scene.frame_start, scene.frame_end, scene.frame_step = first, first + frames - 1, 1
    # The name appears when the file is whole.
    part = Path(f"{output}.{token}.part")
    compat.set_render_path(scene.render, str(part))
    try:
        bpy.ops.render.render(animation=True, scene=scene.name)
        _check_complete(part, frames)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _check_complete(part: Path, frames: int) -> None:
    """Blender doesn't say when a disk is too full for a video: what is cut short has no index, and can't be read."""
    clip = bpy.data.movieclips.load(str(part))
    if clip.frame_duration < frames:
        raise RuntimeError(f"only {clip.frame_duration} of {frames} frames were written")
    bpy.data.movieclips.remove(clip)


def _alone(scene: Any, name: str, first: int) -> Any:
    """A meta strip of the strip, alone with what its picture is made of, within the meta strips around it."""
    edit = scene.sequence_editor
    strip = edit.strips_all[name]
    shown = isolate.shown_with(strip)
    for meta in isolate.metas(strip):
        _show_only(meta, shown)
        shown = [isolate.shown_by(meta)]
    cut = _meta(edit, shown, first)
    _show_only(cut, shown)
    return cut


def _show_only(level: Any, shown: list[Any]) -> None:
    """Mutes all strips of a meta strip but these, the last of which is no longer mixed with what lay below it."""
    for part in level.strips:
        # An effect and its inputs move together; a muted input still feeds its effect.
        part.mute = part not in shown
    for channel in level.channels:
        channel.mute = False
    if shown[-1].blend_type not in ("REPLACE", "CROSS"):
        # Alone it has nothing below it to be multiplied with or added to.
        shown[-1].blend_type = "ALPHA_OVER"


def _whole_edit(scene: Any, _: str, first: int) -> Any:
    """A meta strip of everything, muted strips and channels as they are."""
    edit = scene.sequence_editor
    silent = [channel.mute for channel in edit.channels]
    cut = _meta(edit, list(edit.strips), first)
    for channel, mute in zip(cut.channels, silent, strict=True):
        channel.mute = mute
    return cut


def _show_range(edit: Any, cut: Any, first: int, frames: int) -> int:
    """Shows `cut`'s frames of the strip's range alone; returns the frame at which they now start."""
    compat.set_handles(cut, first, first + frames)
    for other in edit.strips:
        other.mute = other != cut
    for channel in edit.channels:
        channel.mute = False
    if first < 0:
        # Blender renders no negative frames.
        compat.move_content(cut, -first)
        return 0
    return first


def _meta(edit: Any, parts: list[Any], first: int) -> Any:
    """A meta strip of `parts`, on a channel that has no other strip."""
    meta = edit.strips.new_meta(name="mmaudio", channel=_free_channel(edit), frame_start=first)
    for part in parts:
        # An effect takes its inputs along, so a part may be there already.
        if part.parent_meta() != meta:
            part.move_to_meta(meta)
    for part in meta.strips:
        if not isolate.inputs(part):
            # A new meta strip measures its content only when a handle inside it is set; an effect's follow its inputs.
            compat.set_right_handle(part, compat.right_handle(part))
    return meta


def _free_channel(edit: Any) -> int:
    taken = {strip.channel for strip in edit.strips}
    return next((number for number in range(_CHANNEL_MAX, 0, -1) if number not in taken), _CHANNEL_MAX)


def _set_picture(render: Any, short_side_max: int, long_side_max: int) -> None:
    """Scales by whole percent, as Blender does, and trims each side to an even number of pixels, as H.264 needs."""
    short_side, long_side = sorted((render.resolution_x, render.resolution_y))
    percent = max(1, min(100, short_side_max * 100 // short_side, long_side_max * 100 // long_side))
    render.resolution_percentage = percent
    for side in ("resolution_x", "resolution_y"):
        # What is a line when it is scaled gets some black around it.
        setattr(render, side, max(getattr(render, side), -(-_SIDE_MIN * 100 // percent)))
        while int(getattr(render, side) * percent / 100) % 2:
            setattr(render, side, getattr(render, side) - 1)
    render.use_sequencer = True
    render.use_border = False
    render.use_multiview = False
    render.use_stamp = False
    render.frame_map_old = render.frame_map_new = 100


def _set_colours(scene: Any) -> None:
    """Shows the picture as on an ordinary screen, whatever display the project is made for."""
    display, view = scene.display_settings, scene.view_settings
    if display.display_device != "sRGB":
        transform = view.view_transform.split(" - ")[0]
        display.display_device = "sRGB"
        with contextlib.suppress(TypeError):
            # Where there is none of that name, Blender has chosen the display's own.
            view.view_transform = transform


def _scale_quickly(edit: Any) -> None:
    """AUTO picks a box filter that takes twice as long, for a clip that is scaled down again at the service."""
    for strip in edit.strips_all:
        if getattr(strip, "transform", None) is not None and strip.transform.filter == "AUTO":
            strip.transform.filter = "BILINEAR"


def _scale_nested_edits(percent: int) -> None:
    """A scene strip that shows another scene's edit scales it by that scene's own percentage, not by the one rendered."""
    for scene in bpy.data.scenes:
        strips: Any = scene.sequence_editor.strips_all if scene.sequence_editor else ()
        for strip in strips:
            if strip.type == "SCENE" and strip.scene_input == "SEQUENCER" and strip.scene is not None:
                strip.scene.render.resolution_percentage = percent


def _set_file(render: Any) -> None:
    compat.choose_video(render.image_settings)
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
    # Few key frames: the clip is read from end to end, and Blender's default of one in 12 makes it half as large again.
    ffmpeg.gopsize = 250
    ffmpeg.use_max_b_frames = False
    ffmpeg.use_autosplit = False


def _use_workbench() -> None:
    """The model looks at motion, not at light, and EEVEE or Cycles would take minutes a frame."""
    for scene in bpy.data.scenes:
        render: Any = scene.render
        render.engine = "BLENDER_WORKBENCH"


def main() -> int:
    if hasattr(os, "nice"):
        # The artist goes on working on this machine. On Windows, export.py asks for the same.
        os.nice(19)
    order = json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8"))
    try:
        render(order)
    except decodable.Undecodable as fault:
        # A file's name may have line breaks in it.
        print(f"mmaudio can't decode {' '.join(str(fault).split())}", flush=True)
        return 1
    except Exception as fault:
        # The one place that catches all: what is not caught here, a background Blender turns into exit status 0.
        print(f"mmaudio: {fault}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
