# SPDX-License-Identifier: GPL-3.0-or-later
"""Freeze frame at the end of a clip, in which nothing moves.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat, isolate, render_settings
from .strip_types import PictureStrip, Strip

_MOVING_TYPES = ("SCENE", "MOVIECLIP", "MASK")
"""Strips of these types show what the current frame of the scene has, even beyond their content."""
_PIXEL_BYTES = 16
"""Of a movie with more than 8 bits a channel, the largest that Blender caches."""
_SOUND_PROPERTIES = (".volume", ".pan")


def hold_last_frame(scene: Any, meta: Strip, parts: Sequence[PictureStrip], *, end: int, until: int, still: Path) -> None:
    """Show the frame before `end` up to the frame `until`. `parts` are the strips that the meta strip's picture is made of.

    Blender adds the number of the frame to the path `still`.
    """
    ends_there = compat.content_end(meta) == end
    if ends_there and not _is_animated(scene) and all(map(_holds_last_frame, parts)) and _are_cached(parts):
        # Beyond its content it holds its last frame.
        scene.sequence_editor.use_cache_raw = True
        compat.set_right_handle(meta, until)
    else:
        # Takes as long as to decode a movie up to this frame.
        _show_still(scene, end, until, still)


def _is_animated(scene: Any) -> bool:
    """Return whether keyframes or drivers change the picture of any strip."""
    paths = compat.animated_paths(scene)
    return any(path.startswith("sequence_editor") and not path.endswith(_SOUND_PROPERTIES) for path in paths)


def _holds_last_frame(strip: PictureStrip) -> bool:
    """Return whether the strip holds its last frame beyond its content."""
    has_mask = any(getattr(modifier, "input_mask_id", None) is not None for modifier in strip.modifiers)
    return not (strip.type in _MOVING_TYPES or has_mask)


def _are_cached(parts: Iterable[PictureStrip]) -> bool:
    """Return whether Blender decodes the last frames of movies that end here once, rather than for each frame held.

    To decode one takes as long as to decode all frames from the key frame before it.
    """
    ending = [part for part in parts if part.type == "MOVIE" and compat.right_handle(part) >= compat.content_end(part)]
    pixels = sum(movie.elements[0].orig_width * movie.elements[0].orig_height for movie in ending)
    cache_mb = bpy.context.preferences.system.memory_cache_limit
    return not ending or (compat.CACHES_HELD_FRAMES and pixels * _PIXEL_BYTES < cache_mb / 2 * 2**20)


def _show_still(scene: Any, end: int, until: int, still: Path) -> None:
    """Render the frame before `end` and show it as an image strip."""
    # As an animation of one frame: for a single image Blender evaluates keyframes and drivers in the window's scene only.
    scene.frame_start = scene.frame_end = end - 1
    render = scene.render
    render.use_overwrite, render.use_file_extension = True, False
    compat.set_render_path(render, str(still))
    image_file = Path(f"{still}{end - 1:04}")
    if render_settings.keeps_colors(scene):
        _render_without_view_transform(scene)
    else:
        # Pixels before the view transform, since the image goes through it like every other strip.
        compat.set_output(render.image_settings, "IMAGE", "OPEN_EXR")
        render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "32"
        bpy.ops.render.render(animation=True, scene=scene.name)
        if _is_transparent(image_file):
            # Blender transforms transparent float pixels differently from transparent byte pixels, as in most strips.
            _render_without_view_transform(scene)
    image = scene.sequence_editor.strips.new_image(
        name="mmaudio",
        filepath=str(image_file),
        channel=isolate.empty_channel(scene.sequence_editor),
        frame_start=end,
        fit_method="STRETCH",
    )
    image.transform.filter = "NEAREST"
    compat.set_right_handle(image, until)


def _is_transparent(still: Path) -> bool:
    image: Any = bpy.data.images.load(str(still))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return bool(pixels[3::4].min() < 1)


def _render_without_view_transform(scene: Any) -> None:
    image_settings = scene.render.image_settings
    compat.set_output(image_settings, "IMAGE", "PNG")
    image_settings.color_mode, image_settings.color_depth = "RGBA", "8"
    image_settings.compression = 0
    image_settings.color_management = "OVERRIDE"
    image_settings.display_settings.display_device = "sRGB"
    image_settings.view_settings.view_transform = "Standard"
    bpy.ops.render.render(animation=True, scene=scene.name)
