#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long an artist waits besides the model's own time, as a ratio to what the ffmpeg program needs for the clips.

Both are measured in turn, in one run; docs/performance.md has the latest table and says what machine it is from.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import build
import toolchain
from toolchain import Environment

sys.path.insert(0, str(toolchain.ROOT))

from tests.standin.client import StandIn

_ROUNDS = 5
_RUN_SECONDS = 5.0
"""Duration of a run of the real model."""
_RUNS_IN_FLIGHT = 10
_NOISE = ("-t", "8", "-r", "24", "-vf", "scale=1920:1080,noise=alls=20:allf=t")


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    footage: Sequence[str]
    """Options of ffmpeg that make the clip from the repeated test footage."""
    goal: float
    strips: int = 1
    until: str = "placed"
    rounds: int = _ROUNDS


_CASES = (
    Case("one strip, 720p, 5.28 s, first click", ("-t", "5.28"), 2.0),
    Case("one strip, 1080p24, 8 s of noisy footage, first click", _NOISE, 1.2),
    Case("two minutes in 17 windows, until the last is ordered", ("-t", "120"), 1.25, until="last_created"),
    Case("twelve strips of 5.28 s in one batch", ("-t", "5.28"), 1.25, strips=12),
)
_MAKESPAN_STRIPS = 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", metavar="TEXT", default="", help="measure only the rows whose name contains this")
    parser.add_argument("blenders", nargs="*", metavar="BLENDER", help="blender-4.5, blender-5.2 (default: both)")
    options = parser.parse_args()
    chosen = options.k
    extension = build.build()
    for environment in (toolchain.BLENDER_45, toolchain.BLENDER_52):
        if options.blenders and environment.name not in options.blenders:
            continue
        bench = Bench(environment, extension)
        print(f"\n{environment.name}, medians of {_ROUNDS}: seconds of waiting less the run's own, ffmpeg's, ratio, goal")
        for case in _CASES:
            if chosen in case.name:
                print(bench.row(case), flush=True)
        if chosen in "makespan":
            print(bench.makespan(), flush=True)
    return 0


class Bench:
    """Measures with one version of Blender."""

    def __init__(self, environment: Environment, extension: Path) -> None:
        self._python = toolchain.python_of(environment)
        self._extension = extension
        self._ffmpeg = shutil.which("ffmpeg") or _bundled_ffmpeg(self._python)

    def row(self, case: Case) -> str:
        """Measure one row, the two programs in turn."""
        waits: list[float] = []
        references: list[float] = []
        memory: list[tuple[float, float]] = []
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            clip = self._make_clip(folder, case.footage)
            for _ in range(case.rounds):
                measured, runs = self._in_blender(folder, clip, case.strips)
                own_run = runs[-1]["predict_time"] if case.until == "placed" else 0.0
                waits.append(measured["click"][case.until] - own_run)
                clips = [run["clip"] for run in runs]
                references.append(self._ffmpeg_seconds(folder, clip, clips, in_sequence=case.strips == 1))
                memory.append((measured["added_mb"], measured["render_mb"]))
        wait, reference = statistics.median(waits), statistics.median(references)
        added, render = (max(values) for values in zip(*memory, strict=True))
        figures = f"{wait:6.2f} {reference:6.2f} {wait / reference:6.2f} {case.goal:6.2f}"
        return f"  {case.name:56} {figures}   memory {added:.0f} MB added, {render:.0f} MB in the background"

    def makespan(self) -> str:
        """Measure a batch of strips of 8 s with runs as long as the real ones, and as many at once as the service allows."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            clip = self._make_clip(folder, ("-t", "8"))
            measured, _ = self._in_blender(folder, clip, _MAKESPAN_STRIPS)
        click = measured["click"]
        ideal = click["first_created"] + _MAKESPAN_STRIPS / _RUNS_IN_FLIGHT * _RUN_SECONDS
        return (
            f"  {_MAKESPAN_STRIPS} strips of 8 s, runs of {_RUN_SECONDS:.0f} s, {_RUNS_IN_FLIGHT} in flight: "
            f"placed after {click['placed']:.1f} s, ideal {ideal:.1f} s, ratio {click['placed'] / ideal:.2f}; "
            f"last ordered after {click['last_created']:.1f} s; "
            f"memory {measured['added_mb']:.0f} MB added, {measured['render_mb']:.0f} MB in the background"
        )

    def _make_clip(self, folder: Path, options: Sequence[str]) -> Path:
        """Repeat the test footage, and encode it as fast and as good as a camera does."""
        clip = folder / "clip.mp4"
        encode = ["-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "18", *options]
        self._run_ffmpeg(["-stream_loop", "-1", "-i", str(toolchain.footage()), *encode, str(clip)])
        return clip

    def _in_blender(self, folder: Path, clip: Path, strips: int) -> tuple[Any, Any]:
        """Click in a new Blender. Return what it measured, and the runs that the double had."""
        script = toolchain.ROOT / "scripts" / "bench_in_blender.py"
        with StandIn(run_seconds=_RUN_SECONDS, python=str(self._python)) as double:
            subprocess.run(
                [str(self._python), str(script), str(self._extension), str(folder), str(clip), str(strips)],
                env={**os.environ, **double.environment, "BLENDER_USER_RESOURCES": str(folder / "user")},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            runs = double.state()["runs"]
        return json.loads((folder / "measured.json").read_text()), runs

    def _ffmpeg_seconds(self, folder: Path, clip: Path, clips: Sequence[Any], *, in_sequence: bool) -> float:
        """Return the seconds that ffmpeg needs for the same clips, one after another, with its defaults for H.264.

        `in_sequence`: the clips are from one strip, so each begins where the one before has ended.
        """
        start = time.monotonic()
        position = 0.0
        for made in clips:
            filters = f"scale={made['width']}:{made['height']},tpad=stop_mode=clone:stop_duration=1"
            wanted = ["-an", "-vf", filters, "-frames:v", str(made["frames"])]
            self._run_ffmpeg(["-ss", str(position), "-i", str(clip), *wanted, str(folder / "by ffmpeg.mp4")])
            position += float(made["frames"] / Fraction(made["fps"])) if in_sequence else 0.0
        return time.monotonic() - start

    def _run_ffmpeg(self, arguments: Sequence[str]) -> None:
        subprocess.run([self._ffmpeg, "-v", "error", "-y", *arguments], check=True, stdin=subprocess.DEVNULL)


def _bundled_ffmpeg(python: Path) -> str:
    code = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    process = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return process.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
