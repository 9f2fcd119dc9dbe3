# SPDX-License-Identifier: GPL-3.0-or-later
"""What a strip's picture is made of. Also used in the background Blender, so it imports nothing of the other rooms."""

from collections.abc import Iterator
from typing import Any

from . import compat

VisiblePart = tuple[Any, int, int]
"""A strip, and the frames of its own scene in which it is seen: the first, and the first in which it isn't any more."""


def level(strip: Any) -> Any:
    """What holds the strip: the meta strip around it, or else the edit itself; both have strips and channels."""
    return strip.parent_meta() or strip.id_data.sequence_editor


def metas(strip: Any) -> list[Any]:
    """The meta strips around the strip that share its timeline frames, the innermost first.

    A reversed meta strip shows its contents at other frames than those where they lie: it is left out, with all around it.
    """
    around = strip.parent_meta()
    if around is None or around.use_reverse_frames:
        return []
    return [around, *metas(around)]


def inputs(strip: Any) -> list[Any]:
    """The strips that an effect works on."""
    both = (getattr(strip, "input_1", None), getattr(strip, "input_2", None))
    return [strip for strip in both if strip is not None]


def handles(strip: Any) -> tuple[int, int]:
    """The strip's first frame, and the frame after its last."""
    return compat.left_handle(strip), compat.right_handle(strip)


def effects_in(around: Any) -> dict[Any, list[Any]]:
    """The effects of one input that are seen in a meta strip or an edit, by the strip that they work on."""
    found: dict[Any, list[Any]] = {}
    for strip in around.strips:
        below = inputs(strip) if hasattr(strip, "input_count") else []
        if len(below) == 1 and not is_muted(strip):
            found.setdefault(below[0], []).append(strip)
    return found


def shown_by(strip: Any, effects: dict[Any, list[Any]] | None = None) -> Any:
    """The topmost effect of one input that works on the strip, or else the strip itself.

    effects  `effects_in` what holds the strip, if that is at hand
    """
    effects = effects_in(level(strip)) if effects is None else effects
    if strip not in effects:
        return strip
    return shown_by(max(effects[strip], key=lambda effect: effect.channel), effects)


def is_muted(strip: Any) -> bool:
    return strip.mute or level(strip).channels[strip.channel].mute


def shown_with(strip: Any) -> list[Any]:
    """The strip, and what lies below it, or below an input of it, where that works on the picture below."""
    shown: list[Any] = []
    pending = [strip]
    while pending:
        part = pending.pop()
        shown += [below for below in _below(part) if below not in shown]
        pending += inputs(part)
    return [*shown, strip]


def _below(strip: Any) -> list[Any]:
    """What an adjustment or multicam strip works on: what can be seen below it, or on its source, within its range."""
    if strip.type not in ("ADJUSTMENT", "MULTICAM"):
        return []
    top = strip.channel - 1 if strip.type == "ADJUSTMENT" else min(strip.multicam_source, strip.channel - 1)
    return [other for other in visible(level(strip), *handles(strip)) if other.channel <= top]


def visible(around: Any, first: int, end: int) -> list[Any]:
    """The strips of a meta strip or an edit that can be seen from one frame to another."""
    return [
        strip
        for strip in around.strips
        if strip.type != "SOUND"
        and not is_muted(strip)
        and compat.left_handle(strip) < end
        and compat.right_handle(strip) > first
    ]


def made_of(strip: Any, first: int, end: int) -> Iterator[VisiblePart]:
    """All that the strip's picture needs from one frame to another: the strip, inputs of effects, masks of modifiers, the
    contents of meta strips and of other scenes' edits.
    """
    found: set[VisiblePart] = set()
    pending = [(strip, first, end), *((mask, first, end) for meta in metas(strip) for mask in _masks(meta))]
    while pending:
        part, first, end = pending.pop()
        if part.type == "SPEED":
            # It shows its input's frames at other times.
            first, end = handles(part)
        left, right = handles(part)
        seen = (part, max(first, left), min(end, right))
        if seen in found or seen[1] >= seen[2]:
            continue
        found.add(seen)
        yield seen
        pending += [(other, first, end) for other in (*_below(part), *inputs(part), *_masks(part))]
        pending += contents(*seen)


def contents(strip: Any, first: int, end: int) -> list[VisiblePart]:
    """What is seen within a meta strip, or a scene strip that shows another edit, from one frame to another."""
    if strip.type == "META":
        shown = handles(strip) if strip.use_reverse_frames else (first, end)
        return [(part, *shown) for part in visible(strip, *shown)]
    if strip.type == "SCENE" and strip.scene_input == "SEQUENCER" and strip.scene and strip.scene.sequence_editor:
        later = strip.scene.frame_start - int(compat.content_start(strip))
        shown = (first + later, end + later)
        return [(part, *shown) for part in visible(strip.scene.sequence_editor, *shown)]
    return []


def _masks(strip: Any) -> list[Any]:
    masks = [modifier.input_mask_strip for modifier in strip.modifiers if modifier.input_mask_type == "STRIP"]
    return [mask for mask in masks if mask is not None]
