# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the background Blender that renders a strip's clips. No bpy."""

import errno
import json
import os
import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..failure import Cancelled, Failure, of_disk, readable
from .folder import is_full

# Blender says this for each frame that it has written to a video, in every version.
_FRAME_WRITTEN = re.compile(rb"[Aa]ppend frame (-?\d+)")
_POLL_SECONDS = 0.05
# A render that writes no frame for so long hangs: a 3D scene's frame may take minutes, no more.
_SILENCE_MAX_SECONDS = 900.0
# What render_clip.py says itself, each on a line of its own.
_FILE_WRITTEN = b"mmaudio wrote "
_OWN_ERROR = "mmaudio: "
_UNDECODABLE = "mmaudio can't decode "
_NOTE = "mmaudio note "
# No console window flashes up, and the artist's own Blender goes first. Elsewhere render_clip.py sees to the latter.
_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
# What the background Blender has no use for, and must never see.
_SECRET_VARIABLES = ("EACHLABS_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class ClipRange:
    """One file to be rendered: `frames` of them from the frame `first` on, counted from the strip's left handle."""

    first: int
    frames: int
    output: str


@dataclass(frozen=True)
class Order:
    """What `render_clip.py` is asked for.

    first, frames  the strip's left handle and the number of frames it shows; beyond them its last picture is held
    whole_project  the .blend has more in it than the scene needs
    whole_edit     render the edit as it is seen there, instead of the strip alone
    token          sets its own files apart from those of a render whose Blender was killed a moment ago
    """

    blend: str
    scene: str
    whole_project: bool
    strip: str
    first: int
    frames: int
    ranges: Sequence[ClipRange]
    short_side_max: int
    long_side_max: int
    whole_edit: bool
    scenes_as_they_are: bool
    token: str = field(default_factory=lambda: uuid.uuid4().hex[:8])


def export_clips(
    order: Order,
    blender: Sequence[str],
    progress: Callable[[float, float], None],
    finished: Callable[[int], None],
    cancel: threading.Event,
) -> list[str]:
    """Renders the order's files; `blender` starts a Blender that runs a Python script. Returns what the artist should know
    of them, as a rule nothing.

    `progress` is told (done, total) in frames, `finished` the number of each stretch whose file is whole. Raises Failure
    with the end of Blender's words, Cancelled.
    """
    folder = Path(order.ranges[0].output).parent
    asked, log = (folder / f"render-{order.token}.{kind}" for kind in ("json", "log"))
    try:
        asked.write_text(json.dumps(asdict(order)), encoding="utf-8")
    except OSError as fault:
        raise of_disk(fault, _unwritable(folder)) from fault
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*blender, "--", str(asked)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_environment(os.environ),
            creationflags=_WINDOWS_FLAGS,
        )
    try:
        total = sum(clip_range.frames for clip_range in order.ranges)
        files = _watch(process, log, lambda frames: progress(min(frames, total), total), finished, cancel)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if process.returncode != 0 or files != len(order.ranges):
        raise _render_failure(log, process.returncode)
    return _notes(log)


def _watch(
    process: "subprocess.Popen[bytes]",
    log: Path,
    progress: Callable[[int], None],
    finished: Callable[[int], None],
    cancel: threading.Event,
) -> int:
    """Follows the render through what it writes, until it ends; returns how many files it finished."""
    frames = told = files = 0
    silence = 0.0
    with log.open("rb") as said:
        ended = False
        while not ended:
            ended = process.poll() is not None
            if cancel.wait(0 if ended else _POLL_SECONDS):
                raise Cancelled
            silence += _POLL_SECONDS
            for line in _complete_lines(said):
                silence = 0.0
                if _FRAME_WRITTEN.search(line):
                    frames += 1
                if line.startswith(_FILE_WRITTEN):
                    # Told before: what has been finished is on its way to the service at once.
                    told = frames
                    progress(frames)
                    finished(files)
                    files += 1
            if frames > told:
                told = frames
                progress(frames)
            if silence > _SILENCE_MAX_SECONDS:
                raise Failure(
                    "render_failed",
                    f"The background render wrote no frame for {_SILENCE_MAX_SECONDS / 60:.0f} minutes and was stopped.",
                    "Try Workbench for 3D scenes, in Advanced.",
                )
    return files


def _complete_lines(said: BinaryIO) -> Iterator[bytes]:
    """The lines that have been written since the last time, but for one that is still being written."""
    while True:
        start = said.tell()
        line = said.readline()
        if not line.endswith(b"\n"):
            said.seek(start)
            return
        yield line


def _notes(log: Path) -> list[str]:
    lines = log.read_text("utf-8", "replace").splitlines()
    return [readable(json.loads(line.removeprefix(_NOTE))) for line in lines if line.startswith(_NOTE)]


def _render_failure(log: Path, status: int) -> Failure:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    for line in lines:
        if line.startswith(_UNDECODABLE):
            what = line.removeprefix(_UNDECODABLE)
            hint = "Replace the file by one that plays in the preview, then retry."
            return Failure("undecodable", f"{what}.", hint)
    own = [line.removeprefix(_OWN_ERROR) for line in lines if line.startswith(_OWN_ERROR)]
    if is_full(log.parent):
        # Then neither Blender's words nor the log need to say so.
        return of_disk(OSError(errno.ENOSPC, ""), _unwritable(log.parent))
    errors = own or [line for line in lines if "rror" in line] or lines[-1:]
    said = f": {errors[-1][:300]}" if errors else ""
    return Failure(
        "render_failed",
        f"The background render failed (exit status {status}){said}",
        "Check that the strip plays in the preview, then retry.",
    )


def _unwritable(folder: Path) -> str:
    return f"The clip can't be written to {folder}"


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in _SECRET_VARIABLES}
