# SPDX-License-Identifier: GPL-3.0-or-later
"""From the service's results to one sound that fits to the sample. Decodes with Blender's own `aud`; no bpy."""

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

# `aud` keeps Python's lock while it decodes, 2 to 6 ms a second of sound, and the interface would feel more than this.
_SEGMENT_SECONDS = 8
_WHOLE_MAX_SECONDS = 2 * _SEGMENT_SECONDS
# Longer than the cross-fade and the margins around it, in which a decoder settles after a seek: AAC's takes 1024 samples.
# Half seconds, since `aud` is told of times and rounds them down to samples: these are whole at all usual rates.
_SEGMENT_OVERLAP_SECONDS = 0.5
# How alike a stretch that was sought has to be to the one that was decoded. Noise in AAC is filled in anew each time, so
# that 0.94 was measured where the place is right; Opus, which lands 312 samples off, stayed below 0.01 with noise.
_ALIKE_MIN = 0.8
# A hum or wind that is cut off at a strip's edge pops; this is too short to be heard as a fade.
_EDGE_FADE_SECONDS = 0.005
_BLOCK_SAMPLES = 1 << 18
_SAMPLE_BYTES = 2

# The stubs don't know it for an exception.
_AudError: type[Exception] = getattr(aud, "error", RuntimeError)


@dataclass(frozen=True)
class Piece:
    """One run's result: `start` is where its first sample belongs, in seconds from the sound's own beginning."""

    file: Path
    start: Fraction


@dataclass(frozen=True)
class Conformed:
    """What was written: `missing` is for how many seconds the results had no sound."""

    rate: int
    missing: float


class NoSound(Failure):
    """A result that can't be heard; `piece` is its place among those that were given, from 0."""

    def __init__(self, message: str, piece: int) -> None:
        super().__init__("no_sound", message, "Generate the sound again, or with another prompt.")
        self.piece = piece


@dataclass(frozen=True)
class _Result:
    """A piece that has been opened, with figures in samples; `delay` is by how much `sound` brings its own late."""

    piece: int
    start: int
    sound: Any
    rate: int
    channels: int
    delay: int


def conform(
    pieces: Sequence[Piece],
    length: Fraction,
    target: Path,
    check_cancel: Callable[[], None],
    *,
    offset: Fraction = Fraction(0),
) -> Conformed:
    """Writes `length` seconds of the pieces' sound to `target`, a 16-bit WAV of just that many samples, at least one.

    Its first and its last 5 ms are faded.

    pieces  at least one, in the order of their starts; where one overlaps the next, they are cross-faded
    offset  lets the sound come that many seconds later, or earlier below 0

    However long, only some stretches of 8 s are in memory at a time. Raises NoSound, and Failure for results that can't be
    joined and for a folder that can't be written to.
    """
    results = [_open(piece, number) for number, piece in enumerate(pieces)]
    rate, channels = _common(results)
    wanted = max(1, round(length * rate))
    shift = round(offset * rate)
    # Of the sound itself: what an offset pushes out at the end is not missing, nor what it would need beyond the end.
    due = max(wanted - max(shift, 0), 0)
    missing = due

    def segments() -> Iterator[Segment]:
        nonlocal missing
        heard = _heard(results, channels, wanted - min(shift, 0))
        for segment in join(heard, rate, wanted - shift):
            missing -= len(segment.between(0, due))
            yield Segment(segment.start + shift, segment.samples)

    try:
        blocks = _with_faded_edges(_filled(segments(), wanted, channels), wanted, rate)
        _write(blocks, rate, channels, target, check_cancel)
    except OSError as fault:
        raise unwritable(target.parent, fault) from fault
    return Conformed(rate, missing / rate)


def _open(piece: Piece, number: int) -> _Result:
    try:
        delay = mp4.unsignalled_delay(piece.file)
        sound: Any = aud.Sound(str(piece.file))  # pyright: ignore[reportCallIssue]  # the stubs know no constructor
        rate, channels = sound.specs
    except Failure as fault:
        raise NoSound(fault.message, number) from fault
    except _AudError as fault:
        raise NoSound("The result holds no sound that Blender can read.", number) from fault
    return _Result(number, round(piece.start * int(rate)), sound, int(rate), int(channels), delay)


def _common(results: Sequence[_Result]) -> tuple[int, int]:
    """The sample rate and the number of channels that the whole gets; a mono result is copied to all channels."""
    rates = {result.rate for result in results}
    channels = max(result.channels for result in results)
    if len(rates) > 1 or any(result.channels not in (1, channels) for result in results):
        forms = ", ".join(sorted({f"{result.rate} Hz with {result.channels} channels" for result in results}))
        raise Failure(
            "sounds_differ",
            f"The parts of the sound came back in different forms and can't be joined: {forms}.",
            "Generate the sound again.",
        )
    return rates.pop(), channels


def _heard(results: Sequence[_Result], channels: int, end: int) -> Iterator[Segment]:
    """The sound of each result at its place, up to `end` at least, in samples."""
    for result in results:
        origin = result.start - result.delay
        nothing = True
        for first, samples in _decoded(result, end - origin):
            early = max(result.start - origin - first, 0)
            if len(samples) > early:
                nothing = False
                heard = samples[early:]
                wide = heard if heard.shape[1] == channels else np.repeat(heard, channels, axis=1)
                yield Segment(origin + first + early, wide)
        if nothing:
            raise NoSound("The sound of the result is empty.", result.piece)


def _decoded(result: _Result, needed: int) -> Iterator[tuple[int, Samples]]:
    """What `aud` makes of the result, as (first sample, samples); a long one in stretches that overlap."""
    if result.sound.length <= _WHOLE_MAX_SECONDS * result.rate or not _seeks_exactly(result):
        yield 0, _read(result, result.sound)
        return
    step = round((_SEGMENT_SECONDS - _SEGMENT_OVERLAP_SECONDS) * result.rate)
    for first in range(0, max(needed, 1), step):
        samples = _sought(result, first, _SEGMENT_SECONDS * result.rate)
        if not len(samples):
            return
        yield first, samples


def _seeks_exactly(result: _Result) -> bool:
    """Whether `aud` gets to a sample by seeking; it does in AAC, mp3, FLAC and PCM in mp4, but not in all else.

    Measured in 4.5.15 and 5.2.3. Where it doesn't, a long sound has to be decoded whole.
    """
    half = _SEGMENT_SECONDS * result.rate // 2
    decoded, sought = _sought(result, 0, 2 * half)[half:], _sought(result, half, half)
    both = min(len(decoded), len(sought))
    decoded, sought = decoded[:both], sought[:both]
    common, *powers = (float(np.vdot(*pair)) for pair in ((decoded, sought), (decoded, decoded), (sought, sought)))
    return common > _ALIKE_MIN * float(np.sqrt(powers[0] * powers[1]))


def _sought(result: _Result, first: int, count: int) -> Samples:
    limited = result.sound.limit(first / result.rate, (first + count) / result.rate)
    return _read(result, limited)


def _read(result: _Result, sound: Any) -> Samples:
    try:
        return sound.data()
    except _AudError as fault:
        raise NoSound("The result holds no sound that Blender can read.", result.piece) from fault


def _filled(segments: Iterable[Segment], wanted: int, channels: int) -> Iterator[Samples]:
    """The stretches one after another, with silence where there are none; `wanted` samples in all."""
    written = 0
    for segment in segments:
        silence = min(max(segment.start - written, 0), wanted - written)
        yield _silence(silence, channels)
        heard = segment.between(written + silence, wanted)
        yield heard
        written += silence + len(heard)
    yield _silence(wanted - written, channels)


def _with_faded_edges(blocks: Iterable[Samples], wanted: int, rate: int) -> Iterator[Samples]:
    """Fades the sound in and out at its ends, `wanted` samples apart."""
    fade = min(round(_EDGE_FADE_SECONDS * rate), wanted // 2)
    start = 0
    for block in blocks:
        edges = (min(max(edge - start, 0), len(block)) for edge in (fade, wanted - fade))
        for part in np.split(block, list(edges)):
            end = start + len(part)
            if start < fade or end > wanted - fade:
                middles = np.arange(start, end)[:, None] + 0.5
                yield part * (np.minimum(middles, wanted - middles) / fade).astype(np.float32)
            else:
                yield part
            start = end


def _silence(count: int, channels: int) -> Samples:
    """Takes no memory, however long."""
    return np.broadcast_to(np.float32(0), (count, channels))


def _write(blocks: Iterable[Samples], rate: int, channels: int, target: Path, check_cancel: Callable[[], None]) -> None:
    """Holds neither memory nor Python's lock for long; the name appears when the file is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        # Opened here: `wave` complains a second time of a file that it could not open.
        with part.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(_SAMPLE_BYTES)
            file.setframerate(rate)
            for samples in blocks:
                for start in range(0, len(samples), _BLOCK_SAMPLES):
                    check_cancel()
                    block = np.clip(samples[start : start + _BLOCK_SAMPLES], -1, 1)
                    file.writeframes(np.rint(block * 32767).astype("<i2").tobytes())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
