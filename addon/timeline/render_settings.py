# SPDX-License-Identifier: GPL-3.0-or-later
"""Render settings of a clip: size, colors, video format.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

import bpy

from . import compat, isolate
from .strip_types import PictureStrip

_EXACT_SHARE = 0.8
"""Share of the largest size that is given up at most for an exact one."""
_SIDE_MIN = 16
"""Smallest side in pixels that H.264 encoders and decoders accept."""
_FACTORY_TRANSFORM = "AgX"
_NEUTRAL_VIEW = {"look": "None", "exposure": 0.0, "gamma": 1.0, "use_curve_mapping": False, "use_white_balance": False}
"""View settings besides the view transform, as Blender's factory settings have them: they change nothing."""


def set_picture(render: Any, short_side_max: int, long_side_max: int) -> None:
    """Scale by whole percent, as Blender does, and trim each side to an even number of pixels, as H.264 requires.

    A percentage that needs no trimming is preferred, see `scale_smoothly`.
    """
    short_side, long_side = sorted((render.resolution_x, render.resolution_y))
    largest = max(1, min(100, short_side_max * 100 // short_side, long_side_max * 100 // long_side))
    near = range(largest, int(largest * _EXACT_SHARE), -1)
    percent = next((percent for percent in near if _is_exact(render, percent)), largest)
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
    render.dither_intensity = 0.0
    render.frame_map_old = render.frame_map_new = 100


def set_colors(scene: Any, dependencies: Iterable[isolate.StripRange]) -> None:
    """Render for an sRGB display, whatever display the project is set to.

    With Blender's factory settings, footage that is made for a display already is shown as it was shot: their view transform
    AgX is for light as a 3D scene has it, would only gray the footage, and takes half of the time of the render.
    """
    display, view = scene.display_settings, scene.view_settings
    if display.display_device != "sRGB":
        transform = view.view_transform.split(" - ")[0]
        display.display_device = "sRGB"
        with contextlib.suppress(TypeError):
            # Without a view transform of that name, Blender's choice for the display is kept.
            view.view_transform = transform
    elif (
        view.view_transform == _FACTORY_TRANSFORM
        and _is_neutral(scene)
        and all(_is_display_referred(strip) for strip, _, _ in dependencies)
    ):
        view.view_transform = "Standard"


def keeps_colors(scene: Any) -> bool:
    """Return whether strips with colors of an sRGB display are shown with exactly these."""
    display, view = scene.display_settings.display_device, scene.view_settings.view_transform
    return bool(display == "sRGB" and view == "Standard" and _is_neutral(scene))


def _is_neutral(scene: Any) -> bool:
    same = [getattr(scene.view_settings, name) == value for name, value in _NEUTRAL_VIEW.items()]
    return all(same) and scene.sequencer_colorspace_settings.name == "sRGB"


def _is_display_referred(strip: PictureStrip) -> bool:
    """Return whether the strip's own pixels are colors of a display rather than light of a scene."""
    match strip.type:
        case "MOVIE" | "IMAGE":
            # Blender reads files of floats, such as OpenEXR, as linear light.
            return bool(strip.colorspace_settings.name == "sRGB")
        case "MOVIECLIP":
            clip: Any = strip.clip
            return clip is None or bool(clip.colorspace_settings.name == "sRGB")
        case "SCENE":
            return bool(strip.scene_input == "SEQUENCER")
        case _:
            return True


def _is_exact(render: Any, percent: int) -> bool:
    """Return whether both sides have a whole, even number of pixels at this percentage."""
    return all(side * percent % 200 == 0 for side in (render.resolution_x, render.resolution_y))


def scale_smoothly(scene: Any) -> None:
    """Replace the filter AUTO by one that averages pixels, if no pixel at the clip's edge is covered in part.

    For a strip at its own size AUTO picks single pixels, however small the render is, so that noise becomes flicker; for one
    that is scaled down it picks a slower filter. But a filter makes a pixel that is covered in part transparent, which the
    clip would show as a black edge.
    """
    if _is_exact(scene.render, scene.render.resolution_percentage):
        for strip in scene.sequence_editor.strips_all:
            if getattr(strip, "transform", None) is not None and strip.transform.filter == "AUTO":
                strip.transform.filter = "BILINEAR"


def scale_nested_edits(percent: int) -> None:
    """Set the percentage of scenes whose edit a scene strip shows. Blender scales that edit by its own percentage."""
    for scene in bpy.data.scenes:
        edit = compat.edit_of(scene)
        for strip in edit.strips_all if edit else ():
            if strip.type == "SCENE" and strip.scene_input == "SEQUENCER" and strip.scene is not None:
                strip.scene.render.resolution_percentage = percent


def set_video_format(render: Any) -> None:
    compat.set_output(render.image_settings, "VIDEO", "FFMPEG")
    render.image_settings.color_management = "FOLLOW_SCENE"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGB", "8"
    render.use_file_extension = False
    render.use_overwrite = True
    ffmpeg = render.ffmpeg
    ffmpeg.format = "MPEG4"
    ffmpeg.codec = "H264"
    ffmpeg.audio_codec = "NONE"
    ffmpeg.constant_rate_factor = "MEDIUM"
    # The encoder's fastest preset: the upload grows by half, which takes less time than is saved.
    ffmpeg.ffmpeg_preset = "REALTIME"
    # Few keyframes: the clip is read from start to end, and Blender's default of one in 12 makes it half as large again.
    ffmpeg.gopsize = 250
    ffmpeg.use_max_b_frames = False
    ffmpeg.use_autosplit = False


def use_workbench() -> None:
    """Render 3D scenes with Workbench. The model needs motion, not light, and EEVEE or Cycles would take minutes a frame."""
    for scene in bpy.data.scenes:
        render: Any = scene.render
        render.engine = "BLENDER_WORKBENCH"
