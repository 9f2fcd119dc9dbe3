# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that results of all formats are conformed to one sound whose length is exact to the sample."""

import math
import tracemalloc
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sounds import RATE, Coding, Samples, add_clicks, decibels, encode, faded, heard_clicks, noise, read_wav, write_wav

pytestmark = pytest.mark.version_dependent

TOLERANCE_MS = 1.0
ROUNDING = 1.5 / 32767
STEADY_DB = 1.0

Conform = Callable[..., Any]


@pytest.fixture
def conform(addon: Any) -> Conform:
    """Function that conforms (file, start) pairs, checks rate and length, and returns samples and missing seconds."""

    def run(pieces: Sequence[tuple[Path, Any]], length: Any, target: Path, **options: Any) -> tuple[Samples, float]:
        parts = [addon.sound.RunResult(file, Fraction(start)) for file, start in pieces]
        conformed = addon.sound.conform(parts, Fraction(length), target, lambda: None, **options)
        samples, rate = read_wav(target)
        assert rate == conformed.rate
        assert len(samples) == max(1, round(Fraction(length) * rate))
        return samples, conformed.missing_seconds

    return run


# Formats in which services deliver their results, or could.
CODINGS = [
    Coding("PyAV", "aac", "mp4", hidden=1024),
    Coding("PyAV", "aac", "mp4", hidden=1024, rate=48_000, channels=1),
    Coding("PyAV", "aac", "mp4"),
    Coding("PyAV", "aac", "mp4", rate=48_000, channels=1),
    Coding("PyAV", "libmp3lame", "mp4", hidden=1105),
    Coding("PyAV", "libmp3lame", "mp4", hidden=1105, rate=48_000, channels=1),
    Coding("PyAV", "libmp3lame", "mp4"),
    Coding("PyAV", "libmp3lame", "mp3", picture=False),
    Coding("PyAV", "libopus", "mp4", hidden=312, rate=48_000),
    Coding("PyAV", "libopus", "mp4", rate=48_000, channels=1),
    Coding("PyAV", "libopus", "ogg", rate=48_000, picture=False),
    Coding("PyAV", "flac", "mp4"),
    Coding("PyAV", "flac", "flac", channels=1, picture=False),
    Coding("PyAV", "alac", "mp4", rate=48_000),
    Coding("PyAV", "pcm_s16le", "mov"),
    Coding("PyAV", "pcm_s16le", "wav", rate=48_000, picture=False),
    Coding("ffmpeg", "aac", "mp4"),
    Coding("ffmpeg", "aac", "mp4", rate=48_000, channels=1),
    Coding("ffmpeg", "aac", "m4a", picture=False),
    Coding("ffmpeg", "aac", "mov"),
    Coding("ffmpeg", "aac", "mp4", options=("-movflags", "+faststart")),
    Coding("ffmpeg", "aac", "mp4", options=("-movflags", "frag_keyframe+empty_moov")),
    Coding("ffmpeg", "aac", "mp4", options=("-movflags", "frag_keyframe+delay_moov")),
    Coding("ffmpeg", "aac", "mp4", options=("-use_editlist", "0")),
    Coding("ffmpeg", "aac", "mp4", options=("-avoid_negative_ts", "make_zero")),
    Coding("ffmpeg", "aac", "mp4", through="aac"),
    Coding("ffmpeg", "aac", "mp4", through="m4a"),
    Coding("ffmpeg", "aac", "mp4", through="mkv"),
    Coding("ffmpeg", "aac", "mp4", late=0.25),
    Coding("ffmpeg", "libmp3lame", "mp4"),
    Coding("ffmpeg", "libmp3lame", "mp4", rate=48_000, channels=1),
    Coding("ffmpeg", "libmp3lame", "mp4", through="mp3"),
    Coding("ffmpeg", "libmp3lame", "mp4", options=("-use_editlist", "0")),
    Coding("ffmpeg", "libmp3lame", "mov"),
    Coding("ffmpeg", "libmp3lame", "mp3", picture=False),
    Coding("ffmpeg", "libopus", "mp4", rate=48_000),
    Coding("ffmpeg", "libopus", "mp4", options=("-use_editlist", "0")),
    Coding("ffmpeg", "libopus", "ogg", picture=False),
    Coding("ffmpeg", "libopus", "webm", rate=48_000, channels=1, picture=False),
    Coding("ffmpeg", "flac", "mp4", rate=48_000, channels=1),
    Coding("ffmpeg", "flac", "mp4", late=0.25),
    Coding("ffmpeg", "flac", "flac", picture=False),
    Coding("ffmpeg", "flac", "ogg", picture=False),
    Coding("ffmpeg", "pcm_s16le", "wav", picture=False),
    Coding("ffmpeg", "pcm_f32le", "wav", rate=48_000, picture=False),
    Coding("ffmpeg", "pcm_s24le", "mov", channels=1),
    Coding("ffmpeg", "libvorbis", "ogg", picture=False),
    Coding("ffmpeg", "ac3", "mp4"),
]
# Seconds. The first click is after the fade.
CLICKS = (0.008, 0.3, 0.7501, 1.2345, 1.9)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> dict[Coding, Path]:
    """Files of two seconds with clicks, one in each coding."""
    folder = tmp_path_factory.mktemp("coded")
    jobs: list[tuple[Path, Coding, Path]] = []
    for number, coding in enumerate(CODINGS):
        hiss = noise(2, seed=1, level=0.003, rate=coding.rate, channels=coding.channels)
        source = write_wav(folder / f"{number} source.wav", add_clicks(hiss, *CLICKS, rate=coding.rate), coding.rate)
        jobs.append((source, coding, folder / f"{number}.{coding.ending}"))
    encode(jobs)
    return {coding: target for _, coding, target in jobs}


@pytest.mark.parametrize("coding", CODINGS, ids=str)
def test_clicks_are_where_they_were_before_encoding(
    coding: Coding, coded: dict[Coding, Path], conform: Conform, tmp_path: Path
) -> None:
    samples, missing = conform([(coded[coding], 0)], Fraction(str(1.97 + coding.late)), tmp_path / "sound.wav")
    rate = read_wav(tmp_path / "sound.wav")[1]
    assert missing <= coding.late
    # The pre-echo of lossy codecs is less than half as loud as the click.
    heard = heard_clicks(samples, above=float(np.abs(samples).max()) / 2, rate=rate)
    assert len(heard) == len(CLICKS)
    expected = [round(click * rate) / rate + coding.late for click in CLICKS]
    offsets = [(after - before) * 1000 for after, before in zip(heard, expected, strict=True)]
    print(f"{coding}: worst {max(offsets, key=abs):+.3f} ms")
    assert max(map(abs, offsets)) < TOLERANCE_MS


@pytest.mark.parametrize(
    "length", [Fraction(1, 10**6), Fraction(1, 60), Fraction(1001, 30_000) * 7, Fraction(2), Fraction(37, 24)]
)
def test_a_sound_has_exactly_the_requested_length(length: Fraction, conform: Conform, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "result.wav", noise(2.02, seed=1), RATE)
    samples, missing = conform([(source, 0)], length, tmp_path / "folder" / "sound.wav")
    assert missing == 0
    assert np.abs(samples - faded(read_wav(source)[0][: len(samples)], RATE)).max() < ROUNDING
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["sound.wav"]


@pytest.mark.parametrize("offset", [Fraction(-1, 5), Fraction(-1, 1000), Fraction(0), Fraction(31, 1000), Fraction(1, 5)])
def test_an_offset_moves_the_whole_sound(offset: Fraction, conform: Conform, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "result.wav", add_clicks(noise(3, seed=1, level=0.05), 0.3, 1.0, 1.9, 2.1), RATE)
    samples, missing = conform([(source, 0)], 2, tmp_path / "sound.wav", offset=offset)
    moved = round(offset * RATE)
    expected = np.zeros_like(samples)
    expected[max(moved, 0) :] = read_wav(source)[0][max(-moved, 0) : 2 * RATE - moved]
    assert np.abs(samples - faded(expected, RATE)).max() < ROUNDING
    assert missing == 0


def test_an_offset_past_the_end_of_the_result_fades_the_sound_out_and_counts_nothing_as_missing(
    conform: Conform, tmp_path: Path
) -> None:
    source = write_wav(tmp_path / "result.wav", noise(2, seed=1), RATE)
    samples, missing = conform([(source, 0)], 2, tmp_path / "sound.wav", offset=Fraction(-1, 10))
    assert missing == 0
    assert not samples[round(1.9 * RATE) :].any()
    assert np.abs(samples[round(1.898 * RATE) : round(1.9 * RATE)]).max() < 0.02
    heard = faded(read_wav(source)[0][round(0.1 * RATE) :], RATE)[: round(1.85 * RATE)]
    assert np.abs(samples[: len(heard)] - heard).max() < ROUNDING


@pytest.mark.parametrize(("offset", "missing"), [(-0.2, 0.5), (0.0, 0.5), (0.2, 0.3)])
def test_the_missing_length_of_a_short_result_is_reported_whatever_the_offset(
    offset: float, missing: float, conform: Conform, tmp_path: Path
) -> None:
    """The offset may shift a part of the gap out of the sound, but doesn't make the result shorter."""
    source = write_wav(tmp_path / "result.wav", noise(1.5, seed=1), RATE)
    samples, reported = conform([(source, 0)], 2, tmp_path / "sound.wav", offset=Fraction(str(offset)))
    end = round((1.5 + offset) * RATE)
    assert reported == pytest.approx(missing, abs=1e-4)
    assert not samples[end:].any()
    assert np.abs(samples[end - 88 : end]).max() < 0.02
    assert decibels(samples)[5:25] == pytest.approx(-20, abs=STEADY_DB)


def windows(folder: Path, *sounds: Samples) -> list[Path]:
    return [write_wav(folder / f"window {number}.wav", sound, RATE) for number, sound in enumerate(sounds)]


def steady_noise(number: int) -> Samples:
    return noise(4.02, seed=number)


def hum(number: int) -> Samples:
    """Return a tone whose phase is continuous from window to window."""
    at = np.arange(round(4.02 * RATE)) / RATE + 3 * number
    return np.repeat((0.1 * math.sqrt(2) * np.sin(2 * np.pi * 100 * at)).astype(np.float32)[:, None], 2, axis=1)


@pytest.mark.parametrize("sound", [steady_noise, hum])
def test_the_level_is_steady_across_joins(sound: Callable[[int], Samples], conform: Conform, tmp_path: Path) -> None:
    files = windows(tmp_path, *(sound(number) for number in range(5)))
    samples, missing = conform([(file, 3 * number) for number, file in enumerate(files)], 16, tmp_path / "sound.wav")
    assert missing == 0
    worst = float(np.abs(decibels(samples) + 20).max())
    print(f"{sound.__name__}: {worst:.2f} dB")
    assert worst < STEADY_DB


def test_each_window_is_placed_to_the_sample_and_its_clicks_are_heard_once(conform: Conform, tmp_path: Path) -> None:
    """Each window starts between two samples; it has a click of its own, and one that is in the next window too."""
    file = write_wav(tmp_path / "window.wav", add_clicks(noise(3.02, seed=1, level=0.01), 0.75, 1.5, 2.75), RATE)
    starts = [Fraction(20_001, 10_000) * number for number in range(10)]
    samples, _ = conform([(file, start) for start in starts], 21, tmp_path / "sound.wav")
    own = [(round(start * RATE) + round(1.5 * RATE)) / RATE for start in starts]
    heard = heard_clicks(samples, above=0.3)
    assert len(heard) == 1 + 2 * len(starts)
    assert heard[1::2] == own


def test_a_gap_between_windows_is_faded_on_both_sides_and_reported(conform: Conform, tmp_path: Path) -> None:
    files = windows(tmp_path, noise(1.5, seed=1), noise(2, seed=2))
    samples, missing = conform([(files[0], 0), (files[1], 2)], 4, tmp_path / "sound.wav")
    assert missing == pytest.approx(0.5)
    end, start = round(1.5 * RATE), 2 * RATE
    assert not samples[end:start].any()
    assert max(np.abs(samples[end - 88 : end]).max(), np.abs(samples[start : start + 88]).max()) < 0.02
    assert decibels(np.concatenate([samples[: end - 2205], samples[start + 2205 :]])) == pytest.approx(-20, abs=STEADY_DB)


def test_after_a_gap_an_encoder_delay_counts_as_missing(
    windows_of_aac: dict[str, Path], conform: Conform, tmp_path: Path
) -> None:
    file = windows_of_aac["window"]
    samples, missing = conform([(file, 0), (file, 10)], 18, tmp_path / "sound.wav")
    assert 1.9 < missing < 2
    assert not samples[round((10 - missing) * RATE) + 1 : 10 * RATE].any()
    assert 0 < np.abs(samples[10 * RATE : 10 * RATE + 88]).max() < 0.01


def test_mono_and_stereo_windows_join(conform: Conform, tmp_path: Path) -> None:
    left_alone = noise(2, seed=2)
    left_alone[:, 1] = 0
    files = windows(tmp_path, noise(2, seed=1, channels=1), left_alone)
    samples, _ = conform([(files[0], 0), (files[1], 1)], 3, tmp_path / "sound.wav")
    assert samples.shape[1] == 2
    assert np.array_equal(samples[:RATE, 0], samples[:RATE, 1])
    assert decibels(samples[2 * RATE :, :1]) == pytest.approx(-20, abs=STEADY_DB)
    assert not samples[2 * RATE :, 1].any()


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (RATE, 4)])
def test_windows_of_different_forms_are_refused(
    rate: int, channels: int, addon: Any, conform: Conform, tmp_path: Path
) -> None:
    first = write_wav(tmp_path / "first.wav", noise(2, seed=1), RATE)
    second = write_wav(tmp_path / "second.wav", noise(2, seed=1, rate=rate, channels=channels), rate)
    with pytest.raises(addon.failure.Failure) as caught:
        conform([(first, 0), (second, 1)], 3, tmp_path / "sound.wav")
    assert caught.value.code == "sounds_differ"
    assert f"{rate} Hz with {channels} channels" in caught.value.message


def no_media(file: Path) -> None:
    file.write_bytes(b"<html>Sign in</html>" * 50)


def no_sound_track(file: Path) -> None:
    # A movie with only a video track.
    track = b"\x00\x00\x00\x24trak" + b"\x00\x00\x00\x1cmdia" + b"\x00\x00\x00\x14hdlr" + bytes(8) + b"vide"
    file.write_bytes(b"\x00\x00\x00\x2cmoov" + track)


def no_samples(file: Path) -> None:
    write_wav(file, np.zeros((0, 2), np.float32), RATE)


@pytest.mark.parametrize("damage", [no_media, no_sound_track, no_samples])
def test_a_window_without_sound_is_reported_by_its_index(
    damage: Callable[[Path], None], addon: Any, conform: Conform, tmp_path: Path
) -> None:
    good = write_wav(tmp_path / "good.wav", noise(2, seed=1), RATE)
    damage(tmp_path / "bad.mp4")
    with pytest.raises(addon.sound.NoSound) as caught:
        conform([(good, 0), (tmp_path / "bad.mp4", 1), (good, 2)], 4, tmp_path / "out" / "sound.wav")
    assert (caught.value.code, caught.value.index) == ("no_sound", 1)
    assert not list(tmp_path.glob("out/*"))


def test_a_cancelled_conform_leaves_no_file(addon: Any, tmp_path: Path) -> None:
    file = write_wav(tmp_path / "window.wav", noise(2, seed=1), RATE)
    checks = 0

    def cancel() -> None:
        nonlocal checks
        checks += 1
        if checks > 4:
            raise addon.failure.Cancelled

    pieces = [addon.sound.RunResult(file, Fraction(number)) for number in range(8)]
    with pytest.raises(addon.failure.Cancelled):
        addon.sound.conform(pieces, Fraction(9), tmp_path / "out" / "sound.wav", cancel)
    assert not list((tmp_path / "out").iterdir())


LONG_SECONDS = 45
EXACT = Coding("PyAV", "aac", "mp4", hidden=1024)
INEXACT = Coding("ffmpeg", "libopus", "mp4", rate=48_000)
"""Codings in which `aud` seeks to the exact sample, and in which it doesn't."""


@pytest.fixture(scope="module")
def windows_of_aac(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A window of 8 s, and a sound of 45 s in a coding in which `aud` seeks exactly, and in one in which it doesn't."""
    folder = tmp_path_factory.mktemp("long")
    jobs: list[tuple[Path, Coding, Path]] = []
    for name, coding, seconds in (("window", EXACT, 8), ("long", EXACT, LONG_SECONDS), ("opus", INEXACT, LONG_SECONDS)):
        sound = noise(seconds, seed=1, level=0.05, rate=coding.rate)
        add_clicks(sound, *np.arange(0.5, seconds, 1.37), rate=coding.rate)
        jobs.append((write_wav(folder / f"{name}.wav", sound, coding.rate), coding, folder / f"{name}.mp4"))
    encode(jobs)
    return {target.stem: target for _, _, target in jobs}


def peak_megabytes(work: Callable[[], Any]) -> float:
    """Return the peak memory of `work` in MB, of Python and numpy; `aud` returns numpy arrays."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lufs", [None, -23])
def test_ten_minutes_of_windows_take_no_more_memory_than_a_few(
    lufs: float | None, windows_of_aac: dict[str, Path], addon: Any, tmp_path: Path
) -> None:
    pieces = [addon.sound.RunResult(windows_of_aac["window"], Fraction(7 * number)) for number in range(86)]
    target = tmp_path / "sound.wav"
    peak = peak_megabytes(lambda: addon.sound.conform(pieces, Fraction(600), target, lambda: None, lufs=lufs))
    whole = 600 * RATE * 2 * 4 / 1e6
    print(f"peak {peak:.1f} MB; the whole sound has {whole:.0f} MB")
    assert peak < 30
    assert target.stat().st_size == 44 + 600 * RATE * 4


def test_a_long_result_is_read_in_segments_to_the_sample(
    windows_of_aac: dict[str, Path], addon: Any, conform: Conform, tmp_path: Path
) -> None:
    pieces, target = [addon.sound.RunResult(windows_of_aac["long"], Fraction(0))], tmp_path / "sound.wav"
    peak = peak_megabytes(lambda: addon.sound.conform(pieces, Fraction(LONG_SECONDS), target, lambda: None))
    whole = LONG_SECONDS * RATE * 2 * 4 / 1e6
    print(f"peak {peak:.1f} MB; decoded whole it has {whole:.0f} MB")
    assert peak < whole
    samples, missing = conform([(windows_of_aac["long"], 0)], LONG_SECONDS, target)
    assert missing == 0
    assert worst_click_ms(samples, RATE) < 0.05
    # At the joins, it is as loud as in the first segment. The sound is white noise, as far as AAC keeps it.
    quiet = decibels(without_clicks(samples))[1:-1]
    assert quiet == pytest.approx(np.median(quiet[:100]), abs=STEADY_DB)


@pytest.mark.parametrize("rate", [16_000, RATE, 48_000])
def test_joined_segments_of_a_long_result_equal_the_whole(rate: int, conform: Conform, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "long.wav", noise(60, seed=1, rate=rate, channels=1), rate)
    samples, missing = conform([(source, 0)], 60, tmp_path / "sound.wav")
    assert missing == 0
    assert np.abs(samples - faded(read_wav(source)[0], rate)).max() < ROUNDING


def test_a_long_result_in_which_seeking_is_inexact_is_correct_too(
    windows_of_aac: dict[str, Path], conform: Conform, tmp_path: Path
) -> None:
    samples, missing = conform([(windows_of_aac["opus"], 0)], LONG_SECONDS, tmp_path / "sound.wav")
    assert missing == 0
    assert worst_click_ms(samples, INEXACT.rate) < 0.05


def long_clicks(rate: int) -> "np.ndarray":
    """Return the start of each click of the long results, in samples."""
    return np.round(np.arange(0.5, LONG_SECONDS, 1.37) * rate).astype(int)


def worst_click_ms(samples: Samples, rate: int) -> float:
    heard = heard_clicks(samples, above=0.5, rate=rate)
    assert len(heard) == len(long_clicks(rate))
    return float(np.abs(np.asarray(heard) - long_clicks(rate) / rate).max() * 1000)


def without_clicks(samples: Samples) -> Samples:
    around = (long_clicks(RATE)[:, None] + np.arange(-2048, 2048)).ravel()
    return np.delete(samples, around, axis=0)


@pytest.mark.parametrize("length", ["2", "0.006", "0.00005"])
def test_a_sound_is_faded_for_five_milliseconds_at_both_ends(length: str, conform: Conform, tmp_path: Path) -> None:
    steady = np.full((3 * RATE, 2), 0.5, np.float32)
    source = write_wav(tmp_path / "hum.wav", steady, RATE)

    samples, _ = conform([(source, 0)], length, tmp_path / "sound.wav")

    fade = min(round(0.005 * RATE), len(samples) // 2)
    assert samples[:1] == pytest.approx(0.25 / max(fade, 0.5), abs=1e-4)
    assert samples == pytest.approx(faded(steady[: len(samples)], RATE), abs=1e-4)
