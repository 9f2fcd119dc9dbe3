# SPDX-License-Identifier: GPL-3.0-or-later
"""The model: its parameters, defaults, limits, time grid and price. No bpy.

Figures are from the model's page at Eachlabs and from its public code (hkchengrex/MMAudio, commit 974010a).
"""

import math
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

SAMPLE_RATE = 44_100
"""Hertz, of every result."""

USD_PER_SECOND = 0.00108
"""Price of one second of run time (`predict_time`)."""

EXPECTED_RUN_SECONDS = 5.0
"""What a run of 8 s of sound takes."""

# Motion is read in windows of 16 frames, 8 frames apart, at 25 frames a second: only lengths of
# 16/25 + k * 8/25 seconds use every frame that is sent.
_GRID_START = Fraction(16, 25)
_GRID_STEP = Fraction(8, 25)

# Shorter clips than a second give the model next to no motion: they are held to this length, the sound cut.
_SHORTEST = Fraction(1)

# The model samples frames as they pass: the last sample is taken only when a frame beyond it exists. Measured:
# three frames more than the duration suffice at 24, 25 and 30 frames a second.
_FRAMES_BEYOND = 3

# By how much the windows of a long strip overlap, at the least: room for a cross-fade away from their edges.
_OVERLAP = Fraction(1)


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
    """The stretch of a strip that one run scores: from its frame `first` on, `duration` seconds on the model's grid."""

    first: int
    duration: Fraction


def windows(frames: int, fps: Fraction, *, split: bool) -> tuple[Window, ...]:
    """What a strip of `frames` is scored in: one window, or, longer than 8 s and if `split`, equal ones that overlap.

    The last one ends at or after the strip's end; neighbours overlap by about a second, from whole frame to whole frame.
    """
    length = frames / fps
    if not split or length <= LONGEST_SECONDS:
        return (Window(0, grid_duration(length)),)
    count = math.ceil((length - _OVERLAP) / (LONGEST_SECONDS - _OVERLAP))
    duration = grid_duration((length + (count - 1) * _OVERLAP) / count)
    last = math.ceil((length - duration) * fps)
    return tuple(Window(round(Fraction(last * number, count - 1)), duration) for number in range(count))


def grid_duration(length: Fraction) -> Fraction:
    """The shortest duration, in seconds, that the model uses whole and that is not below `length` seconds."""
    length = max(length, _SHORTEST)
    return _GRID_START + _GRID_STEP * math.ceil((length - _GRID_START) / _GRID_STEP)


def clip_frames(duration: Fraction, fps: Fraction) -> int:
    """How many frames a clip needs at `fps` for a result of `duration` seconds to come back whole."""
    return math.ceil(duration * fps) + _FRAMES_BEYOND


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
