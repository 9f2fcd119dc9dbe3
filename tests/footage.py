# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes footage for tests and reads the properties of videos: `python -m tests.footage flashes|images|describe …`.

PyAV is used in a separate process, so that its ffmpeg libraries and Blender's are never loaded together.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parents[1]


def flashes(target: Path, *, fps: str = "24", frames: int, at: Sequence[int], size: tuple[int, int] = (1280, 720)) -> Path:
    """Make an H.264 clip of a bar moving over gray, white on the frames `at`, with a tone on its audio track."""
    _run("flashes", target, "--fps", fps, "--frames", frames, "--size", *size, "--at", *at)
    return target


def images(folder: Path, *, frames: int, at: Sequence[int]) -> list[Path]:
    """Make the same footage as numbered PNG files."""
    _run("images", folder, "--frames", frames, "--at", *at)
    return sorted(folder.glob("*.png"))


def plain(target: Path, *, frames: int, color: tuple[int, int, int]) -> Path:
    """Make an H.264 clip of one color, at 24 frames per second."""
    _run("plain", target, "--frames", frames, "--color", *color)
    return target


def remux(source: Path, target: Path, options: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Copy the encoded streams to another container format, or to the same with other options."""
    _run("remux", target, "--source", source, "--options", json.dumps(dict(options)))
    return target


def unusual(target: Path) -> Path:
    """Make two seconds of valid footage of an unusual kind, which the file name selects; see `_UNUSUAL`."""
    _run("unusual", target)
    return target


def flash_times(clip: Path) -> list[float]:
    """Return the time in seconds of the first frame of each flash."""
    return describe(clip)["flashes"]


def describe(clip: Path) -> dict[str, Any]:
    """Return the properties of a video; see `tests.standin.model.describe`."""
    return json.loads(_run("describe", clip))


def _run(*arguments: object) -> str:
    command = [sys.executable, "-m", "tests.footage", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def _pictures(frames: int, at: Sequence[int], size: tuple[int, int] = (1280, 720)):  # type: ignore[no-untyped-def]
    import av
    import numpy as np

    width, height = size
    for number in range(frames):
        picture = np.full((height, width, 3), 60, np.uint8)
        left = number * 14 % (width * 15 // 16)
        picture[height * 5 // 18 : height * 13 // 18, left : left + width // 16] = (150, 90, 60)
        if number in at:
            picture[:] = 250
        yield av.VideoFrame.from_ndarray(picture, format="rgb24")


def _write_flashes(target: Path, fps: Fraction, frames: int, at: Sequence[int], size: tuple[int, int]) -> None:
    import av
    import numpy as np

    with av.open(str(target), "w") as file:
        video = file.add_stream("libx264", rate=fps, options={"crf": "18", "g": "12"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = file.add_stream("aac", rate=48000, layout="mono")
        for frame in _pictures(frames, at, size):
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        count = round(frames / fps * 48000)
        tone = (0.05 * np.sin(np.arange(count) * 2 * np.pi * 220 / 48000)).astype(np.float32)
        sound = av.AudioFrame.from_ndarray(tone[None, :], format="fltp", layout="mono")
        sound.sample_rate = 48000
        file.mux(audio.encode(sound))
        file.mux(audio.encode(None))


def _write_images(folder: Path, frames: int, at: Sequence[int]) -> None:
    import av

    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(_pictures(frames, at)):
        with av.open(str(folder / f"{number:04}.png"), "w", format="image2", options={"update": "1"}) as file:
            stream = file.add_stream("png", rate=24)
            stream.width, stream.height, stream.pix_fmt = 1280, 720, "rgb24"
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))


def _write_plain(target: Path, frames: int, color: tuple[int, int, int]) -> None:
    import av
    import numpy as np

    with av.open(str(target), "w") as file:
        video = file.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        picture = np.full((180, 320, 3), color, np.uint8)
        for _ in range(frames):
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(video.encode(None))


def _remux(source: Path, target: Path, options: Mapping[str, str]) -> None:
    import av

    with av.open(str(source)) as original, av.open(str(target), "w", options=dict(options)) as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in original.streams}
        for packet in original.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)


# File name: codec, pixel format, codec options, number of frames, start time in seconds, length of the sound in seconds.
_UNUSUAL = {
    "variable rate.mp4": ("libx264", "yuv420p", {}, 48, 0.0, 0.0),
    "start time.ts": ("libx264", "yuv420p", {}, 48, 100.0, 0.0),
    "longer sound.mp4": ("libx264", "yuv420p", {}, 48, 0.0, 4.0),
    "hevc.mp4": ("libx265", "yuv420p10le", {"x265-params": "log-level=none"}, 48, 0.0, 0.0),
    "prores.mov": ("prores_ks", "yuv422p10le", {}, 48, 0.0, 0.0),
    "vp9.webm": ("libvpx-vp9", "yuva420p", {"deadline": "realtime"}, 48, 0.0, 0.0),
    "one frame.mp4": ("libx264", "yuv420p", {}, 1, 0.0, 0.0),
}


def _write_unusual(target: Path) -> None:
    import av
    import numpy as np

    codec, pixels, options, frames, start, sound = _UNUSUAL[target.name]
    with av.open(str(target), "w") as file:
        video: Any = file.add_stream(codec, rate=24, options=options)
        video.width, video.height, video.pix_fmt = 320, 180, pixels
        video.codec_context.time_base = Fraction(1, 24_000)
        audio = file.add_stream("aac", rate=48_000, layout="mono") if sound else None
        for number, frame in enumerate(_pictures(frames, (), (320, 180))):
            delay = 300 * (number % 3) if target.name.startswith("variable") else 0
            frame.pts, frame.time_base = round(start * 24_000) + number * 1000 + delay, Fraction(1, 24_000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, round(sound * 48_000)), np.float32), "fltp", "mono")
            samples.sample_rate = 48_000
            file.mux(audio.encode(samples))
            file.mux(audio.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("flashes", "images", "plain", "remux", "unusual", "describe"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--fps", type=Fraction, default=Fraction(24))
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--at", type=int, nargs="*", default=[])
    parser.add_argument("--size", type=int, nargs=2, default=[1280, 720])
    parser.add_argument("--color", type=int, nargs=3, default=[0, 0, 0])
    parser.add_argument("--source", type=Path)
    parser.add_argument("--options", type=json.loads, default={})
    options = parser.parse_args()
    if options.action == "flashes":
        _write_flashes(options.path, options.fps, options.frames, options.at, options.size)
    elif options.action == "images":
        _write_images(options.path, options.frames, options.at)
    elif options.action == "plain":
        _write_plain(options.path, options.frames, options.color)
    elif options.action == "remux":
        _remux(options.source, options.path, options.options)
    elif options.action == "unusual":
        _write_unusual(options.path)
    else:
        from tests.standin import model

        print(json.dumps(model.describe(options.path)))


if __name__ == "__main__":
    main()
