# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender of its own, which a test may kill: python blender_process.py EXTENSION.zip PROJECT.blend (work | ARGUMENT …)

`work` gives the strip "clip" its sound and tells each stage, on lines that start with "stage"; the file is not saved.
Otherwise `--command mmaudio ARGUMENT …` is run, as Blender runs it.
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
            requested_at = any(run.prediction_id for run in state.runs)
            print("stage", state.stage, "ordered" if requested_at else "", file=sys.stderr, flush=True)
        time.sleep(0.01)


def main(extension: str, project: str, arguments: list[str]) -> int:
    operators: Any = bpy.ops
    if (Path(os.environ["BLENDER_USER_RESOURCES"]) / "extensions" / "user_default" / "mmaudio_vse").is_dir():
        # Another of these Blenders may be using it.
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
