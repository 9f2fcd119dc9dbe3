# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Blender in a process that a test can kill.

    python blender_process.py EXTENSION.zip PROJECT.blend (work | ARGUMENT …)

`work` generates the sound of the strip "clip" and prints each stage on a line that starts with "stage"; it doesn't save the
file. Otherwise runs `--command mmaudio ARGUMENT …`, as Blender does.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.mmaudio_vse"


def part(name: str) -> Any:
    return sys.modules[f"{MODULE}.{name}"]


def work() -> None:
    scene: Any = bpy.context.scene
    generation = part("generation")
    config = part("preferences.page").config(bpy.context)
    settings = part("service.eachlabs.mmaudio").Settings("", "music", 7)
    generation.start(scene, [scene.sequence_editor.strips["clip"]], settings, config)
    while True:
        for state in generation.advance():
            created = any(run.prediction_id for run in state.runs)
            print("stage", state.stage, "created" if created else "", file=sys.stderr, flush=True)
        time.sleep(0.01)


def main(extension: str, project: str, arguments: list[str]) -> int:
    operators: Any = bpy.ops
    if (Path(os.environ["BLENDER_USER_RESOURCES"]) / "extensions" / "user_default" / "mmaudio_vse").is_dir():
        # Don't install it again: another Blender of this user may be using it.
        operators.preferences.addon_enable(module=MODULE)
    else:
        operators.extensions.package_install_files(filepath=extension, repo="user_default", enable_on_install=True)
    bpy.context.preferences.system.use_online_access = True
    bpy.ops.wm.open_mainfile(filepath=project)
    if arguments == ["work"]:
        work()
    return int(part("command").run(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
