# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of loudness and true peak: the synthetic stereo cases of EBU Tech 3341 (v4, table 1), and the gain to a target."""

import math
import re
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from addon.media.loudness import Loudness, measure
from tests.sounds import Samples, noise, write_wav

TOLERANCE_LU = 0.1
RATES = (44_100, 48_000)


def tone(seconds: float, dbfs: float, *, hertz: float = 1000, rate: int = 48_000, channels: int = 2) -> Samples:
    """Return a sine whose peak level is `dbfs`."""
    times = np.arange(round(seconds * rate)) / rate
    mono = 10 ** (dbfs / 20) * np.sin(2 * math.pi * hertz * times)
    return np.repeat(mono[:, None], channels, axis=1).astype(np.float32)


def tapered(samples: Samples, rate: int) -> Samples:
    """Return the samples with a fade of 10 ms at both ends."""
    fade = round(0.01 * rate)
    gain = np.interp(np.arange(len(samples)), (0, fade, len(samples) - 1 - fade, len(samples) - 1), (0, 1, 1, 0))
    return (samples * gain[:, None]).astype(np.float32)


# Successive tones of 1 kHz as (seconds, dBFS), and their integrated loudness in LUFS. The other cases have five channels,
# are recordings, or are about momentary and short-term loudness.
INTEGRATED = {
    "1": (((20, -23),), -23),
    "2": (((20, -33),), -33),
    "3": (((10, -36), (60, -23), (10, -36)), -23),
    "4": (((10, -72), (10, -36), (60, -23), (10, -36), (10, -72)), -23),
    "5": (((20, -26), (20.1, -20), (20, -26)), -23),
}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("case", INTEGRATED)
def test_integrated_loudness_of_ebu_tech_3341(case: str, rate: int) -> None:
    levels, expected = INTEGRATED[case]
    measured = measure((tone(*level, rate=rate) for level in levels), rate).lufs
    print(f"case {case} at {rate} Hz: {measured:.3f} LUFS, {measured - expected:+.3f} LU")
    assert measured == pytest.approx(expected, abs=TOLERANCE_LU)


# Amplitude relative to full scale, sample rate divided by frequency, phase in degrees, and the true peak in dBTP.
TRUE_PEAKS = {
    "15": (0.5, 4, 0, -6.0),
    "16": (0.5, 4, 45, -6.0),
    "17": (0.5, 6, 60, -6.0),
    "18": (0.5, 8, 67.5, -6.0),
    "19": (1.41, 4, 45, 3.0),
}


def assert_true_peak(measured: float, expected: float) -> None:
    print(f"{measured:.3f} dBTP, {measured - expected:+.3f} dB")
    assert expected - 0.4 <= measured <= expected + 0.2


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("case", TRUE_PEAKS)
def test_true_peak_of_ebu_tech_3341(case: str, rate: int) -> None:
    amplitude, period, degrees, expected = TRUE_PEAKS[case]
    mono = amplitude * np.sin(2 * math.pi * np.arange(rate) / period + math.radians(degrees))
    stereo = np.repeat(mono[:, None], 2, axis=1)
    assert_true_peak(measure([tapered(stereo.astype(np.float32), rate)], rate).true_peak_dbtp, expected)


@pytest.mark.parametrize("offset", range(4))
def test_true_peak_of_one_loud_period_wherever_it_was_sampled(offset: int) -> None:
    """Cases 20 to 23: a sine of fs/6 and amplitude 0.5 with one period of fs/4 and amplitude 1, decimated from 4 fs."""
    rate = 48_000
    quiet, loud = 0.5 * np.sin(2 * math.pi * np.arange(24 * 1000) / 24), np.sin(2 * math.pi * np.arange(16) / 16)
    spectrum = np.fft.rfft(np.concatenate([quiet, loud, quiet[: -len(loud)]]))
    spectrum[len(spectrum) // 4 :] = 0
    decimated = np.fft.irfft(spectrum)[offset::4]
    stereo = np.repeat(decimated[:, None], 2, axis=1).astype(np.float32)
    assert_true_peak(measure([tapered(stereo, rate)], rate).true_peak_dbtp, 0.0)


@pytest.mark.parametrize("position", ["start", "boundary", "end"])
def test_a_peak_between_samples_is_found_anywhere(position: str) -> None:
    """A sine of fs/4 whose peaks lie between its samples: at the start, where chunks of 1 s meet, and at the very end."""
    rate = 48_000
    burst = np.array([1, 1, -1, -1], np.float32)[:, None].repeat(2, axis=1) * np.float32(0.5)
    start = {"start": 0, "boundary": rate - 2, "end": 2 * rate - 4}[position]
    samples = np.zeros((2 * rate, 2), np.float32)
    samples[start : start + 4] = burst
    alone = measure([burst], rate).true_peak_dbtp
    assert alone > 20 * math.log10(0.5) + 1
    assert measure([samples], rate).true_peak_dbtp == pytest.approx(alone, abs=0.01)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_sound_is_equally_loud_at_all_sample_rates(rate: int, channels: int) -> None:
    for hertz in (30, 100, 500, 1000, 2000, 5000):
        at_48_khz = measure([tone(2, -20, hertz=hertz, channels=channels)], 48_000).lufs
        measured = measure([tone(2, -20, hertz=hertz, rate=rate, channels=channels)], rate).lufs
        assert measured == pytest.approx(at_48_khz, abs=TOLERANCE_LU), hertz


def test_mono_is_one_channel() -> None:
    # Half the power of the stereo sound.
    assert measure([tone(2, -20, channels=1)], 48_000).lufs == pytest.approx(-20 - 3.01, abs=TOLERANCE_LU)


def pieces(samples: Samples, seed: int) -> Iterator[Samples]:
    """Yield the samples in blocks of random lengths, some of them empty."""
    random = np.random.default_rng(seed)
    start = 0
    while start < len(samples):
        end = start + int(random.choice([0, 1, 7, 1000, 48_000, 100_000]))
        yield samples[start:end]
        start = end


@pytest.mark.parametrize("seed", range(5))
def test_the_length_of_blocks_makes_no_difference(seed: int) -> None:
    rate = 44_100
    sound = np.concatenate([noise(2.37, seed=seed), noise(1.5, seed=seed, level=0.01), noise(0.8, seed=seed)])
    whole, in_pieces = measure([sound], rate), measure(pieces(sound, seed), rate)
    assert in_pieces.lufs == pytest.approx(whole.lufs, abs=1e-6)
    assert in_pieces.true_peak_dbtp == pytest.approx(whole.true_peak_dbtp, abs=1e-6)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_ffmpeg_measures_the_same(rate: int, tmp_path: Path) -> None:
    # The second part is below the relative gate.
    sound = np.concatenate([noise(3, seed=1, level=level, rate=rate) for level in (0.2, 0.003, 0.1)])
    # What is close to half the sample rate, ffmpeg resamples with a loss.
    sound[1:-1] = (sound[:-2] + 2 * sound[1:-1] + sound[2:]) / 4
    sound[6 * rate :] += tone(3, -18, hertz=60, rate=rate)
    file = write_wav(tmp_path / "sound.wav", sound, rate)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostats", "-i", str(file), "-af", "ebur128=peak=true", "-f", "null", "-"]
    summary = subprocess.run(command, capture_output=True, text=True, check=True).stderr.rpartition("Summary:")[2]
    lufs, peak = (float(re.findall(rf"{name}: +(-?[\d.]+)", summary)[0]) for name in ("I", "Peak"))
    measured = measure([sound], rate)
    print(f"{measured.lufs:.2f} LUFS, ffmpeg {lufs}; {measured.true_peak_dbtp:.2f} dBTP, ffmpeg {peak}")
    assert measured.lufs == pytest.approx(lufs, abs=TOLERANCE_LU)
    assert measured.true_peak_dbtp == pytest.approx(peak, abs=0.3)


@pytest.mark.parametrize("seconds", [0.04, 0.1, 0.399])
def test_a_sound_shorter_than_a_gating_block_has_the_loudness_of_its_own_length(seconds: float) -> None:
    assert measure([tone(seconds, -20)], 48_000).lufs == pytest.approx(-20, abs=0.3)
    assert measure([tone(seconds, -20), tone(1, -160)], 48_000).lufs < -20.5


def test_a_single_sample_can_be_measured() -> None:
    assert measure([np.full((1, 2), 0.5, np.float32)], 48_000).true_peak_dbtp == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize("seconds", [0, 0.1, 3])
def test_silence_has_no_loudness_and_gets_no_gain(seconds: float) -> None:
    silence = np.zeros((round(seconds * 48_000), 2), np.float32)
    for blocks in ([silence], []):
        assert measure(blocks, 48_000) == Loudness(-math.inf, -math.inf)
        assert measure(blocks, 48_000).gain_db(-23) == 0


def test_what_is_below_the_absolute_gate_counts_as_silence() -> None:
    hum = measure([tone(3, -72)], 48_000)
    assert hum.lufs == -math.inf
    assert hum.gain_db(-16) == 0


@pytest.mark.parametrize(
    ("lufs", "true_peak", "target", "gain"),
    [
        (-30, -20, -23, 7),
        (-30, -20, -16, 14),
        (-10, -3, -23, -13),
        # The peak stays below -1 dBTP, even if the sound must be made quieter for that although it is below the target.
        (-30, -5, -16, 4),
        (-30, 0.5, -23, -1.5),
        (-10, 3, -23, -13),
        (-23, -1, -23, 0),
    ],
)
def test_the_gain_leads_to_the_target_unless_the_peak_forbids_it(
    lufs: float, true_peak: float, target: float, gain: float
) -> None:
    assert Loudness(lufs, true_peak).gain_db(target) == pytest.approx(gain)


def test_the_gain_brings_a_sound_to_its_target() -> None:
    sound = noise(2, seed=1, level=0.01)
    for target in (-23, -16):
        gain = measure([sound], 44_100).gain_db(target)
        assert measure([sound * np.float32(10 ** (gain / 20))], 44_100).lufs == pytest.approx(target, abs=0.01)


def test_a_long_sound_takes_no_more_memory_than_a_short_one() -> None:
    rate, minutes = 8000, 10
    block = noise(60, seed=1, rate=rate, channels=1)
    tracemalloc.start()
    try:
        measure((block for _ in range(minutes)), rate)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"peak {peak / 1e6:.2f} MB")
    # Complex and real figures of a dozen chunks of 1.1 s; the whole sound has 19 MB.
    assert peak < 2e6
