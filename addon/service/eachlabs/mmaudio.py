# SPDX-License-Identifier: GPL-3.0-or-later
"""The model: its parameters, defaults, limits, time grid and price. No bpy.

Figures are from the model's page at Eachlabs and from its public code (hkchengrex/MMAudio, commit 974010a).
"""

import functools
import itertools
import math
import random
from dataclasses import dataclass, replace
from fractions import Fraction

MODEL = "mmaudio"
VERSION = "0.0.1"

NEGATIVE_PROMPT = "music"
NUM_STEPS = 25
CFG_STRENGTH = 4.5
SEED_MAX = 2**31 - 1

LONGEST_SECONDS = Fraction(8)
"""What the model was trained on; longer runs sound worse. It is on the grid below."""

SHORT_SIDE_MAX = 384
"""Pixels. The model looks at 384 x 384 at the most; more costs upload and adds nothing."""

LONG_SIDE_MAX = 1536
"""Pixels. The model squashes the picture to a square, or looks at its middle: a long strip of pixels is of no more use."""

SAMPLE_RATE = 44_100
"""Hertz, of every result."""

USD_PER_SECOND = 0.00108
"""Price of one second of run time (`predict_time`)."""

EXPECTED_RUN_SECONDS = 5.0
"""What a run of 8 s of sound takes."""

EXPECTED_RUN_USD = EXPECTED_RUN_SECONDS * USD_PER_SECOND
"""What it costs."""

# Motion is read in segments of 16 frames, 8 frames apart, at 25 frames a second: only durations of
# 16/25 + k * 8/25 seconds use every frame that they ask for.
_MOTION_FPS = 25
_SEGMENT_FRAMES = 16
_SEGMENT_STEP = 8
_GRID_START = Fraction(_SEGMENT_FRAMES, _MOTION_FPS)
_GRID_STEP = Fraction(_SEGMENT_STEP, _MOTION_FPS)

# The picture is also sampled more coarsely, for what is seen rather than how it moves.
_PICTURE_FPS = 8

# Just below one sample of motion: a duration that is longer by this takes the same samples, but leaves the clip more time
# in which a frame can fill the last one.
_SAMPLE_MARGIN = Fraction(39, 1000)

# Shorter clips than a second give the model next to no motion: they are held to this length, the sound cut.
_SHORTEST = Fraction(1)

# By how much the windows of a long strip overlap, at the least: room for a cross-fade away from their edges.
_OVERLAP = Fraction(1)


def random_seed() -> int:
    return random.randrange(SEED_MAX + 1)  # noqa: S311  # a seed is no secret


@dataclass(frozen=True)
class Settings:
    """What the artist asks of the model."""

    prompt: str
    negative_prompt: str
    seed: int
    num_steps: int = NUM_STEPS
    cfg_strength: float = CFG_STRENGTH

    def for_take(self, take: int) -> "Settings":
        """The same with the seed of a take, counted from 0: the given seed, then the next ones."""
        return replace(self, seed=(self.seed + take) % (SEED_MAX + 1))


@dataclass(frozen=True)
class Window:
    """The part of a strip that one run scores: from its frame `first` on, `duration` seconds, see `run_duration`."""

    first: int
    duration: Fraction


def windows(frames: int, fps: Fraction, *, split: bool) -> tuple[Window, ...]:
    """What a strip of `frames` is scored in: one window, or, longer than 8 s and if `split`, equal ones that overlap.

    The last one ends at or after the strip's end; neighbours overlap by about a second, from whole frame to whole frame.
    """
    length = frames / fps
    if not split or length <= LONGEST_SECONDS:
        return (Window(0, run_duration(length, fps)),)
    count = math.ceil((length - _OVERLAP) / (LONGEST_SECONDS - _OVERLAP))
    duration = run_duration((length + (count - 1) * _OVERLAP) / count, fps)
    last = math.ceil((length - duration) * fps)
    return tuple(Window(round(Fraction(last * number, count - 1)), duration) for number in range(count))


@functools.cache
def run_duration(length: Fraction, fps: Fraction) -> Fraction:
    """The shortest duration, in seconds, to ask of a clip of `fps` so that at least `length` seconds come back.

    The model shortens a result to what the frames of its clip fill. At most rates that is the next duration on its grid, or
    one that is 0.039 s longer; where few frames are shown a second, it may be one of the next on the grid.
    """
    first = math.ceil((max(length, _SHORTEST) - _GRID_START) / _GRID_STEP)
    return next(
        duration
        for steps in itertools.count(first)
        for duration in (_GRID_START + _GRID_STEP * steps, _GRID_START + _GRID_STEP * steps + _SAMPLE_MARGIN)
        if motion_segments(duration, fps) > steps
    )


def motion_segments(duration: Fraction, fps: Fraction) -> int:
    """How many segments of motion the model uses of a clip of `fps` whose frames go on until `duration` seconds.

    After the public code's reader, which takes a frame for each sample that is due by its time, and none whose time is later
    than `duration`. It adds the samples' times up in floating point, so a frame that lies just on one may come too early.
    """
    last = float((clip_frames(duration, fps) - 1) / fps)
    seconds = min(float(duration), *(_samples(last, rate) / rate for rate in (_MOTION_FPS, _PICTURE_FPS)))
    return int((seconds * _MOTION_FPS - _SEGMENT_FRAMES) // _SEGMENT_STEP + 1)


def _samples(last: float, rate: int) -> int:
    """How many samples at `rate` a second are due when the last frame is shown, `last` seconds into the clip."""
    count, due = 0, 0.0
    while due <= last:
        count, due = count + 1, due + 1 / rate
    return count


def clip_frames(duration: Fraction, fps: Fraction) -> int:
    """How many frames of a clip of `fps` are read for a `duration` in seconds: those whose time isn't later."""
    return math.floor(duration * fps) + 1


def price_text(usd: float) -> str:
    """An expected price in words, such as "about $0.005"."""
    return f"about ${usd:.3f}"


def run_input(video_url: str, duration: Fraction, settings: Settings) -> dict[str, str | int | float]:
    """The `input` of a prediction. `duration` in seconds; an empty prompt is left out."""
    fields: dict[str, str | int | float] = {
        "video": video_url,
        "negative_prompt": settings.negative_prompt,
        "duration": float(duration),
        "num_steps": settings.num_steps,
        "cfg_strength": settings.cfg_strength,
        "seed": settings.seed,
    }
    if settings.prompt:
        fields["prompt"] = settings.prompt
    return fields
