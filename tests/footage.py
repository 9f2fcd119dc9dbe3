# SPDX-License-Identifier: GPL-3.0-or-later
"""Footage for tests, and a look at pictures: `python -m tests.footage flashes|images|look …`.

Runs in a process of its own, so that PyAV's ffmpeg and Blender's never meet.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def flashes(target: Path, *, fps: str = "24", frames: int, at: Sequence[int], size: tuple[int, int] = (1280, 720)) -> Path:
    """An H.264 clip of a bar that moves over grey, white on the frames `at`, with a tone on its own sound track."""
    _run("flashes", target, "--fps", fps, "--frames", frames, "--size", *size, "--at", *at)
    return target


def images(folder: Path, *, frames: int, at: Sequence[int]) -> list[Path]:
    """The same as numbered PNG files."""
    _run("images", folder, "--frames", frames, "--at", *at)
    return sorted(folder.glob("*.png"))


def flash_times(clip: Path) -> list[float]:
    """Seconds at which the picture of a video becomes bright, first frame of each flash."""
    return look(clip)["flashes"]


def look(clip: Path) -> dict[str, Any]:
    """What a video is, see `tests.standin.model.describe`."""
    return json.loads(_run("look", clip))


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("flashes", "images", "look"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--fps", type=Fraction, default=Fraction(24))
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--at", type=int, nargs="*", default=[])
    parser.add_argument("--size", type=int, nargs=2, default=[1280, 720])
    options = parser.parse_args()
    if options.what == "flashes":
        _write_flashes(options.path, options.fps, options.frames, options.at, options.size)
    elif options.what == "images":
        _write_images(options.path, options.frames, options.at)
    else:
        from tests.standin import model

        print(json.dumps(model.describe(options.path)))


if __name__ == "__main__":
    main()
