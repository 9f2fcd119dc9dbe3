# SPDX-License-Identifier: GPL-3.0-or-later
"""Conforming of the service's results to one sound that is exact to the sample. Decodes with Blender's own `aud`; no bpy."""

import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import aud
import numpy as np

from ..failure import Failure
from . import mp4
from .folder import unwritable
from .join import Samples, Segment, join
from .loudness import measure

_SEGMENT_SECONDS = 8
"""`aud` holds the GIL while it decodes, 2 to 6 ms per second of sound. Longer segments would block the interface."""
_UNSEGMENTED_MAX_SECONDS = 2 * _SEGMENT_SECONDS
_SEGMENT_OVERLAP_SECONDS = 0.5
"""Longer than the cross-fade and its margins, in which a decoder settles after a seek: AAC takes 1024 samples. Half seconds,
since `aud` takes times and rounds them down to samples: half seconds are whole samples at all usual rates."""
_SIMILARITY_MIN = 0.8
"""Lowest normalized correlation of a segment read after a seek with the same segment decoded from the start. AAC synthesizes
noise anew each time: 0.94 was measured at the right position. Opus, which seeks 312 samples off, stayed below 0.01 with
noise."""
_EDGE_FADE_SECONDS = 0.005
"""Prevents the pop of a hum or wind that is cut off at a strip's edge. Too short to be audible as a fade."""
_BLOCK_SAMPLES = 1 << 18
_SAMPLE_BYTES = 2

# The type stubs don't declare it as an exception.
_AudError: type[Exception] = getattr(aud, "error", RuntimeError)


@dataclass(frozen=True)
class RunResult:
    """Result of one run of the model."""

    file: Path
    start: Fraction
    """Position of its first sample, in seconds from the start of the whole sound."""


@dataclass(frozen=True)
class Conformed:
    """Properties of the file that `conform` has written."""

    rate: int
    missing_seconds: float
    """Duration for which the results had no sound."""
    gain_db: float = 0.0
    """Gain with which the sound was written to reach the target level. 0 without a target, and for silence."""


class NoSound(mp4.NoSoundTrack):
    """A result without readable sound."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index
        """Index of the result among those passed to `conform`."""


class SoundsDiffer(Failure):
    code = "sounds_differ"
    default_hint = "Generate the sound again."


@dataclass(frozen=True)
class _OpenResult:
    """Run result opened for decoding. All figures are in samples."""

    index: int
    """Index of the result among those passed to `conform`."""
    start: int
    sound: Any
    """The `aud.Sound`."""
    rate: int
    channels: int
    delay: int
    """Number of samples that `sound` has before the start of the actual sound. Negative if it starts early."""


def conform(
    results: Sequence[RunResult],
    length: Fraction,
    target: Path,
    check_cancel: Callable[[], None],
    *,
    offset: Fraction = Fraction(0),
    lufs: float | None = None,
) -> Conformed:
    """Write `length` seconds of the results' sound to `target`, a 16-bit WAV of exactly that many samples, at least one.

    `results` must have at least one result and be ordered by start. Results that overlap are cross-faded. `offset` delays
    the sound by that many seconds; a negative one plays it earlier. The first and the last 5 ms are faded. `lufs` is the
    integrated loudness to bring the sound to, as far as its true peak permits (see `Loudness.gain_db`); None keeps its
    level. The loudness is measured in a pass of its own, so the results are decoded twice.

    Only some segments of 8 s are in memory at a time, however long the sound is. Raise NoSound, or Failure if the results
    can't be joined or the folder can't be written to.
    """
    opened = [_open(result, index) for index, result in enumerate(results)]
    rate, channels = _common_format(opened)
    count = max(1, round(length * rate))
    shift = round(offset * rate)
    # Counted before the shift: neither what it pushes beyond the end is missing, nor what a negative one lacks at the end.
    due = max(count - max(shift, 0), 0)
    missing = due

    def shifted_segments() -> Iterator[Segment]:
        nonlocal missing
        missing = due
        for segment in join(_segments(opened, channels, count - min(shift, 0)), rate, count - shift):
            missing -= len(segment.between(0, due))
            yield Segment(segment.start + shift, segment.samples)

    def blocks() -> Iterator[Samples]:
        return _split(_fade_edges(_fill_gaps(shifted_segments(), count, channels), count, rate), check_cancel)

    gain_db = 0.0 if lufs is None else measure(blocks(), rate).gain_db(lufs)
    try:
        _write_wav(_amplify(blocks(), gain_db), rate, channels, target)
    except OSError as fault:
        raise unwritable(target.parent, fault) from fault
    return Conformed(rate, missing / rate, gain_db)


def _open(result: RunResult, index: int) -> _OpenResult:
    """Open a result for decoding. Raise NoSound if it has no readable sound."""
    try:
        delay = mp4.unsignaled_delay(result.file)
        sound: Any = aud.Sound(str(result.file))  # pyright: ignore[reportCallIssue]  # the stubs know no constructor
        rate, channels = sound.specs
    except mp4.NoSoundTrack as fault:
        raise NoSound(fault.message, index) from fault
    except _AudError as fault:
        raise NoSound("The result contains no sound that Blender can read.", index) from fault
    return _OpenResult(index, round(result.start * int(rate)), sound, int(rate), int(channels), delay)


def _common_format(results: Sequence[_OpenResult]) -> tuple[int, int]:
    """Return the sample rate and the number of channels of the whole sound. A mono result is copied to all channels."""
    rates = {result.rate for result in results}
    channels = max(result.channels for result in results)
    if len(rates) > 1 or any(result.channels not in (1, channels) for result in results):
        forms = ", ".join(sorted({f"{result.rate} Hz with {result.channels} channels" for result in results}))
        raise SoundsDiffer(
            f"The windows of the sound have different audio formats and can't be joined: {forms}.",
        )
    return rates.pop(), channels


def _segments(results: Sequence[_OpenResult], channels: int, end: int) -> Iterator[Segment]:
    """Yield each result's sound at its position, at least up to `end`, in samples."""
    for result in results:
        origin = result.start - result.delay
        empty = True
        for first, samples in _decode(result, end - origin):
            delay = max(result.start - origin - first, 0)
            if len(samples) > delay:
                empty = False
                sound = samples[delay:]
                wide = sound if sound.shape[1] == channels else np.repeat(sound, channels, axis=1)
                yield Segment(origin + first + delay, wide)
        if empty:
            raise NoSound("The sound of the result is empty.", result.index)


def _decode(result: _OpenResult, count: int) -> Iterator[tuple[int, Samples]]:
    """Yield at least `count` decoded samples as (first sample, samples), overlapping segments in case of a long result."""
    if result.sound.length <= _UNSEGMENTED_MAX_SECONDS * result.rate or not _seeks_exactly(result):
        yield 0, _read(result, result.sound)
        return
    step = round((_SEGMENT_SECONDS - _SEGMENT_OVERLAP_SECONDS) * result.rate)
    for first in range(0, max(count, 1), step):
        samples = _read_range(result, first, _SEGMENT_SECONDS * result.rate)
        if not len(samples):
            return
        yield first, samples


def _seeks_exactly(result: _OpenResult) -> bool:
    """Return whether `aud` seeks to the exact sample. It does in AAC, mp3, FLAC and PCM in mp4, but not in every codec.

    Measured in 4.5.15 and 5.2.3. A long sound in any other codec must be decoded at once.
    """
    half = _SEGMENT_SECONDS * result.rate // 2
    decoded, sought = _read_range(result, 0, 2 * half)[half:], _read_range(result, half, half)
    common_length = min(len(decoded), len(sought))
    decoded, sought = decoded[:common_length], sought[:common_length]
    common, *powers = (float(np.vdot(*pair)) for pair in ((decoded, sought), (decoded, decoded), (sought, sought)))
    return common > _SIMILARITY_MIN * float(np.sqrt(powers[0] * powers[1]))


def _read_range(result: _OpenResult, first: int, count: int) -> Samples:
    limited = result.sound.limit(first / result.rate, (first + count) / result.rate)
    return _read(result, limited)


def _read(result: _OpenResult, sound: Any) -> Samples:
    try:
        return sound.data()
    except _AudError as fault:
        raise NoSound("The result contains no sound that Blender can read.", result.index) from fault


def _fill_gaps(segments: Iterable[Segment], count: int, channels: int) -> Iterator[Samples]:
    """Yield the segments' samples in order, with silence in the gaps, `count` samples in all."""
    written = 0
    for segment in segments:
        gap = min(max(segment.start - written, 0), count - written)
        yield _silence(gap, channels)
        samples = segment.between(written + gap, count)
        yield samples
        written += gap + len(samples)
    yield _silence(count - written, channels)


def _fade_edges(blocks: Iterable[Samples], count: int, rate: int) -> Iterator[Samples]:
    """Fade the sound of `count` samples in at its start and out at its end."""
    fade = min(round(_EDGE_FADE_SECONDS * rate), count // 2)
    start = 0
    for block in blocks:
        edges = (min(max(edge - start, 0), len(block)) for edge in (fade, count - fade))
        for part in np.split(block, list(edges)):
            end = start + len(part)
            if start < fade or end > count - fade:
                centers = np.arange(start, end)[:, None] + 0.5
                yield part * (np.minimum(centers, count - centers) / fade).astype(np.float32)
            else:
                yield part
            start = end


def _silence(count: int, channels: int) -> Samples:
    """Return silence of `count` samples, as a view that takes no memory."""
    return np.broadcast_to(np.float32(0), (count, channels))


def _split(blocks: Iterable[Samples], check_cancel: Callable[[], None]) -> Iterator[Samples]:
    """Yield the samples in blocks so short that no step holds the GIL or much memory. Check for a cancel before each."""
    for samples in blocks:
        for start in range(0, len(samples), _BLOCK_SAMPLES):
            check_cancel()
            yield samples[start : start + _BLOCK_SAMPLES]


def _amplify(blocks: Iterable[Samples], gain_db: float) -> Iterator[Samples]:
    """Yield the blocks with the gain applied. Nothing is clipped."""
    factor = np.float32(10 ** (gain_db / 20))
    return (samples * factor for samples in blocks)


def _write_wav(blocks: Iterable[Samples], rate: int, channels: int, target: Path) -> None:
    """Write the blocks to a WAV file, which gets its name when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        # Given a path that it can't open, `wave` raises a second time, in its destructor.
        with part.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(_SAMPLE_BYTES)
            file.setframerate(rate)
            for samples in blocks:
                file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
