# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the background Blender that renders a strip's clip. No bpy."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..failure import Cancelled, Failure

RENDER_SCRIPT = Path(__file__).with_name("render_clip.py")

# Blender says this for each frame that it has written to a video, in every version.
_FRAME_WRITTEN = re.compile(rb"[Aa]ppend frame (-?\d+)")
_POLL_SECONDS = 0.05
# A render that writes no frame for so long hangs: a 3D scene's frame may take minutes, no more.
_SILENCE_MAX_SECONDS = 900.0
_OWN_ERROR = "mmaudio: "
# No console window flashes up, and the artist's own Blender goes first. Elsewhere render_clip.py sees to the latter.
_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
# What the background Blender has no use for, and must never see.
_SECRET_VARIABLES = ("EACHLABS_API_KEY",)


@dataclass(frozen=True)
class Clip:
    """What `render_clip.py` is asked for.

    first, frames  the strip's left handle and the number of frames it shows
    held           how many frames the clip has in all, its last picture held
    """

    blend: str
    scene: str
    strip: str
    first: int
    frames: int
    held: int
    short_side_max: int
    scenes_as_they_are: bool
    output: str


def export_clip(
    clip: Clip,
    blender: Sequence[str],
    progress: Callable[[float, float], None],
    cancel: threading.Event,
) -> None:
    """Renders `clip` to its output; `blender` starts a Blender that runs a Python script.

    Told (done, held) in frames. Raises Failure with the end of Blender's words, Cancelled.
    """
    output = Path(clip.output)
    order = output.with_suffix(".json")
    order.write_text(json.dumps(asdict(clip)), encoding="utf-8")
    log = output.with_suffix(".log")
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*blender, str(RENDER_SCRIPT), "--", str(order)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_environment(os.environ),
            creationflags=_WINDOWS_FLAGS,
        )
    try:
        _watch(process, log, clip, progress, cancel)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if process.returncode != 0 or not output.is_file():
        raise _render_failure(log, process.returncode)


def _watch(
    process: "subprocess.Popen[bytes]",
    log: Path,
    clip: Clip,
    progress: Callable[[float, float], None],
    cancel: threading.Event,
) -> None:
    """Follows the render through what it writes, until it ends."""
    silence = 0.0
    with log.open("rb") as said:
        while process.poll() is None:
            if cancel.wait(_POLL_SECONDS):
                raise Cancelled
            written = _FRAME_WRITTEN.findall(said.read())
            silence = 0.0 if written else silence + _POLL_SECONDS
            if written:
                progress(int(written[-1]) - max(clip.first, 0) + 1, clip.held)
            if silence > _SILENCE_MAX_SECONDS:
                raise Failure(
                    "render_failed",
                    f"The background render wrote no frame for {_SILENCE_MAX_SECONDS / 60:.0f} minutes and was stopped.",
                    "Try Workbench for 3D scenes, in Advanced.",
                )


def _render_failure(log: Path, status: int) -> Failure:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    own = [line.removeprefix(_OWN_ERROR) for line in lines if line.startswith(_OWN_ERROR)]
    errors = own or [line for line in lines if "rror" in line] or lines[-1:]
    said = f": {errors[-1][:300]}" if errors else ""
    return Failure(
        "render_failed",
        f"The background render failed (exit status {status}){said}",
        "Check that the strip plays in the preview, then retry.",
    )


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in _SECRET_VARIABLES}
