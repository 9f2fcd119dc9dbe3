# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry of cross-fades: which sounds meet, where their fades are, and which channels they need. Changes nothing.

Positions and lengths are timeline frames.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..jobs.model.request import Span
from . import compat, isolate
from .errors import NoChannel
from .strip_types import SoundStrip, Strip

EXTENSION_PROPERTY = "mmaudio_extension"
"""Custom property of a cross-faded sound: by how many frames its left and its right handle are beyond the cuts there.

A cut is not always in the middle of its fade, since a sound may have too little content on one side.
"""

_GAP_MAX = 1
"""Gap between sounds that meet. Sounds of adjoining clips may be a rounding apart."""


@dataclass(frozen=True)
class CrossFade:
    """Two sounds that meet at a cut, and where the fade between them starts and ends."""

    before: SoundStrip
    after: SoundStrip
    cut: int
    start: int
    end: int


@dataclass(frozen=True)
class Move:
    """New handles and channel of a sound."""

    sound: SoundStrip
    span: Span
    channel: int


def neighbours(sounds: Collection[SoundStrip]) -> list[tuple[SoundStrip, SoundStrip]]:
    """Return the pairs of sounds of which one starts where the other ends, or overlaps its end.

    Each end of a sound is in one pair at most, with the sound on the nearest channel. Muted and unmuted sounds don't pair.
    """
    pairs: list[tuple[SoundStrip, SoundStrip]] = []
    for after in sorted(sounds, key=isolate.frame_range):
        paired = [before for before, _ in pairs]
        meeting = [sound for sound in sounds if sound not in paired and _meet(sound, after)]
        if meeting:
            # Of several on one channel, the last to start.
            nearest = min(meeting, key=lambda sound: (abs(sound.channel - after.channel), -compat.left_handle(sound)))
            pairs.append((nearest, after))
    return pairs


def _meet(before: SoundStrip, after: SoundStrip) -> bool:
    (left, end), (start, right) = isolate.frame_range(before), isolate.frame_range(after)
    alike = isolate.container(before) == isolate.container(after) and isolate.is_muted(before) == isolate.is_muted(after)
    # Sounds that overlap by more are layered on purpose, unless they are faded already.
    is_faded = _range_without_fades(before)[1] == _range_without_fades(after)[0]
    is_layered = (end - start) * 2 > min(end - left, right - start) and not is_faded
    return alike and left < start <= end + _GAP_MAX and end < right and not is_layered


def cross_fades(pairs: Sequence[tuple[SoundStrip, SoundStrip]], frames: int) -> list[CrossFade]:
    """Return the fades of this length, centered on the cuts between the pairs.

    A fade is shorter on the side where a sound has no content beyond the cut. It takes at most half of each sound, since a
    fade at the other end may need the rest. If neither sound has content beyond the cut, the fade has no length.
    """
    cuts = [_cut(before, after) for before, after in pairs]
    starts = {after: cut for (_, after), cut in zip(pairs, cuts, strict=True)}
    ends = {before: cut for (before, _), cut in zip(pairs, cuts, strict=True)}

    def half(sound: SoundStrip) -> int:
        left, right = _range_without_fades(sound)
        return (ends.get(sound, right) - starts.get(sound, left)) // 2

    fades: list[CrossFade] = []
    for (before, after), cut in zip(pairs, cuts, strict=True):
        longest = min(half(before), half(after))
        earlier = min(frames // 2, longest, cut - _first_content(after))
        later = min(frames - frames // 2, longest, _last_content(before) - cut)
        fades.append(CrossFade(before, after, cut, cut - earlier, cut + later))
    return fades


def _cut(before: SoundStrip, after: SoundStrip) -> int:
    """Return the frame at which the sounds meet without their fade: the middle of their overlap, if it is not of a fade."""
    end, start = _range_without_fades(before)[1], _range_without_fades(after)[0]
    # They differ if the sounds were moved or trimmed after the fade.
    return end if end == start else (compat.left_handle(after) + compat.right_handle(before)) // 2


def _range_without_fades(sound: SoundStrip) -> tuple[int, int]:
    left, right = isolate.frame_range(sound)
    beyond_left, beyond_right = sound.get(EXTENSION_PROPERTY, (0, 0))
    without = left + beyond_left, right - beyond_right
    return without if without[0] < without[1] else (left, right)


def _first_content(sound: SoundStrip) -> int:
    # The handle counts too, since Blender rounds the length of the content.
    content = math.ceil(compat.content_start(sound) + compat.content_trim_start(sound))
    return min(content, _range_without_fades(sound)[0])


def _last_content(sound: SoundStrip) -> int:
    return max(compat.content_end(sound), _range_without_fades(sound)[1])


def moves(fades: Sequence[CrossFade]) -> list[Move]:
    """Return the handles and channels that the sounds of the fades need.

    A sound stays on its channel if that is free. Otherwise it needs the nearest one that is free over its whole new range,
    unlocked, and muted only if its own is. Raise NoChannel if there is none.
    """
    spans: dict[Strip, Span] = {}
    for fade in fades:
        spans[fade.before] = Span(spans.get(fade.before, _span(fade.before)).start, fade.end)
        spans[fade.after] = Span(fade.start, spans.get(fade.after, _span(fade.after)).end)
    sounds = list(dict.fromkeys(sound for fade in fades for sound in (fade.before, fade.after)))
    channels: dict[Strip, int] = {}
    for sound in sorted(sounds, key=lambda sound: spans[sound].start):
        channels[sound] = _channel(sound, spans, channels)
    return [Move(sound, spans[sound], channels[sound]) for sound in sounds]


def _channel(sound: SoundStrip, spans: Mapping[Strip, Span], placed: Mapping[Strip, int]) -> int:
    """Return the channel for the sound. `placed` are those of the sounds that have theirs already."""
    parent = isolate.container(sound)
    waiting: set[int] = set()
    occupied: set[int] = set()
    for other in parent.strips:
        if other != sound and spans.get(other, _span(other)).common(spans[sound]).frames:
            # A sound that waits for its channel gives way to this one, but is not driven from where it is.
            (waiting if other in spans and other not in placed else occupied).add(placed.get(other, other.channel))
    if sound.channel not in occupied:
        return sound.channel
    channels, muted = parent.channels, parent.channels[sound.channel].mute
    for number in sorted(isolate.CHANNELS, key=lambda number: abs(number - sound.channel)):
        if number not in occupied | waiting and not channels[number].lock and channels[number].mute == muted:
            return number
    text = f"No channel is free and unlocked for “{sound.name}”, which needs another one for the fade."
    raise NoChannel(text)


def _span(strip: Strip) -> Span:
    return Span(*isolate.frame_range(strip))
