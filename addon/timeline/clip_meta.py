# SPDX-License-Identifier: GPL-3.0-or-later
"""The meta strip that shows what a clip is to show, in place of everything else in the edit.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.
"""

from collections.abc import Sequence
from typing import Any

from . import compat, isolate
from .strip_types import Edit, MetaStrip, Strip


def of_strip(scene: Any, name: str, first: int, end: int) -> MetaStrip:
    """Move the strip and what its picture depends on into a new meta strip, within those around it, with all else muted.

    Its handles are moved apart where the frames from `first` up to `end` go beyond them.
    """
    edit: Edit = scene.sequence_editor
    strip = edit.strips_all[name]
    assert strip.type != "SOUND"  # only strips with a picture are rendered
    shown: list[Strip] = [*isolate.with_strips_below(strip)]
    for meta in isolate.enclosing_metas(strip):
        _show_only(meta, shown)
        shown = [isolate.topmost_effect(meta)]
    meta = _new_meta(edit, shown, first)
    _show_only(meta, shown)
    left, right = isolate.frame_range(strip)
    if first < left or right < end:
        compat.set_handles(strip, min(first, left), max(right, end))
    return meta


def of_edit(scene: Any, _: str, first: int, end: int) -> MetaStrip:
    """Move all strips into a new meta strip, keeping which strips and channels are muted."""
    edit: Edit = scene.sequence_editor
    muted = [channel.mute for channel in edit.channels]
    meta = _new_meta(edit, list(edit.strips), first)
    for channel, mute in zip(meta.channels, muted, strict=True):
        channel.mute = mute
    return meta


def show_range(edit: Edit, meta: MetaStrip, first: int, frames: int) -> int:
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


def _show_only(meta: MetaStrip, shown: Sequence[Strip]) -> None:
    """Mute all other strips of a meta strip. The last of `shown` is no longer blended with what was below it."""
    for part in meta.strips:
        # An effect and its inputs move together. A muted input still feeds its effect.
        part.mute = part not in shown
    for channel in meta.channels:
        channel.mute = False
    if shown[-1].blend_type not in ("REPLACE", "CROSS"):
        # Nothing is left below it to be multiplied with or added to.
        shown[-1].blend_type = "ALPHA_OVER"


def _new_meta(edit: Edit, parts: Sequence[Strip], first: int) -> MetaStrip:
    """Return a new meta strip of `parts`, on a channel without other strips."""
    meta = edit.strips.new_meta(name="mmaudio", channel=isolate.empty_channel(edit), frame_start=first)
    for part in parts:
        # An effect takes its inputs along, so a part may already be inside.
        if part.parent_meta() != meta:
            part.move_to_meta(meta)
    for part in meta.strips:
        if not isolate.inputs(part):
            # A new meta strip measures its content only when a handle inside it is set. Effects follow their inputs.
            compat.set_right_handle(part, compat.right_handle(part))
    return meta
