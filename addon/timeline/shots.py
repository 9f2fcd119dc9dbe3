# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strips are shots, as a viewer would count them, and which strip shows each. Main thread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import bpy

from ..jobs.request import Span
from . import isolate, opaque, strips
from .strips import has_picture, span

_TRANSITIONS = ("CROSS", "GAMMA_CROSS", "WIPE")
_NO_SHOTS = {
    **dict.fromkeys(_TRANSITIONS, "a transition"),
    "TEXT": "a title",
    "COLOR": "a plain color",
    "ADJUSTMENT": "an adjustment layer",
    "MASK": "a mask",
}


@dataclass(frozen=True)
class LeftOut:
    """A strip that is no shot, and why: words that follow "it is"."""

    strip: str
    reason: str


def clips(chosen: Iterable[Any]) -> list[Any]:
    """The strips that sounds for the chosen ones belong to, each once. A sound of ours stands for its clip."""
    found: list[Any] = []
    for strip in chosen:
        clip = clip_under(strips.clip_of(strip) or strip)
        if clip not in found:
            found.append(clip)
    return found


def clip_under(strip: Any) -> Any:
    """The strip that an effect of one input works on, such as a Speed effect; any other strip itself."""
    below = isolate.inputs(strip)
    return clip_under(below[0]) if len(below) == 1 else strip


def shown_by(clip: Any) -> Any:
    """The topmost effect of one input that works on the clip, or else the clip itself."""
    effects = [
        strip for strip in isolate.level(clip).strips if isolate.inputs(strip) == [clip] and not isolate.is_muted(strip)
    ]
    return shown_by(max(effects, key=lambda effect: effect.channel)) if effects else clip


def every(scene: bpy.types.Scene) -> tuple[list[Any], list[LeftOut]]:
    """The shots on the edit's top level from left to right, and what else has a picture there."""
    edit: Any = scene.sequence_editor
    shots: list[Any] = []
    left_out: list[LeftOut] = []
    for strip in sorted(edit.strips if edit else (), key=lambda strip: (span(strip).start, strip.channel)):
        if not has_picture(strip) or clip_under(strip) != strip:
            continue
        reason = _reason_against(strip)
        if reason:
            left_out.append(LeftOut(strip.name, reason))
        else:
            shots.append(strip)
    return shots, left_out


def _reason_against(clip: Any) -> str:
    shown = shown_by(clip)
    if clip.type in _NO_SHOTS:
        return _NO_SHOTS[clip.type]
    if isolate.is_muted(shown):
        return "muted"
    return "hidden by other strips" if not _seen(shown) else ""


def _seen(shown: Any) -> list[Span]:
    """In which frames the strip isn't wholly covered."""
    seen = [span(shown)]
    for cover in isolate.level(shown).strips:
        if cover.channel > shown.channel and not isolate.is_muted(cover) and _covers(cover, shown):
            for piece in _rendered(cover):
                seen = [rest for part in seen for rest in part.without(piece)]
    return seen


def _covers(cover: Any, strip: Any) -> bool:
    if strip in _deep_inputs(cover):
        # A transition shows the shot; what is composited is a shot of its own.
        return cover.type not in _TRANSITIONS
    return opaque.hides_below(cover)


def _rendered(strip: Any) -> list[Span]:
    """In which frames the strip is seen by itself: where an effect works on it, that is seen in its place."""
    pieces = [span(strip)]
    for effect in isolate.level(strip).strips:
        if strip in isolate.inputs(effect) and effect.channel > strip.channel and not isolate.is_muted(effect):
            pieces = [rest for piece in pieces for rest in piece.without(span(effect))]
    return pieces


def _deep_inputs(strip: Any) -> Sequence[Any]:
    direct = isolate.inputs(strip)
    return [*direct, *(deeper for below in direct for deeper in _deep_inputs(below))]
