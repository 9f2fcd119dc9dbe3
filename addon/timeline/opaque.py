# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a strip hides what lies below it: opaque, and as large as the frame, all the time. Main thread."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat, isolate

# Others mix the strip with what lies below it.
_COVERING_BLENDS = ("REPLACE", "ALPHA_OVER", "CROSS", "GAMMA_CROSS")
_TRANSITIONS = ("CROSS", "GAMMA_CROSS", "WIPE")
_CHANGING_MODIFIERS = ("MASK", "COMPOSITOR")
# Bits a pixel of gray and RGB, the latter of 8 bits or float; with alpha it is a third more.
_DEPTHS_WITHOUT_ALPHA = (8, 24, 96)
_TOLERANCE = 1.0
"""Pixels that may be missing at an edge: sizes are rounded."""


def hides_below(strip: Any) -> bool:
    """Whether nothing that lies below the strip is seen while it is. Where that can't be told, False."""
    if strip.type == "ADJUSTMENT" or strip.blend_type not in _COVERING_BLENDS or strip.blend_alpha < 1:
        return False
    if compat.is_animated(strip, "blend_alpha", "mute"):
        return False
    return strip.blend_type == "REPLACE" or _is_opaque(strip)


def _is_opaque(strip: Any) -> bool:
    if any(modifier.type in _CHANGING_MODIFIERS and not modifier.mute for modifier in strip.modifiers):
        return False
    if compat.is_animated(strip, "transform", "crop"):
        return False
    inputs = isolate.inputs(strip)
    if inputs:
        # A transition is as opaque as both of its inputs, what is composited as one of them.
        together = all if len(inputs) == 1 or strip.type in _TRANSITIONS else any
        return together(_is_opaque(below) for below in inputs)
    return _has_opaque_pixels(strip) and _fills_frame(strip)


def _has_opaque_pixels(strip: Any) -> bool:
    match strip.type:
        case "MOVIE":
            return not _has_alpha(bpy.path.abspath(strip.filepath))
        case "IMAGE":
            return not any(_has_alpha(path) for path in _samples(strip))
        case "SCENE":
            if strip.scene is None or strip.scene_input == "SEQUENCER":
                return strip.scene is not None and _is_covered(strip.scene.sequence_editor)
            return not strip.scene.render.film_transparent
        case "META":
            return _is_covered(strip)
        case kind:
            return kind in ("MOVIECLIP", "COLOR", "MULTICAM")


def _is_covered(level: Any) -> bool:
    """Whether one strip alone covers all of a meta strip, or of another scene's edit."""
    if level is None:
        return False
    within = [isolate.handles(strip) for strip in level.strips if strip.type != "SOUND"]
    first, end = min((left for left, _ in within), default=0), max((right for _, right in within), default=0)
    return any(
        isolate.handles(strip) == (first, end) and not isolate.is_muted(strip) and hides_below(strip)
        for strip in level.strips
        if strip.type != "SOUND"
    )


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
