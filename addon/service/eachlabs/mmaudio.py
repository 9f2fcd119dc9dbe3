# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters, defaults, limits, time grid and price of the model. No bpy.

Figures are from the model's page at Eachlabs and from its public code (hkchengrex/MMAudio, commit 974010a).
"""

import functools
import itertools
import math
import random
from dataclasses import dataclass, replace
from fractions import Fraction

SOURCE_URL = "https://github.com/hkchengrex/MMAudio"

MODEL = "mmaudio"
VERSION = "0.0.1"

NEGATIVE_PROMPT = "music"
NUM_STEPS = 25
NUM_STEPS_MAX = 200
CFG_STRENGTH = 4.5
CFG_STRENGTH_MAX = 20.0
SEED_MAX = 2**31 - 1

LONGEST_SECONDS = Fraction(8)
"""Duration that the model was trained on; longer runs sound worse. It is on the grid below."""

SHORT_SIDE_MAX = 384
"""Pixels. The model scales the picture to at most 384 x 384, so a larger clip only takes longer to upload."""

LONG_SIDE_MAX = 1536
"""Pixels. The model squashes the picture to a square or crops it to its center, so a longer side adds nothing."""

SAMPLE_RATE = 44_100
"""Hertz, in every result."""

USD_PER_SECOND = 0.00108
"""Price of one second of run time (`predict_time`)."""

EXPECTED_RUN_SECONDS = 5.0
"""Run time of 8 s of sound."""

EXPECTED_RUN_USD = EXPECTED_RUN_SECONDS * USD_PER_SECOND
"""Price of 8 s of sound."""

# The model reads motion in segments of 16 frames, 8 frames apart, at 25 frames a second: only durations of
# 16/25 + k * 8/25 seconds use every sampled frame.
_MOTION_FPS = 25
_SEGMENT_FRAMES = 16
_SEGMENT_STEP = 8
_GRID_START = Fraction(_SEGMENT_FRAMES, _MOTION_FPS)
_GRID_STEP = Fraction(_SEGMENT_STEP, _MOTION_FPS)

# For the content of the picture, rather than its motion, the model samples it at this lower rate.
_PICTURE_FPS = 8

# Seconds, just below one sample of motion: a duration that is longer by this has the same samples, but gives the clip more
# time for a frame that fills the last one.
_SAMPLE_MARGIN = Fraction(39, 1000)

# Seconds. Shorter clips have next to no motion, so their last frame is held up to this length and the sound is cut.
_SHORTEST = Fraction(1)

# Seconds by which the windows of a long strip overlap at least, for a cross-fade away from their edges.
_OVERLAP = Fraction(1)


def random_seed() -> int:
    return random.randrange(SEED_MAX + 1)  # noqa: S311  # a seed is no secret


@dataclass(frozen=True)
class Settings:
    """Settings of a run that the user chooses, named like the model's inputs."""

    prompt: str
    negative_prompt: str
    seed: int
    num_steps: int = NUM_STEPS
    cfg_strength: float = CFG_STRENGTH

    def for_take(self, take: int) -> "Settings":
        """Return the settings of a take, counted from 0: each take has the next seed."""
        return replace(self, seed=(self.seed + take) % (SEED_MAX + 1))


@dataclass(frozen=True)
class Window:
    """Part of a strip that one run generates the sound for."""

    first: int
    """First frame, counted from the strip's start."""
    duration: Fraction
    """Seconds, see `run_duration`."""


@functools.lru_cache(1024)
def windows(frames: int, fps: Fraction, *, split: bool) -> tuple[Window, ...]:
    """Return the windows of a strip: one, or, if it is longer than 8 s and `split`, equal ones that overlap.

    The last one ends at or after the strip's end. Neighbors overlap by about a second, from whole frame to whole frame.
    """
    length = frames / fps
    count = _window_count(length) if split else 1
    if count == 1:
        return (Window(0, run_duration(length, fps)),)
    duration = run_duration((length + (count - 1) * _OVERLAP) / count, fps)
    last = math.ceil((length - duration) * fps)
    return tuple(Window(round(Fraction(last * number, count - 1)), duration) for number in range(count))


def frames_max(frames: int, fps: Fraction, *, split: bool) -> int:
    """Return up to how many frames a strip may have beyond its `frames` without needing more runs, or a run beyond 8 s."""
    count = _window_count(frames / fps) if split else 1
    return max(frames, math.floor((count * (LONGEST_SECONDS - _OVERLAP) + _OVERLAP) * fps))


def _window_count(length: Fraction) -> int:
    return max(1, math.ceil((length - _OVERLAP) / (LONGEST_SECONDS - _OVERLAP)))


@functools.cache
def run_duration(length: Fraction, fps: Fraction) -> Fraction:
    """Return the shortest duration to request, in seconds, for a result of at least `length` seconds.

    The model shortens the result to the samples that the clip's frames fill. At most frame rates the duration is the next
    one on the grid, or 0.039 s longer; at a low frame rate it may be a later one.
    """
    first = math.ceil((max(length, _SHORTEST) - _GRID_START) / _GRID_STEP)
    return next(
        duration
        for steps in itertools.count(first)
        for duration in (_GRID_START + _GRID_STEP * steps, _GRID_START + _GRID_STEP * steps + _SAMPLE_MARGIN)
        if motion_segments(duration, fps) > steps
    )


def motion_segments(duration: Fraction, fps: Fraction) -> int:
    """Return the number of motion segments that the model uses of a clip with frames until `duration` seconds.

    This follows the reader in the public code, which uses a frame for each sample that is due by its time, and no frame
    later than `duration`. It adds up the samples' times in floating point, so a frame exactly on one may be too early.
    """
    last = float((clip_frames(duration, fps) - 1) / fps)
    seconds = min(float(duration), *(_samples(last, rate) / rate for rate in (_MOTION_FPS, _PICTURE_FPS)))
    return int((seconds * _MOTION_FPS - _SEGMENT_FRAMES) // _SEGMENT_STEP + 1)


def _samples(last: float, rate: int) -> int:
    """Return the number of samples, `rate` a second, that are due when the last frame begins, at `last` seconds."""
    count, due = 0, 0.0
    while due <= last:
        count, due = count + 1, due + 1 / rate
    return count


def clip_frames(duration: Fraction, fps: Fraction) -> int:
    """Return the number of frames that the model reads for a `duration` in seconds: those that begin no later."""
    return math.floor(duration * fps) + 1


def price_text(usd: float) -> str:
    """Return a price with as many decimals as its size needs, such as "$0.011" or "$1.25"."""
    return f"${usd:.{3 if usd < 0.1 else 2}f}"


def run_input(video_url: str, duration: Fraction, settings: Settings) -> dict[str, str | int | float]:
    """Return the `input` of a prediction. `duration` is in seconds; an empty prompt is omitted."""
    chosen = {name: value for name, value in vars(settings).items() if name != "prompt" or value}
    return {"video": video_url, "duration": float(duration), **chosen}
