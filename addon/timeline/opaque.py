# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a strip hides what lies below it: opaque, and as large as the frame, all the time. Main thread."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat, isolate

TRANSITIONS = ("CROSS", "GAMMA_CROSS", "WIPE")

# Others mix the strip with what lies below it.
_COVERING_BLENDS = ("REPLACE", "ALPHA_OVER", "CROSS", "GAMMA_CROSS")
# These can make parts of a picture transparent, and don't tell which.
_CHANGING_MODIFIERS = ("MASK", "COMPOSITOR")
_CHANGING_EFFECTS = ("TRANSFORM", "COMPOSITOR")
# Image.depth, in bits a pixel, of gray, of RGB and of RGB in floats. Pictures with alpha have a third more than RGB.
_DEPTHS_WITHOUT_ALPHA = (8, 24, 96)
_TOLERANCE = 1.0
"""Pixels that may be missing at an edge: sizes are rounded."""

Range = tuple[int, int]
"""The first frame, and the frame after the last."""


def hides_below(strip: Any) -> list[Range]:
    """In which frames nothing is seen that lies below the strip. Where it can't be told, none."""
    if strip.type == "ADJUSTMENT" or strip.blend_type not in _COVERING_BLENDS or strip.blend_alpha < 1:
        return []
    if compat.is_animated(strip, "blend_alpha", "mute"):
        return []
    if strip.blend_type == "REPLACE":
        return [isolate.handles(strip)]
    if not _fills_frame(strip):
        return []
    if strip.type == "MULTICAM":
        sources = [source for source in isolate.shown_with(strip)[:-1] if source.channel == strip.multicam_source]
        return [_common(part, isolate.handles(strip)) for source in sources for part in hides_below(source)]
    return [isolate.handles(strip)] if _is_opaque(strip) else []


def _is_opaque(strip: Any) -> bool:
    """Whether no pixel of the strip's own picture is transparent."""
    if any(modifier.type in _CHANGING_MODIFIERS and not modifier.mute for modifier in strip.modifiers):
        return False
    inputs = isolate.inputs(strip)
    if inputs:
        # Where one strip lies over the other, one that is opaque is enough; every other effect needs all.
        enough = any if strip.type in ("ALPHA_OVER", "ALPHA_UNDER") else all
        return strip.type not in _CHANGING_EFFECTS and enough(_is_opaque(part) and _fills_frame(part) for part in inputs)
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


def _is_covered_within(strip: Any) -> bool:
    """Whether one strip alone covers what a meta strip shows, or a scene strip that shows an edit of the same size."""
    render = strip.id_data.render
    parts = isolate.contents(strip, *isolate.handles(strip))
    sizes = {(part.id_data.render.resolution_x, part.id_data.render.resolution_y) for part, _, _ in parts}
    return sizes <= {(render.resolution_x, render.resolution_y)} and any(
        hidden[0] <= first and end <= hidden[1] for part, first, end in parts for hidden in hides_below(part)
    )


def _common(one: Range, other: Range) -> Range:
    return max(one[0], other[0]), min(one[1], other[1])


def _samples(strip: Any) -> list[str]:
    """The first, the middle and the last image of a sequence."""
    names = [element.filename for element in strip.elements]
    folder = Path(bpy.path.abspath(strip.directory))
    return [str(folder / name) for name in {names[0], names[len(names) // 2], names[-1]}]


@cache
def _has_alpha(path: str) -> bool:
    """Whether a movie, or an image, may be transparent somewhere; True for what can't be read."""
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


def _fills_frame(strip: Any) -> bool:
    """Whether each corner of the frame lies within the strip's picture, as it is cropped, scaled, turned and moved."""
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
        # Back into the picture's own pixels, from its middle.
        own_x = pivot_x + (x * cosine + y * sine) / scale_x
        own_y = pivot_y + (y * cosine - x * sine) / scale_y
        if not crop.min_x - edge_x <= own_x + width / 2 <= width - crop.max_x + edge_x:
            return False
        if not crop.min_y - edge_y <= own_y + height / 2 <= height - crop.max_y + edge_y:
            return False
    return True


def _size(strip: Any) -> tuple[int, int] | None:
    """In pixels, of a strip's own picture; None where it has the frame's size."""
    if strip.type == "MOVIECLIP" and strip.clip is not None:
        return tuple(strip.clip.size)
    if strip.type in ("MOVIE", "IMAGE"):
        element = strip.elements[0]
        return (element.orig_width, element.orig_height) if element.orig_width else None
    return None
