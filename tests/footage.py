# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes footage for tests and reads the properties of videos: `python -m tests.footage` does what it reads, line by line.

PyAV is used in a separate process, so that its ffmpeg libraries and Blender's are never loaded together. Footage is made
once and kept; each test gets a copy of its own.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).parents[1]
_MADE = ROOT / ".cache" / "made footage"


def flashes(target: Path, *, fps: str = "24", frames: int, at: Sequence[int], size: tuple[int, int] = (1280, 720)) -> Path:
    """Make an H.264 clip of a bar moving over gray, white on the frames `at`, with a tone on its audio track."""
    shutil.copyfile(_made("flashes", target.suffix, fps=fps, frames=frames, at=list(at), size=list(size)), target)
    return target


def images(folder: Path, *, frames: int, at: Sequence[int]) -> list[Path]:
    """Make the same footage as numbered PNG files."""
    shutil.copytree(_made("images", frames=frames, at=list(at)), folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return sorted(folder.glob("*.png"))


def plain(target: Path, *, frames: int, color: tuple[int, int, int]) -> Path:
    """Make an H.264 clip of one color, at 24 frames per second."""
    shutil.copyfile(_made("plain", target.suffix, frames=frames, color=list(color)), target)
    return target


def remux(source: Path, target: Path, options: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Copy the encoded streams to another container format, or to the same with other options."""
    _call("remux", path=str(target), source=str(source), options=dict(options))
    return target


def unusual(target: Path) -> Path:
    """Make two seconds of valid footage of an unusual kind, which the file name selects; see `_UNUSUAL`."""
    shutil.copyfile(_made("unusual", target.suffix, kind=target.name), target)
    return target


def flash_times(clip: Path) -> list[float]:
    """Return the time in seconds of the first frame of each flash."""
    return describe(clip)["flashes"]


def describe(clip: Path) -> dict[str, Any]:
    """Return the properties of a video; see `tests.standin.model.describe`."""
    return _call("describe", path=str(clip))


def psnr(clip: Path, pictures: Sequence[Path]) -> list[float]:
    """Return how close each frame of a clip is to a picture: the PSNR in dB of the luma of both at 224x224."""
    return _call("psnr", path=str(clip), pictures=[str(picture) for picture in pictures])


def _made(do: str, suffix: str = "", **parameters: Any) -> Path:
    """Return the kept file or folder of these parameters, made by this version of the module and of PyAV."""
    recipe = json.dumps([Path(__file__).read_text(encoding="utf-8"), version("av"), do, parameters])
    kept = _MADE / f"{hashlib.sha256(recipe.encode()).hexdigest()[:20]}{suffix}"
    if not kept.exists():
        _MADE.mkdir(parents=True, exist_ok=True)
        # Tests with another Blender may be making the same.
        with tempfile.TemporaryDirectory(dir=_MADE) as folder:
            made = Path(folder) / kept.name
            _call(do, path=str(made), **parameters)
            with suppress(OSError):
                made.replace(kept)
    assert kept.exists()
    return kept


@cache
def _worker() -> "subprocess.Popen[str]":
    """Start the process that uses PyAV. It ends when its input is closed, thus with this process at the latest."""
    command = [sys.executable, "-m", "tests.footage"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _call(do: str, **parameters: Any) -> Any:
    """Let the worker do something, and return its result."""
    worker = _worker()
    assert worker.stdin is not None and worker.stdout is not None
    print(json.dumps({"do": do, **parameters}), file=worker.stdin, flush=True)
    reply = json.loads(worker.stdout.readline() or '{"error": "the process has ended"}')
    if "error" in reply:
        raise RuntimeError(f"{do}: {reply['error']}")
    return reply["result"]


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


def _write_unusual(target: Path, kind: str) -> None:
    import av
    import numpy as np

    codec, pixels, options, frames, start, sound = _UNUSUAL[kind]
    with av.open(str(target), "w") as file:
        video: Any = file.add_stream(codec, rate=24, options=options)
        video.width, video.height, video.pix_fmt = 320, 180, pixels
        video.codec_context.time_base = Fraction(1, 24_000)
        audio = file.add_stream("aac", rate=48_000, layout="mono") if sound else None
        for number, frame in enumerate(_pictures(frames, (), (320, 180))):
            delay = 300 * (number % 3) if kind.startswith("variable") else 0
            frame.pts, frame.time_base = round(start * 24_000) + number * 1000 + delay, Fraction(1, 24_000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, round(sound * 48_000)), np.float32), "fltp", "mono")
            samples.sample_rate = 48_000
            file.mux(audio.encode(samples))
            file.mux(audio.encode(None))


def _describe(path: Path) -> dict[str, object]:
    from tests.standin import model

    return model.describe(model.read_clip(path))


def _psnr(clip: Path, pictures: Sequence[str]) -> list[float]:
    import av
    import numpy as np

    def luma(frame: av.VideoFrame) -> Any:
        small = frame.reformat(224, 224, "rgb24", src_colorspace=frame.colorspace, interpolation="BICUBIC")
        return small.to_ndarray() @ np.array((0.299, 0.587, 0.114))

    with av.open(str(clip)) as file:
        shown = [luma(frame) for frame in file.decode(video=0)]
    ratios: list[float] = []
    for sent, path in zip(shown, pictures, strict=True):
        with av.open(path) as file:
            error = np.mean((sent - luma(next(file.decode(video=0)))) ** 2)
        ratios.append(float(10 * np.log10(255**2 / max(error, 1e-9))))
    return ratios


def _do(order: dict[str, Any]) -> Any:
    path = Path(order["path"])
    match order["do"]:
        case "flashes":
            return _write_flashes(path, Fraction(order["fps"]), order["frames"], order["at"], order["size"])
        case "images":
            return _write_images(path, order["frames"], order["at"])
        case "plain":
            return _write_plain(path, order["frames"], order["color"])
        case "remux":
            return _remux(Path(order["source"]), path, order["options"])
        case "unusual":
            return _write_unusual(path, order["kind"])
        case "psnr":
            return _psnr(path, order["pictures"])
        case _:
            return _describe(path)


def main() -> None:
    for line in sys.stdin:
        try:
            reply = {"result": _do(json.loads(line))}
        except Exception as fault:
            reply = {"error": repr(fault)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
