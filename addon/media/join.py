# SPDX-License-Identifier: GPL-3.0-or-later
"""Several stretches of sound become one: cross-faded where they overlap, faded out and in where they don't. No bpy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Shape (samples, channels), from -1 to 1."""

CROSS_FADE_SECONDS = 0.25
# Where clicks follow each other so closely that none of that length is free of them, it gets shorter. Not further: two
# results place the same click up to some 30 ms apart, and a cross-fade between the two would let it sound twice or never.
_CROSS_FADES_SECONDS = (CROSS_FADE_SECONDS, CROSS_FADE_SECONDS / 2, CROSS_FADE_SECONDS / 4)
# In power, 3 dB: what a longer cross-fade may be louder than the shortest. Noise of any colour stays below it.
_LOUDER_MAX = 2.0
# What a run returns beyond its duration, 10 to 30 ms, and the rest of the codec's last frame.
_EDGE_SECONDS = 0.05
# As short as a click, so that even a weak one stands out from noise.
_MOMENT_SECONDS = 0.002
# A sound that ends too early is not cut off but let go, and the next is let in.
_LET_GO_SECONDS = 0.05


@dataclass(frozen=True, eq=False)
class Segment:
    """Samples and where the first of them belongs, in samples from the sound's beginning."""

    start: int
    samples: Samples

    @property
    def end(self) -> int:
        return self.start + len(self.samples)

    def between(self, start: int, end: int) -> Samples:
        return self.samples[max(start - self.start, 0) : max(end - self.start, 0)]


def join(segments: Iterable[Segment], rate: int, end: int) -> Iterator[Segment]:
    """The stretches, in the order of their starts, as ones that don't overlap; where there is no sound, none is returned.

    At most two stretches are held at a time. A sound that ends before `end`, in samples, is faded out there.
    """
    held: Segment | None = None
    for new in segments:
        if held is None:
            held = new
        elif new.start >= held.end:
            yield Segment(held.start, fade_out(held.samples, rate))
            held = Segment(new.start, fade_in(new.samples, rate))
        elif new.end > held.end:
            start = max(new.start, held.start)
            old_side, new_side = held.between(start, held.end), new.between(start, held.end)
            skip, count = quietest(old_side, new_side, rate)
            yield Segment(held.start, held.between(held.start, start + skip))
            faded = cross_fade(old_side[skip : skip + count], new_side[skip : skip + count])
            yield Segment(start + skip, faded)
            held = Segment(start + skip + count, new.between(start + skip + count, new.end))
    if held is not None:
        yield held if held.end >= end else Segment(held.start, fade_out(held.samples, rate))


def quietest(old: Samples, new: Samples, rate: int) -> tuple[int, int]:
    """Where to cross-fade two sounds of the same length: (first sample, samples).

    It is where their loudest moment is quietest, so that a click or a step in level comes from one of them alone.
    """
    moment = max(round(_MOMENT_SECONDS * rate), 1)
    moments = len(old) // moment
    power = sum(
        np.square(side[: moments * moment]).reshape(moments, moment * side.shape[1]).sum(axis=1) for side in (old, new)
    )
    chosen = [_window(np.asarray(power), round(seconds * rate / moment), rate, moment) for seconds in _CROSS_FADES_SECONDS]
    if chosen[-1] is None:
        return 0, len(old)
    bearable = chosen[-1][0] * _LOUDER_MAX
    _, first, count = next(window for window in chosen if window is not None and window[0] <= bearable)
    return first * moment, count * moment


def _window(power: NDArray[np.float32], count: int, rate: int, moment: int) -> tuple[float, int, int] | None:
    """The quietest `count` moments on end, as (their loudest, first, count), nearest to the middle where several are."""
    if count > len(power):
        return None
    loudest = np.lib.stride_tricks.sliding_window_view(power, count).max(axis=1)
    edge = min(round(_EDGE_SECONDS * rate / moment), (len(loudest) - 1) // 2)
    inner = loudest[edge : len(loudest) - edge]
    places = np.flatnonzero(inner == inner.min())
    first = int(places[np.argmin(np.abs(places - len(inner) // 2))])
    return float(inner[first]), edge + first, count


def cross_fade(old: Samples, new: Samples) -> Samples:
    """Fades from one to the other with equal power. Both have the same shape.

    That holds for sounds that have nothing in common, as two runs' noise. What they do have in common, a hum say, adds up
    to 3 dB more; how much that is, is measured here and taken back, so that a sound cross-faded with itself stays as it is.
    """
    angle = (np.arange(len(old), dtype=np.float32)[:, None] + 0.5) / max(len(old), 1) * (np.pi / 2)
    gain_old, gain_new = np.cos(angle), np.sin(angle)
    power_old, power_new, common = (float(np.vdot(*pair)) for pair in ((old, old), (new, new), (old, new)))
    # Sounds that cancel each other out are not raised by more than 3 dB.
    common = max(common, -0.5 * float(np.sqrt(power_old * power_new)))
    apart = gain_old**2 * power_old + gain_new**2 * power_new
    together = apart + 2 * gain_old * gain_new * common
    level = np.sqrt(np.divide(apart, together, out=np.ones_like(apart), where=together > 0))
    return (old * gain_old + new * gain_new) * level


def fade_out(samples: Samples, rate: int) -> Samples:
    fade = min(len(samples), round(_LET_GO_SECONDS * rate))
    faded = samples.copy()
    faded[len(faded) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return faded


def fade_in(samples: Samples, rate: int) -> Samples:
    return fade_out(samples[::-1], rate)[::-1]
