# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for the model: the clip's own picture, a click at each flash, and a hiss that follows the motion.

Clips are read as the public model code reads them: a result is never longer than the frames that were sent can fill.
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
"""The mean of a picture, of 255, from which on it counts as flashing."""


class RunFailed(Exception):
    """The run ends in `error`, with this reason."""


@dataclass(frozen=True)
class Clip:
    """What was seen of the clip that was sent: times in seconds, means of brightness from 0 to 255, one a frame."""

    width: int
    height: int
    fps: Fraction
    times: "np.ndarray"
    means: "np.ndarray"
    motion: "np.ndarray"


def look(path: Path) -> Clip:
    """Decodes the clip; raises RunFailed for what a model server refuses."""
    times: list[float] = []
    means: list[float] = []
    motion: list[float] = []
    before = None
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            for frame in file.decode(stream):
                picture = frame.to_ndarray(format="gray").astype(np.float32)
                times.append(float(frame.time or 0))
                means.append(float(picture.mean()))
                motion.append(0.0 if before is None else float(np.abs(picture - before).mean()))
                before = picture
            width, height = stream.codec_context.width, stream.codec_context.height
            rate = stream.average_rate
            fps = Fraction(rate.numerator, rate.denominator) if rate else Fraction(0)
    except (FFmpegError, IndexError) as fault:
        raise RunFailed("the video could not be decoded") from fault
    return Clip(width, height, fps, np.array(times), np.array(means), np.array(motion))


def describe(path: Path) -> dict[str, object]:
    """What a clip is, as plain values; `motion` and `means` a frame each, from 0 to 255."""
    clip = look(path)
    with av.open(str(path)) as file:
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
            "bytes": path.stat().st_size,
            "first": float(clip.times[0]),
            "last": float(clip.times[-1]),
            "flashes": [float(time) for time in clip.times[flashes(clip)]],
            "motion": [round(float(value), 3) for value in clip.motion],
            "means": [round(float(value), 1) for value in clip.means],
        }


def result_seconds(times: Iterable[float], duration: float) -> float:
    """How many seconds of the clip are used, which is how long its result is; see `read_frames` in the public code.

    Each frame fills the samples that are due by its time; the reader stops at the first that is later than `duration`. The
    result is shortened to the samples that were filled.
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
    """How many segments of motion the model makes its sound from."""
    return int((seconds * MOTION_FPS - SEGMENT_FRAMES) // SEGMENT_STEP + 1)


def score(path: Path, target: Path, *, duration: float, seed: int, signalled: bool = False, silent: bool = False) -> float:
    """Writes the result of one run to `target` and returns how many seconds of the clip were used.

    signalled  the mp4 tells of the AAC encoder's delay, as the ffmpeg program's does; the public model code's doesn't
    silent     the mp4 has no sound at all
    """
    clip = look(path)
    seconds = result_seconds(clip.times, duration)
    if segments(seconds) < 1:
        raise RunFailed(f"the video is too short: {seconds:.2f} s")
    _mux(path, target, None if silent else _sound(clip, seconds, seed), signalled)
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
    """The frames on which the picture has just become bright."""
    bright = clip.means > _BRIGHT
    return np.flatnonzero(bright & ~np.concatenate([[False], bright[:-1]]))


def _mux(picture: Path, target: Path, sound: "np.ndarray | None", signalled: bool) -> None:
    with av.open(str(picture)) as source, av.open(str(target), "w", format="mp4") as result:
        shown = source.streams.video[0]
        video = result.add_stream_from_template(shown)
        audio = None if sound is None else result.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
        for packet in source.demux(shown):
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
                # The encoder begins 1024 samples before zero, which becomes the edit list; shifted, nothing tells of it.
                packet.pts = (packet.pts or 0) + AAC_DELAY
                packet.dts = (packet.dts or 0) + AAC_DELAY
            packet.stream = audio
            result.mux(packet)
