# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering of a strip's clips by a background Blender. No bpy."""

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

from ..failure import Cancelled, Failure, disk_failure, readable
from .folder import is_full

_FRAME_WRITTEN = re.compile(rb"[Aa]ppend frame (-?\d+)")
"""Line that every supported Blender prints for each frame written to a video."""
_FILE_WRITTEN = b"mmaudio wrote "
"""Prefix of the line that `render_clip.py` prints for each complete file."""
_OWN_ERROR = "mmaudio: "
"""Prefix of the line that `render_clip.py` prints when it fails, followed by the reason."""
_UNDECODABLE = "mmaudio can't decode "
"""Prefix of the line that `render_clip.py` prints for a media file that can't be decoded, followed by strip and file."""
_NOTE = "mmaudio note "
"""Prefix of the lines that `render_clip.py` prints for the user, followed by a JSON string."""
_POLL_SECONDS = 0.05
_SILENCE_MAX_SECONDS = 900.0
"""A render that writes no frame for this long hangs: one frame of a 3D scene may take minutes, no more."""
_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
"""No console window, and a lower priority than the user's own Blender. On other systems `render_clip.py` lowers it."""
_SECRET_VARIABLES = ("EACHLABS_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Environment variables that the background Blender doesn't need and must never see."""


class RenderFailed(Failure):
    code = "render_failed"
    default_hint = "Check that the strip plays in the preview, then retry."


class Undecodable(Failure):
    code = "undecodable"
    default_hint = "Replace the file with one that plays in the preview, then retry."


@dataclass(frozen=True)
class ClipRange:
    """Frame range that is rendered to one file."""

    first: int
    """First frame, counted from the strip's left handle."""
    frames: int
    output: str
    """Path of the file."""


@dataclass(frozen=True)
class ExportRequest:
    """Request to `render_clip.py`, which reads it as JSON."""

    blend: str
    scene: str
    whole_project: bool
    """The .blend is a copy of the whole project rather than of the scene alone."""
    strip: str
    first: int
    """The strip's left handle."""
    frames: int
    """Number of frames that the strip shows. Its last frame is held in the part of a clip that exceeds them."""
    ranges: Sequence[ClipRange]
    short_side_max: int
    long_side_max: int
    """Largest sides of a clip, in pixels."""
    whole_edit: bool
    """Render the edit as shown in the strip's range, instead of the strip alone."""
    scenes_as_they_are: bool
    """Render 3D scenes with their own engine instead of Workbench."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """Makes file names unique: a render whose parent Blender was killed a moment ago may still be writing its own files."""


def export_clips(
    request: ExportRequest,
    blender: Sequence[str],
    progress: Callable[[float, float], None],
    finished: Callable[[int], None],
    cancel: threading.Event,
) -> list[str]:
    """Render the requested clips and return notes for the user, usually none.

    `blender` is the command that starts a Blender running `render_clip.py`. `progress` is called with (done, total) in
    frames, `finished` with the index of each clip range whose file is complete. Raise Failure with the last error that
    Blender printed, or Cancelled.
    """
    folder = Path(request.ranges[0].output).parent
    request_file, log = (folder / f"render-{request.token}.{kind}" for kind in ("json", "log"))
    try:
        request_file.write_text(json.dumps(asdict(request)), encoding="utf-8")
    except OSError as fault:
        raise disk_failure(fault, _unwritable(folder)) from fault
    process = _start([*blender, "--", str(request_file)], log)
    try:
        total = sum(clip_range.frames for clip_range in request.ranges)
        files = _watch(process, log, lambda frames: progress(min(frames, total), total), finished, cancel)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if process.returncode != 0 or files != len(request.ranges):
        raise _render_failure(log, process.returncode)
    return _notes(log)


def _start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Start the process with its output redirected to the file `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(os.environ),
            creationflags=_WINDOWS_FLAGS,
        )


def _watch(
    process: "subprocess.Popen[bytes]",
    log: Path,
    progress: Callable[[int], None],
    finished: Callable[[int], None],
    cancel: threading.Event,
) -> int:
    """Report the render's progress from its log until it ends, and return the number of complete files."""
    frames = reported = files = 0
    silence = 0.0
    with log.open("rb") as output:
        ended = False
        while not ended:
            ended = process.poll() is not None
            if cancel.wait(0 if ended else _POLL_SECONDS):
                raise Cancelled
            silence += _POLL_SECONDS
            for line in _complete_lines(output):
                silence = 0.0
                if _FRAME_WRITTEN.search(line):
                    frames += 1
                if line.startswith(_FILE_WRITTEN):
                    # Before `finished`, which starts the upload of the file at once.
                    reported = frames
                    progress(frames)
                    finished(files)
                    files += 1
            if frames > reported:
                reported = frames
                progress(frames)
            if silence > _SILENCE_MAX_SECONDS:
                raise RenderFailed(
                    f"The background render wrote no frame for {_SILENCE_MAX_SECONDS / 60:.0f} minutes and was stopped.",
                    "Turn off Render 3D Scenes as They Are in the Advanced panel.",
                )
    return files


def _complete_lines(output: BinaryIO) -> Iterator[bytes]:
    """Yield the lines appended since the last call. An incomplete last line is left for the next call."""
    while True:
        start = output.tell()
        line = output.readline()
        if not line.endswith(b"\n"):
            output.seek(start)
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
            return Undecodable(f"{what}.")
    own = [line.removeprefix(_OWN_ERROR) for line in lines if line.startswith(_OWN_ERROR)]
    if is_full(log.parent):
        # Blender's output may not mention it, and the log itself may be cut short.
        return disk_failure(OSError(errno.ENOSPC, ""), _unwritable(log.parent))
    errors = own or [line for line in lines if "rror" in line] or lines[-1:]
    detail = f": {errors[-1][:300]}" if errors else ""
    return RenderFailed(
        f"The background render failed (exit status {status}){detail}",
    )


def _unwritable(folder: Path) -> str:
    return f"The clip can't be written to {folder}"


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in _SECRET_VARIABLES}
