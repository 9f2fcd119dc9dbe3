# SPDX-License-Identifier: GPL-3.0-or-later
"""Integrated loudness and true peak of a sound, after ITU-R BS.1770-5, and the gain to a target level. No bpy."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .join import Samples

TRUE_PEAK_MAX_DBTP = -1.0
"""Highest true peak that a gain may lead to: the maximum permitted level of EBU R 128."""
_TABLE_RATE = 48_000
_K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
"""Stages of the K-weighting, as (numerator, denominator): a shelf for the effect of the head, and a high-pass. The
coefficients are those of BS.1770, tables 1 and 2, for 48 kHz."""
_OFFSET_DB = -0.691
"""Constant of BS.1770, equation 2. It cancels the gain of the K-weighting at 1 kHz."""
_STEP_SECONDS = 0.1
_BLOCK_STEPS = 4
"""Gating blocks are 400 ms long and overlap by 75 %: each has four steps."""
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_CHUNK_STEPS = 10
"""A chunk of 1 s is filtered at once. That takes 4 to 6 ms, measured with numpy 1.26 and 2.5, too short to block the
interface where numpy holds the GIL."""
_OVERSAMPLING = 4
"""Minimum of BS.1770, annex 2."""
_SINC_HALF = 32
"""Half the length of the interpolating filters, in samples. The error is below 0.01 dB up to 0.45 of the sample rate."""
_SINC_WINDOW_BETA = 6.0


@dataclass(frozen=True)
class Loudness:
    """Level of a whole sound."""

    lufs: float
    """Integrated loudness in LUFS, or -inf if no block exceeds the absolute gate of -70 LUFS."""
    true_peak_dbtp: float
    """Highest true peak of all channels, in dB relative to full scale, or -inf if all samples are 0."""

    def gain_db(self, target_lufs: float) -> float:
        """Return the gain in dB that brings the sound to the target, or as close as the true peak permits.

        The peak takes precedence over the target. Silence, whose loudness is -inf, gets 0.
        """
        if math.isinf(self.lufs):
            return 0.0
        return min(target_lufs - self.lufs, TRUE_PEAK_MAX_DBTP - self.true_peak_dbtp)


def measure(blocks: Iterable[Samples], rate: int) -> Loudness:
    """Measure a sound that comes in successive blocks of any length, at `rate` samples per second, at least 8000.

    All channels count alike, as the left and the right one do in BS.1770; mono is one channel. A sound shorter than a gating
    block of 400 ms, for which BS.1770 has no loudness, is measured as one block of its own length.

    Besides the blocks, about 1 s of samples is in memory at a time, and one figure for each 100 ms.
    """
    step = round(rate * _STEP_SECONDS)
    length = (1 + _CHUNK_STEPS) * step
    weighting, interpolators = _k_weighting(rate, length), _interpolators(length)
    energies: list[float] = []
    count, peak = 0, 0.0
    for chunk, filled in _chunks(blocks, step):
        spectrum = np.fft.rfft(chunk)
        weighted = np.fft.irfft(spectrum * weighting, length)[:, step:]
        # The filter rings on after the end of the sound.
        weighted[:, filled:] = 0
        energies.extend(np.square(weighted).reshape(len(chunk), _CHUNK_STEPS, step).sum(axis=(0, 2)))
        between = (np.fft.irfft(spectrum * interpolator, length) for interpolator in interpolators)
        peak = max(peak, *(float(np.abs(signal[:, step:]).max()) for signal in (chunk, *between)))
        count += filled
    return Loudness(_integrated(np.array(energies), count, step), 20 * math.log10(peak) if peak else -math.inf)


def _chunks(blocks: Iterable[Samples], step: int) -> Iterator[tuple[NDArray[np.float64], int]]:
    """Yield the sound as (chunk, number of samples), in chunks of shape (channels, samples) that begin one step early.

    The first step repeats the samples before the chunk and is not counted. It keeps the samples after it free of the
    FFT's wrap-around, since the K-weighting's impulse response has decayed below 1e-10 after 100 ms. The last chunk is
    silence, in which the delayed interpolation of the last samples ends. The memory of a chunk is reused for the next.
    """
    chunk: NDArray[np.float64] | None = None
    filled = step
    for block in blocks:
        if chunk is None:
            chunk = np.zeros((block.shape[1], (1 + _CHUNK_STEPS) * step))
        taken = 0
        while taken < len(block):
            part = block[taken : taken + chunk.shape[1] - filled]
            chunk[:, filled : filled + len(part)] = part.T
            taken, filled = taken + len(part), filled + len(part)
            if filled == chunk.shape[1]:
                yield chunk, filled - step
                chunk[:, :step] = chunk[:, -step:]
                filled = step
    if chunk is not None:
        for count in (filled - step, 0):
            chunk[:, step + count :] = 0
            yield chunk, count
            chunk[:, :step] = chunk[:, -step:]


def _k_weighting(rate: int, length: int) -> NDArray[np.complex128]:
    """Return the frequency response of the K-weighting for an FFT of `length` samples.

    At any other rate than 48 kHz, it is the bilinear transform of the same analog filter for that rate: a frequency has the
    response that the 48 kHz filter has at the same analog frequency. The two filters agree exactly at the corner frequency.
    """
    response = np.ones(length // 2 + 1, np.complex128)
    for numerator, denominator in _K_WEIGHTING:
        # The bilinear transform maps a digital frequency to the tangent of half its angle; this one is the corner's.
        corner = math.sqrt(np.polyval(denominator, 1) / np.polyval(denominator, -1))
        warp = corner / math.tan(math.atan(corner) * _TABLE_RATE / rate)
        angles = 2 * np.arctan(warp * np.tan(np.pi * np.fft.rfftfreq(length)))
        delay = np.exp(-1j * angles)
        response *= np.polyval(numerator[::-1], delay) / np.polyval(denominator[::-1], delay)
    return response


def _interpolators(length: int) -> list[NDArray[np.complex128]]:
    """Return frequency responses for an FFT of `length` samples, which give the values between each two samples.

    They are sinc functions of `2 * _SINC_HALF` samples under a Kaiser window, which delay the sound by nearly half of that.
    """
    responses: list[NDArray[np.complex128]] = []
    for fraction in np.arange(1, _OVERSAMPLING) / _OVERSAMPLING:
        times = np.arange(1 - _SINC_HALF, _SINC_HALF + 1) - fraction
        window = np.i0(_SINC_WINDOW_BETA * np.sqrt(1 - np.square(times / _SINC_HALF))) / np.i0(_SINC_WINDOW_BETA)
        responses.append(np.fft.rfft(np.sinc(times) * window, length))
    return responses


def _integrated(energies: NDArray[np.float64], count: int, step: int) -> float:
    """Return the gated loudness in LUFS of `count` samples, from the energy of each step, or -inf if all is below the gate.

    Steps that don't fill a gating block at the end of the sound don't count.
    """
    if count >= _BLOCK_STEPS * step:
        whole_steps = energies[: count // step]
        powers = np.lib.stride_tricks.sliding_window_view(whole_steps, _BLOCK_STEPS).sum(axis=1) / (_BLOCK_STEPS * step)
    else:
        powers = np.array([energies.sum() / max(count, 1)])
    audible = powers[powers > 10 ** ((_ABSOLUTE_GATE_LUFS - _OFFSET_DB) / 10)]
    if not len(audible):
        return -math.inf
    gated = audible[audible > audible.mean() * 10 ** (_RELATIVE_GATE_LU / 10)]
    return _OFFSET_DB + 10 * math.log10(gated.mean())
