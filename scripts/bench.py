#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast and how small, as ratios measured in one run; see the README for what came of it on which machine.

From the click to the strip, less the run's own time, beside the ffmpeg program making the same clip; and the bytes
that are uploaded beside those of the full-size clip.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import build
import workshop
from workshop import Environment

sys.path.insert(0, str(workshop.ROOT))

from tests.standin.client import StandIn

_ROUNDS = 5
_RUN_SECONDS = 1.0


def main() -> int:
    extension = build.build()
    clip = workshop.footage()
    for environment in (workshop.BLENDER_45, workshop.BLENDER_52):
        _bench(environment, extension, clip)
    return 0


def _bench(environment: Environment, extension: Path, clip: Path) -> None:
    python = workshop.python_of(environment)
    ffmpeg = shutil.which("ffmpeg") or _bundled_ffmpeg(python)
    with tempfile.TemporaryDirectory() as place, StandIn(run_seconds=_RUN_SECONDS, python=str(python)) as double:
        folder = Path(place)
        shutil.copy(clip, folder / "clip.mp4")
        script = workshop.ROOT / "scripts" / "bench_in_blender.py"
        variables = {**double.environment, "BLENDER_USER_RESOURCES": str(folder / "user")}
        made = [_ffmpeg_seconds(ffmpeg, folder) for _ in range(_ROUNDS)]
        subprocess.run(
            [str(python), str(script), str(extension), str(folder), str(_ROUNDS)],
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        rounds = json.loads((folder / "rounds.json").read_text())
        runs = double.state()["runs"]
    waits = [seconds - run["took"] for seconds, run in zip(rounds, runs, strict=True)]
    wait, reference = statistics.median(waits), statistics.median(made)
    full, sent = clip.stat().st_size, runs[0]["clip"]["bytes"]
    print(f"{environment.name}: median of {_ROUNDS}; 132 frames of 1280x720 at 25 frames a second")
    print(f"  click to strip, less the run   {wait:6.2f} s")
    print(f"  ffmpeg makes the same clip     {reference:6.2f} s   ratio {wait / reference:.2f}")
    print(f"  uploaded                       {sent:9} of {full} bytes   ratio {sent / full:.2f}")


def _ffmpeg_seconds(ffmpeg: str, folder: Path) -> float:
    """The same cut, scale and hold by the ffmpeg program, with its own defaults for H.264."""
    began = time.monotonic()
    held = "scale=678:380,tpad=stop_mode=clone:stop_duration=0.28"
    subprocess.run(
        [ffmpeg, "-v", "error", "-y", "-i", folder / "clip.mp4", "-an", "-vf", held, folder / "by ffmpeg.mp4"], check=True
    )
    return time.monotonic() - began


def _bundled_ffmpeg(python: Path) -> str:
    code = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    said = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
