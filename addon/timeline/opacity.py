# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection of strips that hide everything below them: opaque and filling the frame. Main thread."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat, isolate
from .strip_types import ImageStrip, PictureStrip

TRANSITIONS = ("CROSS", "GAMMA_CROSS", "WIPE")
"""Types of effect strips that show both of their inputs in turn."""

_COVERING_BLENDS = ("REPLACE", "ALPHA_OVER", "CROSS", "GAMMA_CROSS")
"""Blend types of a strip that can hide what is below it. All others mix the two."""
_ALPHA_MODIFIERS = ("MASK", "COMPOSITOR")
_ALPHA_EFFECTS = ("TRANSFORM", "COMPOSITOR")
"""These can make any part of a picture transparent, and don't reveal which."""
_DEPTHS_WITHOUT_ALPHA = (8, 24, 96)
"""`Image.depth` in bits per pixel of gray, RGB and float RGB. Images with alpha have a third more than RGB."""
_TOLERANCE = 1.0
"""Number of pixels that may be missing at an edge, since sizes are rounded."""

Range = tuple[int, int]
"""The first frame, and the frame after the last."""


def opaque_ranges(strip: PictureStrip) -> list[Range]:
    """Return the ranges in which the strip certainly hides everything below it."""
    if strip.type == "ADJUSTMENT" or strip.blend_type not in _COVERING_BLENDS or strip.blend_alpha < 1:
        return []
    if compat.is_animated(strip, "blend_alpha", "mute"):
        return []
    if strip.blend_type == "REPLACE":
        return [isolate.frame_range(strip)]
    if not _fills_frame(strip):
        return []
    if strip.type == "MULTICAM":
        sources = [source for source in isolate.with_strips_below(strip)[:-1] if source.channel == strip.multicam_source]
        return [_common(part, isolate.frame_range(strip)) for source in sources for part in opaque_ranges(source)]
    return [isolate.frame_range(strip)] if _is_opaque(strip) else []


def _is_opaque(strip: PictureStrip) -> bool:
    """Return whether no pixel of the strip's own picture is transparent."""
    if any(modifier.type in _ALPHA_MODIFIERS and not modifier.mute for modifier in strip.modifiers):
        return False
    inputs = isolate.inputs(strip)
    if inputs:
        # A single opaque input is enough for an effect that puts one input over the other. Other effects need both.
        enough = any if strip.type in ("ALPHA_OVER", "ALPHA_UNDER") else all
        return strip.type not in _ALPHA_EFFECTS and enough(_is_opaque(part) and _fills_frame(part) for part in inputs)
    match strip.type:
        case "MOVIE":
            return not _has_alpha(bpy.path.abspath(strip.filepath))
        case "IMAGE":
            return not any(_has_alpha(path) for path in _samples(strip))
        case "SCENE" if strip.scene is not None and strip.scene_input == "CAMERA":
            return not strip.scene.render.film_transparent
        case "META" | "SCENE":
            return _is_covered_within(strip)
        case kind:
            return kind in ("MOVIECLIP", "COLOR")


def _is_covered_within(strip: PictureStrip) -> bool:
    """Return whether a single strip covers the range of a meta strip, or of a scene strip with an edit of the same size."""
    render = strip.id_data.render
    parts = isolate.contents(strip, *isolate.frame_range(strip))
    sizes = {(part.id_data.render.resolution_x, part.id_data.render.resolution_y) for part, _, _ in parts}
    return sizes <= {(render.resolution_x, render.resolution_y)} and any(
        start <= first and end <= stop for part, first, end in parts for start, stop in opaque_ranges(part)
    )


def _common(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])


def _samples(strip: ImageStrip) -> list[str]:
    """Return the paths of the first, the middle and the last image of a sequence."""
    names = [element.filename for element in strip.elements]
    folder = Path(bpy.path.abspath(strip.directory))
    return [str(folder / name) for name in {names[0], names[len(names) // 2], names[-1]}]


def _has_alpha(path: str) -> bool:
    """Return whether any pixel of a movie or an image may be transparent. True for files that can't be read."""
    try:
        return _has_alpha_as_of(path, Path(path).stat().st_mtime_ns)
    except OSError:
        return True


@cache
def _has_alpha_as_of(path: str, _modified: int) -> bool:
    """Read the file once for each time that it was modified."""
    try:
        image: Any = bpy.data.images.load(path)
    except RuntimeError:
        return True
    try:
        if not image.size[0] or image.depth in _DEPTHS_WITHOUT_ALPHA or image.source == "MOVIE":
            return image.depth not in _DEPTHS_WITHOUT_ALPHA
        pixels = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(pixels)
        return bool(pixels[3::4].min() < 1)
    finally:
        bpy.data.images.remove(image)


def _fills_frame(strip: PictureStrip) -> bool:
    """Return whether all corners of the frame lie within the strip's picture as cropped, scaled, rotated and moved."""
    if compat.is_animated(strip, "transform", "crop"):
        return False
    render = strip.id_data.render
    width, height = _size(strip) or (render.resolution_x, render.resolution_y)
    crop, transform = strip.crop, strip.transform
    scale_x, scale_y = transform.scale_x, transform.scale_y
    if not scale_x or not scale_y:
        return False
    pivot_x, pivot_y = (transform.origin[0] - 0.5) * width, (transform.origin[1] - 0.5) * height
    cosine, sine = math.cos(transform.rotation), math.sin(transform.rotation)
    edge_x, edge_y = _TOLERANCE / abs(scale_x), _TOLERANCE / abs(scale_y)
    for sign_x, sign_y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        x = sign_x * render.resolution_x / 2 - transform.offset_x - pivot_x
        y = sign_y * render.resolution_y / 2 - transform.offset_y - pivot_y
        # Transform to the picture's own pixels, relative to its center.
        own_x = pivot_x + (x * cosine + y * sine) / scale_x
        own_y = pivot_y + (y * cosine - x * sine) / scale_y
        if not crop.min_x - edge_x <= own_x + width / 2 <= width - crop.max_x + edge_x:
            return False
        if not crop.min_y - edge_y <= own_y + height / 2 <= height - crop.max_y + edge_y:
            return False
    return True


def _size(strip: PictureStrip) -> tuple[int, int] | None:
    """Return the size of the strip's own picture in pixels, or None if it has the frame's size."""
    match strip.type:
        case "MOVIECLIP" if strip.clip is not None:
            size: Any = strip.clip.size
            return tuple(size)
        case "MOVIE" | "IMAGE" if strip.elements[0].orig_width:
            return strip.elements[0].orig_width, strip.elements[0].orig_height
        case _:
            return None
