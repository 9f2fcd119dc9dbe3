#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast and how small, as ratios measured in one run; see the README for what came of it on which machine.

From the click to the strip, less the run's own time, beside the ffmpeg program making the same clip; and the bytes
that are uploaded beside those of the full-size clip. Then a strip of ten minutes: how long beside the ideal, which is
windows x run time / runs in flight, and how much memory.
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
from typing import Any

import build
import workshop
from workshop import Environment

sys.path.insert(0, str(workshop.ROOT))

from tests.standin.client import StandIn

_ROUNDS = 5
_RUN_SECONDS = 1.0
_LONG_SECONDS = 600
# What a run of the real model takes.
_LONG_RUN_SECONDS = 5.0
_RUNS_AT_ONCE = 10


def main() -> int:
    extension = build.build()
    clip = workshop.footage()
    for environment in (workshop.BLENDER_45, workshop.BLENDER_52):
        python = workshop.python_of(environment)
        ffmpeg = shutil.which("ffmpeg") or _bundled_ffmpeg(python)
        _bench_click(environment, python, extension, clip, ffmpeg)
        _bench_long(environment, python, extension, clip, ffmpeg)
    return 0


def _bench_click(environment: Environment, python: Path, extension: Path, clip: Path, ffmpeg: str) -> None:
    with tempfile.TemporaryDirectory() as place, StandIn(run_seconds=_RUN_SECONDS, python=str(python)) as double:
        folder = Path(place)
        shutil.copy(clip, folder / "clip.mp4")
        made = [_ffmpeg_seconds(ffmpeg, folder) for _ in range(_ROUNDS)]
        rounds = _in_blender(python, extension, folder, str(_ROUNDS), double)
        runs = double.state()["runs"]
    waits = [seconds - run["took"] for seconds, run in zip(rounds, runs, strict=True)]
    wait, reference = statistics.median(waits), statistics.median(made)
    full, sent = clip.stat().st_size, runs[0]["clip"]["bytes"]
    print(f"{environment.name}: median of {_ROUNDS}; 132 frames of 1280x720 at 25 frames a second")
    print(f"  click to strip, less the run   {wait:6.2f} s")
    print(f"  ffmpeg makes the same clip     {reference:6.2f} s   ratio {wait / reference:.2f}")
    print(f"  uploaded                       {sent:9} of {full} bytes   ratio {sent / full:.2f}", flush=True)


def _bench_long(environment: Environment, python: Path, extension: Path, clip: Path, ffmpeg: str) -> None:
    """A strip of ten minutes: the same footage over and over, of 640x360."""
    with tempfile.TemporaryDirectory() as place, StandIn(run_seconds=_LONG_RUN_SECONDS, python=str(python)) as double:
        folder = Path(place)
        again = [ffmpeg, "-v", "error", "-y", "-stream_loop", "-1", "-i", clip, "-an", "-t", str(_LONG_SECONDS)]
        subprocess.run([*again, "-vf", "scale=640:360", folder / "clip.mp4"], check=True)
        seen = _in_blender(python, extension, folder, "long", double)
        state = double.state()
    windows = len(state["runs"])
    ideal = windows * _LONG_RUN_SECONDS / _RUNS_AT_ONCE
    print(f"{environment.name}: a strip of {_LONG_SECONDS} s in {windows} windows, runs of {_LONG_RUN_SECONDS} s")
    print(f"  click to strip                 {seen['took']:6.1f} s   {ideal:.0f} s ideal: ratio {seen['took'] / ideal:.2f}")
    print(f"  of that, until all is rendered {seen['rendered']:6.1f} s   after it {seen['took'] - seen['rendered']:.1f} s")
    print(f"  runs in flight at once         {state['most_under_way']:6}")
    print(f"  memory                         {seen['more_mb']:6.0f} MB more in Blender")
    print(f"                                 {seen['render_mb']:6.0f} MB in the background render", flush=True)


def _in_blender(python: Path, extension: Path, folder: Path, what: str, double: StandIn) -> Any:
    script = workshop.ROOT / "scripts" / "bench_in_blender.py"
    subprocess.run(
        [str(python), str(script), str(extension), str(folder), what],
        env={**os.environ, **double.environment, "BLENDER_USER_RESOURCES": str(folder / "user")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return json.loads((folder / "seen.json").read_text())


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
