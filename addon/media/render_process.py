# SPDX-License-Identifier: GPL-3.0-or-later
"""One background Blender that renders clips, one order after another. No bpy."""

import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..failure import Failure, disk_failure

if sys.platform == "win32":
    from . import windows_job

FRAME_WRITTEN = re.compile(rb"[Aa]ppend frame (-?\d+)")
"""Line that every supported Blender prints for each frame written to a video."""
_REPLY = b"mmaudio {"
"""Start of the line that `render_clip.py` prints at the end of each order: a JSON object."""
_CLOSE_SECONDS = 5.0
"""Time to exit after the input was closed. The bpy module of 4.5 hangs at its end now and then."""
_LINES_KEPT = 40
_ERROR_CHARACTERS = 300
_WINDOWS_FLAGS = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
"""No console window, and a lower priority than the user's own Blender. On other systems `render_clip.py` lowers it."""
_SECRET_VARIABLES = ("EACHLABS_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Environment variables that the background Blender doesn't need and must never see."""


class RenderFailed(Failure):
    code = "render_failed"
    default_hint = "Check that the strip plays in the preview, then retry."


class MissingFile(Failure):
    code = "missing_file"
    default_hint = "Find it with File > External Data > Find Missing Files, or choose it in the strip's properties."


class Undecodable(Failure):
    code = "undecodable"
    default_hint = "Replace the file with one that plays in the preview, then retry."


class RenderProcess:
    """Ends when its input is closed, also because this process has ended. `kill` may be called from any thread."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command` starts a Blender that runs `render_clip.py`. Raises OSError."""
        self.command = tuple(command)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(os.environ),
            creationflags=_WINDOWS_FLAGS,
        )
        if sys.platform == "win32":
            windows_job.kill_with_this_process(self._process.pid)
        self._lines: deque[bytes] = deque(maxlen=_LINES_KEPT)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def render(self, order: Mapping[str, Any]) -> Iterator[bytes | dict[str, Any]]:
        """Send an order, and yield each line of output. The last item is the reply. Raises Failure."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._lines.clear()
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            # It has ended: what it printed says why.
            self.kill()
        while line := self._process.stdout.readline():
            if line.startswith(_REPLY):
                yield _checked(json.loads(line.removeprefix(_REPLY[:-1])))
                return
            self._lines.append(line)
            yield line
        raise self._crash()

    def close(self) -> None:
        """Let the process end, and wait for that."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(_CLOSE_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self.kill()
        self._release()

    def kill(self) -> None:
        self._process.kill()

    def _release(self) -> None:
        assert self._process.stdout is not None
        self._process.wait()
        self._process.stdout.close()

    def _crash(self) -> Failure:
        status = self._process.wait()
        lines = [text for line in self._lines if (text := line.decode("utf-8", "replace").strip())]
        errors = [line for line in lines if "rror" in line] or lines[-1:]
        detail = f": {errors[-1][:_ERROR_CHARACTERS]}" if errors else ""
        return RenderFailed(f"The background render failed (exit status {status}){detail}")


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the reply of a successful order. Raise Failure for another one, see `render_clip.py`."""
    if "missing" in reply:
        raise MissingFile(reply["missing"])
    if "unreadable" in reply:
        fault = OSError(reply["errno"], os.strerror(reply["errno"]), None, reply["winerror"])
        raise disk_failure(fault, reply["unreadable"], "or choose another in the strip's properties", reading=True)
    if "undecodable" in reply:
        raise Undecodable(f"{reply['undecodable']}.")
    if "error" in reply:
        raise RenderFailed(f"The background render failed: {reply['error'][:_ERROR_CHARACTERS]}")
    return reply


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in variables.items() if name not in _SECRET_VARIABLES}
    # NumPy's threads, which have nothing to do here, would compete with Blender's while they start.
    return {**kept, "OPENBLAS_NUM_THREADS": "1"}
