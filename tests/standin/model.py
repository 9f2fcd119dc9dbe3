# SPDX-License-Identifier: GPL-3.0-or-later
"""Substitute for the model: the result has the clip's picture, a click at each flash, and a hiss that follows the motion.

Clips are read as by the public model code: a result is never longer than the frames of the clip allow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

SAMPLE_RATE = 44_100
AAC_DELAY = 1024
MOTION_FPS = 25.0
PICTURE_FPS = 8.0
SEGMENT_FRAMES = 16
SEGMENT_STEP = 8
_SURPLUS_SECONDS = 0.02
_BRIGHT = 150.0
"""Mean brightness, from 0 to 255, above which a frame counts as a flash."""


class RunFailed(Exception):
    """Failure of a run, which ends in status `error` with this reason."""


@dataclass(frozen=True)
class Clip:
    """Decoded properties of a clip; each array has one value per frame."""

    path: Path
    width: int
    height: int
    fps: Fraction
    times: "np.ndarray"
    """Seconds."""
    means: "np.ndarray"
    """Mean brightness, from 0 to 255."""
    motion: "np.ndarray"
    """Mean difference from the previous frame, from 0 to 255."""


def read_clip(path: Path) -> Clip:
    """Decode a clip. Raises RunFailed if it can't be decoded, as the model server does."""
    times: list[float] = []
    means: list[float] = []
    motion: list[float] = []
    previous = None
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            for frame in file.decode(stream):
                picture = frame.to_ndarray(format="gray").astype(np.int16)
                times.append(float(frame.time or 0))
                means.append(float(picture.mean()))
                motion.append(0.0 if previous is None else float(np.abs(picture - previous).mean()))
                previous = picture
            width, height = stream.codec_context.width, stream.codec_context.height
            rate = stream.average_rate
            fps = Fraction(rate.numerator, rate.denominator) if rate else Fraction(0)
    except (FFmpegError, IndexError) as error:
        raise RunFailed("the video could not be decoded") from error
    return Clip(path, width, height, fps, np.array(times), np.array(means), np.array(motion))


def describe(clip: Clip) -> dict[str, object]:
    """Return a clip's properties as JSON values; `motion` and `means` have one value per frame, from 0 to 255."""
    with av.open(str(clip.path)) as file:
        codec = file.streams.video[0].codec_context
        return {
            "width": clip.width,
            "height": clip.height,
            "fps": str(clip.fps),
            "frames": len(clip.times),
            "codec": codec.name,
            "pixels": codec.pix_fmt,
            "color_range": {1: "limited", 2: "full"}.get(int(codec.color_range), "unknown"),
            "audio": len(file.streams.audio),
            "bytes": clip.path.stat().st_size,
            "first": float(clip.times[0]),
            "last": float(clip.times[-1]),
            "flashes": [float(time) for time in clip.times[flashes(clip)]],
            "motion": [round(float(value), 3) for value in clip.motion],
            "means": [round(float(value), 1) for value in clip.means],
        }


def result_seconds(times: Iterable[float], duration: float) -> float:
    """Return how many seconds of the clip the model uses, which is the length of its result.

    As `read_frames` in the public model code: each frame fills the samples that are due by its time, and reading stops at
    the first frame later than `duration`. The result is shortened to the samples that were filled.
    """
    counts, due = {MOTION_FPS: 0, PICTURE_FPS: 0}, {MOTION_FPS: 0.0, PICTURE_FPS: 0.0}
    for time in times:
        if time > duration:
            break
        for rate in counts:
            while time >= due[rate]:
                counts[rate] += 1
                due[rate] += 1 / rate
    return min(duration, *(count / rate for rate, count in counts.items()))


def segments(seconds: float) -> int:
    """Return the number of motion segments that the model uses for a result of this length."""
    return int((seconds * MOTION_FPS - SEGMENT_FRAMES) // SEGMENT_STEP + 1)


def generate(
    clip: Clip, target: Path, *, duration: float, seed: int, signalled: bool = False, silent: bool = False
) -> float:
    """Write the result of a run to `target`; return how many seconds of the clip were used.

    signalled  signal the AAC encoder delay in the mp4, as the ffmpeg program does and the public model code doesn't
    silent     write no audio track
    """
    seconds = result_seconds(clip.times, duration)
    if segments(seconds) < 1:
        raise RunFailed(f"the video is too short: {seconds:.2f} s")
    _mux(clip.path, target, None if silent else _sound(clip, seconds, seed), signalled)
    return seconds


def _sound(clip: Clip, seconds: float, seed: int) -> "np.ndarray":
    count = round((seconds + _SURPLUS_SECONDS) * SAMPLE_RATE)
    at = np.arange(count) / SAMPLE_RATE
    hiss = np.random.default_rng(seed).uniform(-1, 1, count)
    loudness = np.interp(at, clip.times, np.clip(clip.motion / 20, 0, 1)) * 0.15 + 0.01
    sound = hiss * loudness
    for time in clip.times[flashes(clip)]:
        start = round(time * SAMPLE_RATE)
        sound[start : start + 16] = 0.95
    return np.stack([sound, sound]).astype(np.float32)


def flashes(clip: Clip) -> "np.ndarray":
    """Return the indices of the first frame of each flash."""
    bright = clip.means > _BRIGHT
    return np.flatnonzero(bright & ~np.concatenate([[False], bright[:-1]]))


def _mux(picture: Path, target: Path, sound: "np.ndarray | None", signalled: bool) -> None:
    with av.open(str(picture)) as source, av.open(str(target), "w", format="mp4") as result:
        original = source.streams.video[0]
        video = result.add_stream_from_template(original)
        audio = (
            None
            if sound is None
            else result.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", options={"aac_coder": "fast"})
        )
        for packet in source.demux(original):
            if packet.dts is not None:
                packet.stream = video
                result.mux(packet)
        if audio is None or sound is None:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = 0
        for packet in (*audio.encode(frame), *audio.encode(None)):
            if not signalled:
                # The encoder starts 1024 samples before zero, for which the muxer writes an edit list. Shifted to zero, the
                # delay is in the file without being signalled.
                packet.pts = (packet.pts or 0) + AAC_DELAY
                packet.dts = (packet.dts or 0) + AAC_DELAY
            packet.stream = audio
            result.mux(packet)
