# SPDX-License-Identifier: GPL-3.0-or-later
"""What a strip's picture depends on. Also used in the background Blender, so it imports no other package of the add-on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from . import compat
from .strip_types import Edit, MetaStrip, PictureStrip, Strip

CHANNELS = range(1, 129)
"""Of an edit or a meta strip."""
StripRange = tuple[PictureStrip, int, int]
"""A strip and a range of frames of its own scene: the first frame, and the frame after the last."""
Container = Edit | MetaStrip
"""What strips are in. Both have strips and channels."""

_AnyStrip = TypeVar("_AnyStrip", bound=Strip)


def container(strip: Strip) -> Container:
    """Return the meta strip around the strip, or else its edit."""
    parent = strip.parent_meta() or compat.edit_of(strip.id_data)
    assert parent is not None  # every strip is in an edit
    return parent


def empty_channel(parent: Container) -> int:
    """Return the highest channel without any strip; the highest of all if there is none."""
    occupied = {strip.channel for strip in parent.strips}
    return next((channel for channel in reversed(CHANNELS) if channel not in occupied), CHANNELS[-1])


def enclosing_metas(strip: Strip) -> list[MetaStrip]:
    """Return the meta strips around the strip that share its timeline frames, the innermost first.

    A reversed meta strip shows its contents at other frames: it is left out, together with all meta strips around it.
    """
    meta = strip.parent_meta()
    if meta is None or meta.use_reverse_frames:
        return []
    return [meta, *enclosing_metas(meta)]


def inputs(strip: Strip) -> list[PictureStrip]:
    """Return the input strips of an effect."""
    both: list[PictureStrip | None] = [getattr(strip, "input_1", None), getattr(strip, "input_2", None)]
    return [strip for strip in both if strip is not None]


def frame_range(strip: Strip) -> tuple[int, int]:
    """Return the strip's first frame, and the frame after its last."""
    return compat.left_handle(strip), compat.right_handle(strip)


def single_input_effects(parent: Container) -> dict[Strip, list[PictureStrip]]:
    """Return the unmuted effects of one input in a meta strip or an edit, by their input."""
    effects: dict[Strip, list[PictureStrip]] = {}
    for strip in parent.strips:
        if strip.type == "SOUND" or not hasattr(strip, "input_count"):
            continue
        below = inputs(strip)
        if len(below) == 1 and not is_muted(strip):
            effects.setdefault(below[0], []).append(strip)
    return effects


def topmost_effect(
    strip: _AnyStrip, effects: Mapping[Strip, Sequence[PictureStrip]] | None = None
) -> _AnyStrip | PictureStrip:
    """Return the topmost effect of one input that is applied to the strip, or the strip itself if there is none.

    `effects` may pass the `single_input_effects` of the strip's container, if known.
    """
    effects = single_input_effects(container(strip)) if effects is None else effects
    if strip not in effects:
        return strip
    return topmost_effect(max(effects[strip], key=lambda effect: effect.channel), effects)


def is_muted(strip: Strip) -> bool:
    return strip.mute or container(strip).channels[strip.channel].mute


def with_strips_below(strip: PictureStrip) -> list[PictureStrip]:
    """Return the strip, preceded by the strips that it or an input of it processes below, as an adjustment strip does."""
    below: list[PictureStrip] = []
    pending = [strip]
    while pending:
        part = pending.pop()
        below += [other for other in _processed_below(part) if other not in below]
        pending += inputs(part)
    return [*below, strip]


def _processed_below(strip: PictureStrip) -> list[PictureStrip]:
    """Return the visible strips that an adjustment or multicam strip processes: below it, or up to its source channel."""
    if strip.type == "ADJUSTMENT":
        top = strip.channel - 1
    elif strip.type == "MULTICAM":
        top = min(strip.multicam_source, strip.channel - 1)
    else:
        return []
    return [other for other in visible_strips(container(strip), *frame_range(strip)) if other.channel <= top]


def visible_strips(parent: Container, first: int, end: int) -> list[PictureStrip]:
    """Return the unmuted strips with a picture in a meta strip or an edit, in the frames from `first` up to `end`."""
    return [
        strip
        for strip in parent.strips
        if strip.type != "SOUND"
        and not is_muted(strip)
        and compat.left_handle(strip) < end
        and compat.right_handle(strip) > first
    ]


def dependencies(strip: PictureStrip, first: int, end: int) -> Iterator[StripRange]:
    """Yield everything that the strip's picture depends on in the frames from `first` up to `end`, also beyond its handles.

    This is the strip itself, inputs of effects, masks of modifiers, and contents of meta strips and of other scenes' edits.
    """
    found: set[StripRange] = set()
    whole = (first, end)
    pending = [(strip, first, end), *((mask, first, end) for meta in enclosing_metas(strip) for mask in _masks(meta))]
    while pending:
        part, first, end = pending.pop()
        if part.type == "SPEED":
            # It shows frames of its input at other times.
            first, end = frame_range(part)
        left, right = whole if part == strip else frame_range(part)
        dependency = (part, max(first, left), min(end, right))
        if dependency in found or dependency[1] >= dependency[2]:
            continue
        found.add(dependency)
        yield dependency
        pending += [(other, first, end) for other in (*_processed_below(part), *inputs(part), *_masks(part))]
        pending += contents(*dependency)


def contents(strip: PictureStrip, first: int, end: int) -> list[StripRange]:
    """Return the visible contents of a meta strip, or of a scene strip that shows an edit, from `first` up to `end`."""
    if strip.type == "META":
        shown = frame_range(strip) if strip.use_reverse_frames else (first, end)
        return [(part, *shown) for part in visible_strips(strip, *shown)]
    if strip.type == "SCENE" and strip.scene_input == "SEQUENCER" and strip.scene and (edit := compat.edit_of(strip.scene)):
        offset = strip.scene.frame_start - int(compat.content_start(strip))
        shown = (first + offset, end + offset)
        return [(part, *shown) for part in visible_strips(edit, *shown)]
    return []


def _masks(strip: PictureStrip) -> list[PictureStrip]:
    masks = [modifier.input_mask_strip for modifier in strip.modifiers if modifier.input_mask_type == "STRIP"]
    return [mask for mask in masks if mask is not None]
