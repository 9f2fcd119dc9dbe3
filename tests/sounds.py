# SPDX-License-Identifier: GPL-3.0-or-later
"""Sounds for tests, and a look at sounds; as files in many codings: `python -m tests.sounds ORDERS.json`.

That runs in a process of its own, so that PyAV's ffmpeg and Blender's never meet.
"""

import json
import math
import subprocess
import sys
import wave
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]

Samples = NDArray[np.float32]
"""Shape (samples, channels), from -1 to 1."""

RATE = 44_100
CLICK = 16
"""Samples."""


@dataclass(frozen=True)
class Coding:
    """How a sound is written.

    tool     "PyAV", or "ffmpeg" for the program
    hidden   samples by which PyAV's packets are moved, so that the file doesn't tell of the encoder's delay
    options  of the ffmpeg program, before its output
    late     seconds by which the ffmpeg program lets the sound begin after the picture
    through  the ending of a file that the ffmpeg program writes first and copies from
    picture  there is a video track beside the sound
    """

    tool: str
    codec: str
    ending: str
    rate: int = 44_100
    channels: int = 2
    hidden: int = 0
    options: tuple[str, ...] = ()
    late: float = 0.0
    through: str = ""
    picture: bool = True

    def __str__(self) -> str:
        facts = (*self.options, f"hidden {self.hidden}" * bool(self.hidden), f"late {self.late}" * bool(self.late))
        copied = f"through {self.through}" * bool(self.through)
        form = f"{self.codec} in {self.ending}, {self.rate} Hz, {self.channels} ch"
        return ", ".join(filter(None, (f"{self.tool}: {form}", *facts, copied)))


def write_wav(target: Path, samples: Samples, rate: int) -> Path:
    """16 bits a sample."""
    with wave.open(str(target), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return target


def read_wav(path: Path) -> tuple[Samples, int]:
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        values = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return (values.reshape(-1, file.getnchannels()) / 32767).astype(np.float32), file.getframerate()


def noise(seconds: float, *, seed: int, level: float = 0.1, rate: int = RATE, channels: int = 2) -> Samples:
    """Steady white noise of the same loudness throughout; `level` is its RMS."""
    one = np.random.default_rng(seed).uniform(-1, 1, (round(seconds * rate), 1)) * level * math.sqrt(3)
    return np.repeat(one, channels, axis=1).astype(np.float32)


def add_clicks(samples: Samples, *seconds: float, rate: int = RATE) -> Samples:
    for second in seconds:
        start = round(second * rate)
        samples[start : start + CLICK] = 0.95
    return samples


def heard_clicks(samples: Samples, *, above: float = 0.4, rate: int = RATE) -> list[float]:
    """Seconds at which clicks begin, as close to each other as 4 ms."""
    loud = np.flatnonzero(np.abs(samples).max(axis=1) > above)
    starts = loud[np.diff(loud, prepend=-rate) > rate // 250]
    return [float(start) / rate for start in starts]


def faded(samples: Samples, rate: int) -> Samples:
    """With the 5 ms at both ends that a placed sound is faded in and out."""
    fade = min(round(0.005 * rate), len(samples) // 2)
    gain = np.ones((len(samples), 1), np.float32)
    gain[:fade, 0] = (np.arange(fade) + 0.5) / max(fade, 1)
    gain[len(samples) - fade :] = gain[:fade][::-1]
    return samples * gain


def decibels(samples: Samples, rate: int = RATE) -> "np.ndarray":
    """The level of each 50 ms, against full scale."""
    block = round(0.05 * rate)
    blocks = samples[: len(samples) // block * block].reshape(-1, block * samples.shape[1]).astype(np.float64)
    return 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-12)


def encode(orders: Iterable[tuple[Path, Coding, Path]]) -> None:
    """Encodes each WAV, of the coding's own rate and channels, to its target."""
    written = [(str(source), asdict(coding), str(target)) for source, coding, target in orders]
    listed = Path(written[0][2]).with_suffix(".json")
    listed.write_text(json.dumps(written), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "tests.sounds", str(listed)], cwd=ROOT, check=True)


def _with_program(source: Path, coding: Coding, target: Path) -> None:
    picture = ["-f", "lavfi", "-i", f"color=s=64x64:r=25:d={_seconds(source)}"] if coding.picture else []
    late = ["-itsoffset", str(coding.late)] if coding.late else []
    codec = ["-c:a", coding.codec]
    if coding.through:
        first = target.with_suffix(f".first.{coding.through}")
        _ffmpeg("-i", source, *codec, first)
        source, codec = first, ["-c:a", "copy"]
    _ffmpeg(*picture, *late, "-i", source, *codec, *coding.options, target)


def _ffmpeg(*arguments: object) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def _seconds(source: Path) -> float:
    with wave.open(str(source), "rb") as file:
        return file.getnframes() / file.getframerate()


def _with_library(source: Path, coding: Coding, target: Path) -> None:
    import av  # noqa: PLC0415  # stays out of the process that asks

    with av.open(str(target), "w") as file:
        video: Any = file.add_stream("libx264", rate=25) if coding.picture else None
        audio: Any = file.add_stream(coding.codec, rate=coding.rate, layout=("mono", "stereo")[coding.channels - 1])
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            for _ in range(25):
                file.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
            file.mux(video.encode(None))
        for frame in _frames(source, audio):
            for packet in audio.encode(frame):
                packet.pts, packet.dts = packet.pts + coding.hidden, packet.dts + coding.hidden
                file.mux(packet)


def _frames(source: Path, audio: Any) -> Iterator[Any]:
    """The whole sound as frames that the encoder takes, and the None that ends it."""
    import av  # noqa: PLC0415  # stays out of the process that asks

    samples, rate = read_wav(source)
    layout = audio.codec_context.layout.name
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    size = audio.codec_context.frame_size or 1024
    resampler = av.AudioResampler(format=audio.codec_context.format, layout=layout, rate=rate, frame_size=size)
    yield from (*resampler.resample(frame), *resampler.resample(None), None)


def main() -> None:
    for source, facts, target in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        coding = Coding(**facts)
        write = _with_library if coding.tool == "PyAV" else _with_program
        write(Path(source), coding, Path(target))


if __name__ == "__main__":
    main()
