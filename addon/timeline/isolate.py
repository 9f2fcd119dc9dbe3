# SPDX-License-Identifier: GPL-3.0-or-later
"""What a strip's picture is made of. Also used in the background Blender, so it imports nothing of the other rooms."""

from collections.abc import Iterator
from typing import Any

from . import compat


def level(scene: Any, strip: Any) -> Any:
    """What holds the strip: the meta strip around it, or else the edit itself; both have strips and channels."""
    return strip.parent_meta() or scene.sequence_editor


def inputs(strip: Any) -> list[Any]:
    """The strips that an effect works on."""
    both = (getattr(strip, "input_1", None), getattr(strip, "input_2", None))
    return [strip for strip in both if strip is not None]


def shown_with(scene: Any, strip: Any) -> list[Any]:
    """The strip, and, for one that works on the picture below it, what lies below within its range."""
    if strip.type not in ("ADJUSTMENT", "MULTICAM"):
        return [strip]
    first, end = compat.left_handle(strip), compat.right_handle(strip)
    around = level(scene, strip)
    below = [
        other
        for other in around.strips
        if other.channel < strip.channel
        and other.type != "SOUND"
        and not other.mute
        and not around.channels[other.channel].mute
        and compat.left_handle(other) < end
        and compat.right_handle(other) > first
    ]
    return [*below, strip]


def made_of(scene: Any, strip: Any) -> Iterator[Any]:
    """All strips that the strip's picture needs: itself, inputs of effects, masks of modifiers, contents of metas."""
    found: list[Any] = []
    pending = shown_with(scene, strip)
    while pending:
        part = pending.pop()
        if part in found:
            continue
        found.append(part)
        yield part
        masks = [modifier.input_mask_strip for modifier in part.modifiers if modifier.input_mask_type == "STRIP"]
        pending += [other for other in (*inputs(part), *masks, *getattr(part, "strips", ())) if other is not None]
