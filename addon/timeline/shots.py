# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strips are shots, as a viewer would count them, and which strip shows each. Main thread."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import bpy

from ..jobs.model.request import Span
from . import compat, isolate, opaque, strips
from .strips import has_picture, span

_REASONS = {
    **dict.fromkeys(opaque.TRANSITIONS, "a transition"),
    "TEXT": "a title",
    "COLOR": "a plain color",
    "ADJUSTMENT": "an adjustment layer",
    "MASK": "a mask",
}
"""Why strips of these types are no shots."""


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


def shown_by(shots: Iterable[Any]) -> list[Any]:
    """The strip that shows each of them: the topmost effect of one input that works on it, or itself."""
    effects: dict[Any, dict[Any, list[Any]]] = {}
    shown: list[Any] = []
    for clip in shots:
        around = isolate.level(clip)
        if around not in effects:
            effects[around] = isolate.effects_in(around)
        shown.append(isolate.shown_by(clip, effects[around]))
    return shown


def every(scene: bpy.types.Scene) -> tuple[list[Any], list[LeftOut]]:
    """The shots on the edit's top level from left to right, and what else has a picture there."""
    if not scene.sequence_editor:
        return [], []
    edit = _Level(scene.sequence_editor)
    shots: list[Any] = []
    left_out: list[LeftOut] = []
    for strip in sorted(edit.spans, key=lambda strip: (edit.spans[strip].start, strip.channel)):
        if clip_under(strip) != strip:
            continue
        reason = edit.reason_against(strip)
        if reason:
            left_out.append(LeftOut(strip.name, reason))
        else:
            shots.append(strip)
    return shots, left_out


class _Level:
    """The strips with a picture of an edit or a meta strip, with what is asked of them again and again."""

    def __init__(self, around: Any) -> None:
        self._effects = isolate.effects_in(around)
        strips = [strip for strip in around.strips if has_picture(strip)]
        self.spans = {strip: span(strip) for strip in strips}
        self._unmuted = [strip for strip in strips if not isolate.is_muted(strip)]
        self._inputs = {strip: _deep_inputs(strip) for strip in strips}
        self._hidden_below: dict[Any, list[Span]] = {}

    def reason_against(self, clip: Any) -> str:
        """Why the strip is no shot; empty for one that is."""
        shown = isolate.shown_by(clip, self._effects)
        if clip.type in _REASONS:
            return _REASONS[clip.type]
        if shown not in self._unmuted or (shown.blend_alpha == 0 and not compat.is_animated(shown, "blend_alpha")):
            return "muted or transparent"
        if clip.type == "META" and not any(_Level(clip).is_shot(part) for part in clip.strips if has_picture(part)):
            return "a meta strip without a shot"
        if not self.seen(shown):
            return "hidden by other strips"
        longer = next((part for part in self._inputs[clip] if self.is_shot(part)), None)
        return f"a part of “{longer.name}”" if longer is not None else ""

    def is_shot(self, strip: Any) -> bool:
        return not self.reason_against(strip)

    def seen(self, shown: Any) -> list[Span]:
        """In which frames the strip isn't wholly covered; none where it always is."""
        left = [self.spans[shown]]
        for cover in self._unmuted:
            if left and cover.channel > shown.channel and self.spans[cover].common(self.spans[shown]).frames:
                for piece in self._covered_by(cover, shown):
                    left = [rest for part in left for rest in part.without(piece)]
        return left

    def _covered_by(self, cover: Any, strip: Any) -> list[Span]:
        if strip in self._inputs[cover]:
            # A transition still shows the shot; a composite is a shot of its own, made of its inputs.
            return [] if cover.type in opaque.TRANSITIONS else [self.spans[cover]]
        if cover not in self._hidden_below:
            self._hidden_below[cover] = self._rendered(cover, [Span(*part) for part in opaque.hides_below(cover)])
        return self._hidden_below[cover]

    def _rendered(self, strip: Any, pieces: list[Span]) -> list[Span]:
        """The frames of these in which the strip is seen by itself, not by an effect that works on it."""
        for effect in self._unmuted:
            if strip in self._inputs[effect] and effect.channel > strip.channel:
                pieces = [rest for piece in pieces for rest in piece.without(self.spans[effect])]
        return pieces


def _deep_inputs(strip: Any) -> list[Any]:
    direct = isolate.inputs(strip)
    return [*direct, *(deeper for below in direct for deeper in _deep_inputs(below))]
