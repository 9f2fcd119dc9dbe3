# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Blender in a process that a test can kill.

    python -m tests.blender.blender_process EXTENSION.zip PROJECT.blend (work | ARGUMENT …)

`work` generates the sound of the strip "clip" and prints each stage on a line that starts with "stage"; it doesn't save the
file. Otherwise runs `--command mmaudio ARGUMENT …`, as Blender does.
"""

import os
import sys
from typing import Any

import bpy

from scripts import in_blender


def work() -> None:
    scene: Any = bpy.context.scene
    (job,) = in_blender.start([scene.sequence_editor.strips["clip"]])
    in_blender.ended([job.id], on_state=_print)
    # It is killed while it works, or after that.
    sys.stdin.read()


def _print(job: Any) -> None:
    created = any(run.prediction_id for run in job.runs)
    print("stage", job.stage, "created" if created else "", file=sys.stderr, flush=True)


def main(extension: str, project: str, arguments: list[str]) -> int:
    in_blender.install(extension)
    in_blender.shorten_waits()
    bpy.ops.wm.open_mainfile(filepath=project)
    if arguments == ["work"]:
        work()
    return int(in_blender.part("command").run(arguments))


if __name__ == "__main__":
    status = main(sys.argv[1], sys.argv[2], sys.argv[3:])
    sys.stdout.flush()
    # Without the exit handlers: in the bpy module of 4.5, the one of its sound system now and then waits forever for the
    # thread that closes the sound device. Blender itself ends that thread before.
    os._exit(status)
