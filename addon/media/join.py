# SPDX-License-Identifier: GPL-3.0-or-later
"""Joining of sound segments: cross-faded where they overlap, faded out and in around a gap. No bpy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Shape (samples, channels), from -1 to 1."""

CROSS_FADE_SECONDS = 0.25
_CROSS_FADES_SECONDS = (CROSS_FADE_SECONDS, CROSS_FADE_SECONDS / 2, CROSS_FADE_SECONDS / 4)
"""Lengths of a cross-fade. A shorter one is used if clicks are too dense for a longer one to avoid them. The last is the
minimum: two runs place the same click up to some 30 ms apart, and a cross-fade between the two would repeat or drop it."""
_POWER_RATIO_MAX = 2.0
"""Limit of a longer cross-fade's power relative to the shortest one's (3 dB). Noise of any color stays below it."""
_MARGIN_SECONDS = 0.05
"""Avoided at both ends of an overlap: what a run returns beyond its duration, 10 to 30 ms, and the rest of the codec's last
frame."""
_BLOCK_SECONDS = 0.002
"""Length over which power is measured: as short as a click, so that even a weak one stands out from noise."""
_FADE_SECONDS = 0.05
"""Length of the fade-out before a gap, and of the fade-in after it."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Samples with their position in the sound."""

    start: int
    """Position of the first sample, in samples from the start of the sound."""
    samples: Samples

    @property
    def end(self) -> int:
        return self.start + len(self.samples)

    def between(self, start: int, end: int) -> Samples:
        """Return the segment's samples in the range from `start` up to `end`."""
        return self.samples[max(start - self.start, 0) : max(end - self.start, 0)]


def join(segments: Iterable[Segment], rate: int, end: int) -> Iterator[Segment]:
    """Yield the segments, which must be ordered by start, as segments that don't overlap. Gaps yield nothing.

    At most two segments are in memory at a time. A sound that ends before `end`, in samples, is faded out.
    """
    current: Segment | None = None
    for new in segments:
        if current is None:
            current = new
        elif new.start >= current.end:
            yield Segment(current.start, fade_out(current.samples, rate))
            current = Segment(new.start, fade_in(new.samples, rate))
        elif new.end > current.end:
            start = max(new.start, current.start)
            old_side, new_side = current.between(start, current.end), new.between(start, current.end)
            skip, count = _quietest_section(old_side, new_side, rate)
            yield Segment(current.start, current.between(current.start, start + skip))
            faded = cross_fade(old_side[skip : skip + count], new_side[skip : skip + count])
            yield Segment(start + skip, faded)
            current = Segment(start + skip + count, new.between(start + skip + count, new.end))
    if current is not None:
        yield current if current.end >= end else Segment(current.start, fade_out(current.samples, rate))


def _quietest_section(old: Samples, new: Samples, rate: int) -> tuple[int, int]:
    """Return where to cross-fade two sounds of the same length, as (first sample, number of samples).

    The section with the quietest peak is chosen, so that a click or a step in level comes from one of the sounds alone.
    """
    block = max(round(_BLOCK_SECONDS * rate), 1)
    blocks = len(old) // block
    power = sum(np.square(side[: blocks * block]).reshape(blocks, block * side.shape[1]).sum(axis=1) for side in (old, new))
    lengths = (round(seconds * rate / block) for seconds in _CROSS_FADES_SECONDS)
    sections = [_find_section(np.asarray(power), length, rate, block) for length in lengths]
    if sections[-1] is None:
        return 0, len(old)
    limit = sections[-1][0] * _POWER_RATIO_MAX
    _, first, count = next(section for section in sections if section is not None and section[0] <= limit)
    return first * block, count * block


def _find_section(power: NDArray[np.float32], count: int, rate: int, block: int) -> tuple[float, int, int] | None:
    """Find the `count` successive blocks with the quietest peak, nearest to the middle if several are equal.

    Return (peak power, first block, number of blocks), or None if there are fewer blocks than `count`.
    """
    if count > len(power):
        return None
    peaks = np.lib.stride_tricks.sliding_window_view(power, count).max(axis=1)
    margin = min(round(_MARGIN_SECONDS * rate / block), (len(peaks) - 1) // 2)
    inner = peaks[margin : len(peaks) - margin]
    candidates = np.flatnonzero(inner == inner.min())
    first = int(candidates[np.argmin(np.abs(candidates - len(inner) // 2))])
    return float(inner[first]), margin + first, count


def cross_fade(old: Samples, new: Samples) -> Samples:
    """Fade from one sound to the other with equal power. Both must have the same shape.

    Equal-power gains keep the level of uncorrelated sounds, such as the noise of two runs. What the sounds have in common,
    such as a hum, would gain up to 3 dB. The correlation is measured here and compensated, so that a sound cross-faded
    with itself stays unchanged.
    """
    angle = (np.arange(len(old), dtype=np.float32)[:, None] + 0.5) / max(len(old), 1) * (np.pi / 2)
    gain_old, gain_new = np.cos(angle), np.sin(angle)
    power_old, power_new, common = (float(np.vdot(*pair)) for pair in ((old, old), (new, new), (old, new)))
    # Limits the compensation to 3 dB for sounds that cancel each other out.
    common = max(common, -0.5 * float(np.sqrt(power_old * power_new)))
    uncorrelated = gain_old**2 * power_old + gain_new**2 * power_new
    mixed = uncorrelated + 2 * gain_old * gain_new * common
    level = np.sqrt(np.divide(uncorrelated, mixed, out=np.ones_like(uncorrelated), where=mixed > 0))
    return (old * gain_old + new * gain_new) * level


def fade_out(samples: Samples, rate: int) -> Samples:
    fade = min(len(samples), round(_FADE_SECONDS * rate))
    faded = samples.copy()
    faded[len(faded) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return faded


def fade_in(samples: Samples, rate: int) -> Samples:
    return fade_out(samples[::-1], rate)[::-1]
