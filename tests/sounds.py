# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes and analyzes sounds for tests, and encodes them in many formats: `python -m tests.sounds JOBS.json`.

PyAV is used in a separate process, so that its ffmpeg libraries and Blender's are never loaded together.
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
"""Length of a click in samples."""


@dataclass(frozen=True)
class Coding:
    """Encoder, codec and container of a sound file."""

    tool: str
    """"PyAV", or "ffmpeg" for the program."""
    codec: str
    ending: str
    """File name extension, which selects the container."""
    rate: int = 44_100
    channels: int = 2
    hidden: int = 0
    """Samples by which PyAV's packets are shifted, so that the file doesn't signal the encoder delay."""
    options: tuple[str, ...] = ()
    """Output options of the ffmpeg program."""
    late: float = 0.0
    """Seconds from the start of the picture to the start of the sound, with the ffmpeg program."""
    through: str = ""
    """Extension of an intermediate file that the ffmpeg program writes first and then remuxes."""
    picture: bool = True
    """The file has a video track."""

    def __str__(self) -> str:
        details = (*self.options, f"hidden {self.hidden}" * bool(self.hidden), f"late {self.late}" * bool(self.late))
        intermediate = f"through {self.through}" * bool(self.through)
        file_format = f"{self.codec} in {self.ending}, {self.rate} Hz, {self.channels} ch"
        return ", ".join(filter(None, (f"{self.tool}: {file_format}", *details, intermediate)))


def write_wav(target: Path, samples: Samples, rate: int) -> Path:
    """Write 16-bit PCM."""
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
    """Return white noise of constant loudness; `level` is its RMS."""
    mono = np.random.default_rng(seed).uniform(-1, 1, (round(seconds * rate), 1)) * level * math.sqrt(3)
    return np.repeat(mono, channels, axis=1).astype(np.float32)


def add_clicks(samples: Samples, *seconds: float, rate: int = RATE) -> Samples:
    for second in seconds:
        start = round(second * rate)
        samples[start : start + CLICK] = 0.95
    return samples


def heard_clicks(samples: Samples, *, above: float = 0.4, rate: int = RATE) -> list[float]:
    """Return the start times of the clicks in seconds; clicks at least 4 ms apart are separated."""
    loud = np.flatnonzero(np.abs(samples).max(axis=1) > above)
    starts = loud[np.diff(loud, prepend=-rate) > rate // 250]
    return [float(start) / rate for start in starts]


def faded(samples: Samples, rate: int) -> Samples:
    """Return the samples with the 5 ms fade-in and fade-out that a placed sound has."""
    fade = min(round(0.005 * rate), len(samples) // 2)
    gain = np.ones((len(samples), 1), np.float32)
    gain[:fade, 0] = (np.arange(fade) + 0.5) / max(fade, 1)
    gain[len(samples) - fade :] = gain[:fade][::-1]
    return samples * gain


def decibels(samples: Samples, rate: int = RATE) -> "np.ndarray":
    """Return the level of each block of 50 ms, in dBFS."""
    block = round(0.05 * rate)
    blocks = samples[: len(samples) // block * block].reshape(-1, block * samples.shape[1]).astype(np.float64)
    return 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-12)


def encode(jobs: Iterable[tuple[Path, Coding, Path]]) -> None:
    """Encode each WAV file, which must have the coding's rate and channels, to its target."""
    encodings = [(str(source), asdict(coding), str(target)) for source, coding, target in jobs]
    job_file = Path(encodings[0][2]).with_suffix(".json")
    job_file.write_text(json.dumps(encodings), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "tests.sounds", str(job_file)], cwd=ROOT, check=True)


def _with_program(source: Path, coding: Coding, target: Path) -> None:
    picture = ["-f", "lavfi", "-i", f"color=s=64x64:r=25:d={_seconds(source)}"] if coding.picture else []
    delay = ["-itsoffset", str(coding.late)] if coding.late else []
    codec = ["-c:a", coding.codec]
    if coding.through:
        intermediate = target.with_suffix(f".first.{coding.through}")
        _ffmpeg("-i", source, *codec, intermediate)
        source, codec = intermediate, ["-c:a", "copy"]
    _ffmpeg(*picture, *delay, "-i", source, *codec, *coding.options, target)


def _ffmpeg(*arguments: object) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def _seconds(source: Path) -> float:
    with wave.open(str(source), "rb") as file:
        return file.getnframes() / file.getframerate()


def _with_library(source: Path, coding: Coding, target: Path) -> None:
    import av  # noqa: PLC0415  # not to be loaded in the calling process

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
    """Yield the sound in frames of the encoder's size, then None, which flushes the encoder."""
    import av  # noqa: PLC0415  # not to be loaded in the calling process

    samples, rate = read_wav(source)
    layout = audio.codec_context.layout.name
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    size = audio.codec_context.frame_size or 1024
    resampler = av.AudioResampler(format=audio.codec_context.format, layout=layout, rate=rate, frame_size=size)
    yield from (*resampler.resample(frame), *resampler.resample(None), None)


def main() -> None:
    for source, fields, target in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        coding = Coding(**fields)
        write = _with_library if coding.tool == "PyAV" else _with_program
        write(Path(source), coding, Path(target))


if __name__ == "__main__":
    main()
