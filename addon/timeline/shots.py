# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection of shots, as a viewer would count them, and of the strip that displays each. Main thread."""

import bisect
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from ..jobs.model.request import Span
from . import compat, isolate, opacity, strips
from .strip_types import PictureStrip, Strip
from .strips import has_picture, span

_REASONS = {
    **dict.fromkeys(opacity.TRANSITIONS, "a transition"),
    "TEXT": "a title",
    "COLOR": "a plain color",
    "ADJUSTMENT": "an adjustment layer",
    "MASK": "a mask",
}
"""Why strips of these types aren't shots."""

_AnyStrip = TypeVar("_AnyStrip", bound=Strip)


@dataclass(frozen=True)
class ExcludedStrip:
    """Strip with a picture that isn't a shot."""

    strip: str
    """Name of the strip."""
    reason: str
    """Words that follow "it is"."""


def clips(selected: Iterable[Strip]) -> list[Strip]:
    """Return the clips of the selected strips, each once: the clips of a generated sound, or the base strip of an effect."""
    marked: dict[isolate.Container, dict[str, list[PictureStrip]]] = {}
    found: list[Strip] = []
    for strip in selected:
        container = isolate.container(strip)
        if strip.type == "SOUND" and container not in marked:
            marked[container] = strips.clips_by_mark(container)
        found += strips.clips_of(strip, marked.get(container)) or [strip]
    return list(dict.fromkeys(base_strip(clip) for clip in found))


def base_strip(strip: Strip) -> Strip:
    """Return the strip below all effects of one input, such as a Speed effect. Any other strip is its own base."""
    below = isolate.inputs(strip)
    return base_strip(below[0]) if len(below) == 1 else strip


def topmost_effects(clips: Iterable[_AnyStrip]) -> list[_AnyStrip | PictureStrip]:
    """Return the strip that displays each clip: the topmost effect of one input applied to it, or the clip itself."""
    effects: dict[isolate.Container, dict[Strip, list[PictureStrip]]] = {}
    shown: list[_AnyStrip | PictureStrip] = []
    for clip in clips:
        parent = isolate.container(clip)
        if parent not in effects:
            effects[parent] = isolate.single_input_effects(parent)
        shown.append(isolate.topmost_effect(clip, effects[parent]))
    return shown


def find_shots(container: isolate.Container) -> tuple[list[PictureStrip], list[ExcludedStrip]]:
    """Return the shots in an edit or a meta strip from left to right, and the other strips with a picture."""
    edit = _PictureStrips(container)
    shots: list[PictureStrip] = []
    excluded: list[ExcludedStrip] = []
    for strip in sorted(edit.spans, key=lambda strip: (edit.spans[strip].start, strip.channel)):
        if base_strip(strip) != strip:
            continue
        reason = edit.reason_against(strip)
        if reason:
            excluded.append(ExcludedStrip(strip.name, reason))
        else:
            shots.append(strip)
    return shots, excluded


class _PictureStrips:
    """Strips with a picture in an edit or a meta strip, with cached properties."""

    def __init__(self, parent: isolate.Container) -> None:
        self._effects = isolate.single_input_effects(parent)
        strips = [strip for strip in parent.strips if has_picture(strip)]
        self.spans = {strip: span(strip) for strip in strips}
        unmuted = [strip for strip in strips if not isolate.is_muted(strip)]
        self._unmuted = set(unmuted)
        self._inputs = {strip: _all_inputs(strip) for strip in strips}
        self._effects_on: dict[PictureStrip, list[PictureStrip]] = {}
        for effect in unmuted:
            for strip in self._inputs[effect]:
                self._effects_on.setdefault(strip, []).append(effect)
        self._from_left = sorted(unmuted, key=lambda strip: self.spans[strip].start)
        self._starts = [self.spans[strip].start for strip in self._from_left]
        self._ends = list(itertools.accumulate((self.spans[strip].end for strip in self._from_left), max))
        """The last end of each of them and those to its left."""
        self._opaque_spans: dict[PictureStrip, list[Span]] = {}

    def reason_against(self, clip: PictureStrip) -> str:
        """Return why the strip isn't a shot, or an empty string if it is one."""
        shown = isolate.topmost_effect(clip, self._effects)
        if clip.type in _REASONS:
            return _REASONS[clip.type]
        if shown not in self._unmuted or (shown.blend_alpha == 0 and not compat.is_animated(shown, "blend_alpha")):
            return "muted or transparent"
        if clip.type == "META" and not any(_PictureStrips(clip).is_shot(part) for part in clip.strips if has_picture(part)):
            return "a meta strip without a shot"
        if not self._visible_spans(shown):
            return "hidden by other strips"
        shot = next((part for part in self._inputs[clip] if self.is_shot(part)), None)
        return f"a part of “{shot.name}”" if shot is not None else ""

    def is_shot(self, strip: PictureStrip) -> bool:
        return not self.reason_against(strip)

    def _visible_spans(self, strip: PictureStrip) -> list[Span]:
        """Return the spans in which the strip isn't wholly covered."""
        visible = [self.spans[strip]]
        for cover in self._unmuted_in(self.spans[strip]):
            if visible and cover.channel > strip.channel:
                for covered in self._covered_spans(cover, strip):
                    visible = [rest for part in visible for rest in part.without(covered)]
        return visible

    def _unmuted_in(self, span: Span) -> list[PictureStrip]:
        """Return the unmuted strips that share frames with the span."""
        found: list[PictureStrip] = []
        number = bisect.bisect_left(self._starts, span.end)
        while number and self._ends[number - 1] > span.start:
            number -= 1
            if self.spans[self._from_left[number]].common(span).frames:
                found.append(self._from_left[number])
        return found

    def _covered_spans(self, cover: PictureStrip, strip: PictureStrip) -> list[Span]:
        """Return the spans in which `cover` hides the strip below it."""
        if strip in self._inputs[cover]:
            # A transition still shows the shot. A composite is a shot of its own, made of its inputs.
            return [] if cover.type in opacity.TRANSITIONS else [self.spans[cover]]
        if cover not in self._opaque_spans:
            self._opaque_spans[cover] = self._displayed(cover, [Span(*part) for part in opacity.opaque_ranges(cover)])
        return self._opaque_spans[cover]

    def _displayed(self, strip: PictureStrip, spans: list[Span]) -> list[Span]:
        """Return the parts of the spans in which the strip is displayed itself, rather than through an effect."""
        for effect in self._effects_on.get(strip, ()):
            if effect.channel > strip.channel:
                spans = [rest for part in spans for rest in part.without(self.spans[effect])]
        return spans


def _all_inputs(strip: Strip) -> list[PictureStrip]:
    """Return the inputs of an effect at any depth."""
    direct = isolate.inputs(strip)
    return [*direct, *(deeper for below in direct for deeper in _all_inputs(below))]
