# SPDX-License-Identifier: GPL-3.0-or-later
"""From the service's mp4 to a sound that fits to the sample. Decodes with Blender's own `aud`; no bpy."""

import wave
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import aud
import numpy as np
from numpy.typing import NDArray

from ..failure import Failure
from . import mp4

Samples = NDArray[np.float32]
"""Shape (samples, channels), from -1 to 1."""

# A result that ends early is not cut off but let go.
_FADE_SECONDS = 0.05
_BLOCK_SAMPLES = 1 << 18
_SAMPLE_BYTES = 2

# The stubs don't know it for an exception.
_AudError: type[Exception] = getattr(aud, "error", RuntimeError)


@dataclass(frozen=True)
class Conformed:
    """What was written: `missing` is by how many seconds the result was shorter than its strip."""

    rate: int
    missing: float


def conform(result: Path, length: Fraction, target: Path, check_cancel: Callable[[], None]) -> Conformed:
    """Writes the first `length` seconds of `result`'s sound to `target`, a 16-bit WAV of just that many samples.

    Raises Failure where there is no sound in it.
    """
    delay = mp4.unsignalled_delay(result)
    samples, rate = _decode(result)
    check_cancel()
    wanted = max(1, round(length * rate))
    samples = samples[delay : delay + wanted]
    missing = wanted - len(samples)
    if missing:
        samples = _let_go(samples, rate, missing)
    _write(samples, rate, target, check_cancel)
    return Conformed(rate, missing / rate)


def _decode(path: Path) -> tuple[Samples, int]:
    try:
        sound: Any = aud.Sound(str(path))  # pyright: ignore[reportCallIssue]  # the stubs know no constructor
        rate, _ = sound.specs
        samples: Samples = sound.data()
    except _AudError as fault:
        raise Failure("no_sound", "The result holds no sound that Blender can read.", "Generate the sound again.") from fault
    if not len(samples):
        raise Failure("no_sound", "The sound of the result is empty.", "Generate the sound again.")
    return samples, int(rate)


def _let_go(samples: Samples, rate: int, missing: int) -> Samples:
    """Fades the end out and fills up with silence."""
    fade = min(len(samples), round(_FADE_SECONDS * rate))
    faded = samples.copy()
    faded[len(faded) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return np.concatenate([faded, np.zeros((missing, samples.shape[1]), np.float32)])


def _write(samples: Samples, rate: int, target: Path, check_cancel: Callable[[], None]) -> None:
    """In blocks, so that a long sound holds neither memory nor Python's lock; the name appears when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with wave.open(str(part), "wb") as file:
            file.setnchannels(samples.shape[1])
            file.setsampwidth(_SAMPLE_BYTES)
            file.setframerate(rate)
            for start in range(0, len(samples), _BLOCK_SAMPLES):
                check_cancel()
                block = np.clip(samples[start : start + _BLOCK_SAMPLES], -1, 1)
                file.writeframes(np.rint(block * 32767).astype("<i2").tobytes())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
