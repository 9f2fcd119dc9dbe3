#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure time, upload size and memory as ratios within one run; the README has results and the machine they are from.

- Time from the click to the strip, excluding the run, against the time ffmpeg needs to make the same clip.
- Bytes uploaded, against the size of the full-size clip.
- A strip of ten minutes: time against the ideal, which is windows x run time / runs in flight, and peak memory.
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
import toolchain
from toolchain import Environment

sys.path.insert(0, str(toolchain.ROOT))

from tests.standin.client import StandIn

_ROUNDS = 5
_RUN_SECONDS = 1.0
_LONG_SECONDS = 600
# Duration of a run of the real model.
_LONG_RUN_SECONDS = 5.0
_RUNS_IN_FLIGHT = 10


def main() -> int:
    extension = build.build()
    clip = toolchain.footage()
    for environment in (toolchain.BLENDER_45, toolchain.BLENDER_52):
        python = toolchain.python_of(environment)
        ffmpeg = shutil.which("ffmpeg") or _bundled_ffmpeg(python)
        _bench_click(environment, python, extension, clip, ffmpeg)
        _bench_long(environment, python, extension, clip, ffmpeg)
    return 0


def _bench_click(environment: Environment, python: Path, extension: Path, clip: Path, ffmpeg: str) -> None:
    with tempfile.TemporaryDirectory() as name, StandIn(run_seconds=_RUN_SECONDS, python=str(python)) as double:
        folder = Path(name)
        shutil.copy(clip, folder / "clip.mp4")
        references = [_ffmpeg_seconds(ffmpeg, folder) for _ in range(_ROUNDS)]
        rounds = _in_blender(python, extension, folder, str(_ROUNDS), double)
        runs = double.state()["runs"]
    waits = [seconds - run["predict_time"] for seconds, run in zip(rounds, runs, strict=True)]
    wait, reference = statistics.median(waits), statistics.median(references)
    full, sent = clip.stat().st_size, runs[0]["clip"]["bytes"]
    print(f"{environment.name}: median of {_ROUNDS}; 132 frames of 1280x720 at 25 frames per second")
    print(f"  click to strip, without run    {wait:6.2f} s")
    print(f"  same clip made by ffmpeg       {reference:6.2f} s   ratio {wait / reference:.2f}")
    print(f"  uploaded                       {sent:9} of {full} bytes   ratio {sent / full:.2f}", flush=True)


def _bench_long(environment: Environment, python: Path, extension: Path, clip: Path, ffmpeg: str) -> None:
    """Measure a strip of ten minutes: the footage repeated, at 640x360."""
    with tempfile.TemporaryDirectory() as name, StandIn(run_seconds=_LONG_RUN_SECONDS, python=str(python)) as double:
        folder = Path(name)
        repeat = [ffmpeg, "-v", "error", "-y", "-stream_loop", "-1", "-i", clip, "-an", "-t", str(_LONG_SECONDS)]
        subprocess.run([*repeat, "-vf", "scale=640:360", folder / "clip.mp4"], check=True)
        measured = _in_blender(python, extension, folder, "long", double)
        state = double.state()
    windows = len(state["runs"])
    ideal = windows * _LONG_RUN_SECONDS / _RUNS_IN_FLIGHT
    total, rendered = measured["total"], measured["rendered"]
    print(f"{environment.name}: a strip of {_LONG_SECONDS} s in {windows} windows, runs of {_LONG_RUN_SECONDS} s")
    print(f"  click to strip                 {total:6.1f} s   ideal {ideal:.0f} s, ratio {total / ideal:.2f}")
    print(f"  rendering                      {rendered:6.1f} s   remaining steps {total - rendered:.1f} s")
    print(f"  most runs in flight            {state['peak_concurrent']:6}")
    print(f"  memory                         {measured['added_mb']:6.0f} MB added in Blender")
    print(f"                                 {measured['render_mb']:6.0f} MB in the background render", flush=True)


def _in_blender(python: Path, extension: Path, folder: Path, what: str, double: StandIn) -> Any:
    script = toolchain.ROOT / "scripts" / "bench_in_blender.py"
    subprocess.run(
        [str(python), str(script), str(extension), str(folder), what],
        env={**os.environ, **double.environment, "BLENDER_USER_RESOURCES": str(folder / "user")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return json.loads((folder / "measured.json").read_text())


def _ffmpeg_seconds(ffmpeg: str, folder: Path) -> float:
    """Return the seconds ffmpeg needs for the same range, scale and held last frame, with its defaults for H.264."""
    start = time.monotonic()
    filters = "scale=678:380,tpad=stop_mode=clone:stop_duration=0.28"
    subprocess.run(
        [ffmpeg, "-v", "error", "-y", "-i", folder / "clip.mp4", "-an", "-vf", filters, folder / "by ffmpeg.mp4"], check=True
    )
    return time.monotonic() - start


def _bundled_ffmpeg(python: Path) -> str:
    code = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    process = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return process.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
