# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that a take is written at its target loudness, with a true peak of -1 dBTP at most."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addon.media.loudness import Loudness, measure
from tests.sounds import RATE, Coding, Samples, add_clicks, encode, faded, noise, read_wav, write_wav

pytestmark = pytest.mark.version_dependent

TOLERANCE_LU = 0.1
AAC = Coding("PyAV", "aac", "mp4", hidden=1024)

Conform = Callable[..., tuple[Loudness, Samples, Any]]


@pytest.fixture
def conform(addon: Any, tmp_path: Path) -> Conform:
    """Function that conforms files that start `step` seconds apart, and returns loudness, samples and what was reported."""

    def run(files: list[Path], length: float, *, step: int = 7, **options: Any) -> tuple[Loudness, Samples, Any]:
        parts = [addon.sound.RunResult(file, Fraction(step * number)) for number, file in enumerate(files)]
        target = tmp_path / "folder" / "sound.wav"
        conformed = addon.sound.conform(parts, Fraction(str(length)), target, lambda: None, **options)
        samples, rate = read_wav(target)
        return measure([samples], rate), samples, conformed

    return run


def windows_of_aac(folder: Path, *sounds: Samples) -> list[Path]:
    """Encode the sounds as the service delivers them."""
    sources = [write_wav(folder / f"{number}.wav", sound, RATE) for number, sound in enumerate(sounds)]
    targets = [source.with_suffix(".mp4") for source in sources]
    encode((source, AAC, target) for source, target in zip(sources, targets, strict=True))
    return targets


def test_a_take_is_brought_to_its_target(conform: Conform, tmp_path: Path) -> None:
    files = windows_of_aac(tmp_path, *(noise(8, seed=number, level=0.02) for number in range(3)))
    before, _, plain = conform(files, 24)
    assert plain.gain_db == 0
    for target in (-23, -16):
        after, _, louder = conform(files, 24, lufs=target)
        print(f"{before.lufs:.2f} LUFS before, {after.lufs:.3f} LUFS after a gain of {louder.gain_db:.2f} dB")
        assert after.lufs == pytest.approx(target, abs=TOLERANCE_LU)
        assert after.lufs - before.lufs == pytest.approx(louder.gain_db, abs=TOLERANCE_LU)
        # Counted once, although there are two passes.
        assert louder.missing_seconds == plain.missing_seconds == pytest.approx(2, abs=0.1)


def test_mono_is_brought_to_its_target(conform: Conform, tmp_path: Path) -> None:
    file = write_wav(tmp_path / "mono.wav", noise(3, seed=1, level=0.02, rate=48_000, channels=1), 48_000)
    after, samples, _ = conform([file], 3, lufs=-23)
    assert samples.shape[1] == 1
    assert after.lufs == pytest.approx(-23, abs=TOLERANCE_LU)


@pytest.mark.parametrize("length", [0.04, 0.3])
def test_a_short_sound_is_brought_to_its_target(length: float, conform: Conform, tmp_path: Path) -> None:
    file = write_wav(tmp_path / "short.wav", noise(1, seed=1, level=0.02), RATE)
    after, _, _ = conform([file], length, lufs=-23)
    assert after.lufs == pytest.approx(-23, abs=TOLERANCE_LU)


def test_the_peak_wins_over_the_target(conform: Conform, tmp_path: Path) -> None:
    sound = add_clicks(noise(8, seed=1, level=0.01), 2.0, 5.0)
    after, _, conformed = conform(windows_of_aac(tmp_path, sound), 8, lufs=-16)
    print(f"{after.lufs:.2f} LUFS, {after.true_peak_dbtp:.2f} dBTP after a gain of {conformed.gain_db:.2f} dB")
    assert after.true_peak_dbtp == pytest.approx(-1, abs=0.1)
    assert after.lufs < -16 - TOLERANCE_LU


def test_what_exceeds_full_scale_is_lowered_before_it_is_clipped(conform: Conform, tmp_path: Path) -> None:
    sound = noise(3, seed=1, level=0.5)
    loud = Coding("ffmpeg", "pcm_f32le", "wav", options=("-af", "volume=6dB"), picture=False)
    source, target = write_wav(tmp_path / "source.wav", sound, RATE), tmp_path / "loud.wav"
    encode([(source, loud, target)])
    after, samples, conformed = conform([target], 3, lufs=-23)
    assert after.lufs == pytest.approx(-23, abs=TOLERANCE_LU)
    expected = faded(sound, RATE) * 10 ** ((conformed.gain_db + 6) / 20)
    assert np.abs(samples - expected).max() < 1e-3


def test_silence_stays_as_it_is(conform: Conform, tmp_path: Path) -> None:
    file = write_wav(tmp_path / "silence.wav", np.zeros((2 * RATE, 2), np.float32), RATE)
    _, samples, conformed = conform([file], 3, lufs=-16)
    assert conformed.gain_db == 0
    assert not samples.any()


def test_a_job_can_be_cancelled_in_both_passes(addon: Any, tmp_path: Path) -> None:
    parts = [addon.sound.RunResult(write_wav(tmp_path / "window.wav", noise(2, seed=1), RATE), Fraction(0))]
    target = tmp_path / "out" / "sound.wav"
    checks = 0

    def conform_until(last: int | None, **options: Any) -> int:
        """Conform, cancel at the given check, and return the number of checks."""
        nonlocal checks
        checks = 0

        def check() -> None:
            nonlocal checks
            checks += 1
            if checks == last:
                raise addon.failure.Cancelled

        addon.sound.conform(parts, Fraction(2), target, check, **options)
        return checks

    one_pass, two_passes = conform_until(None), conform_until(None, lufs=-23)
    assert two_passes == 2 * one_pass
    target.unlink()
    for last in range(1, two_passes + 1):
        with pytest.raises(addon.failure.Cancelled):
            conform_until(last, lufs=-23)
        assert checks == last
        assert not list((tmp_path / "out").iterdir())
