# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's half inside Blender: python bench_in_blender.py EXTENSION.zip FOLDER ROUNDS; leaves rounds.json."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.mmaudio_vse"


def main(extension: str, folder: Path, rounds: int) -> None:
    operators: Any = bpy.ops
    operators.extensions.package_install_files(filepath=extension, repo="user_default", enable_on_install=True)
    bpy.context.preferences.system.use_online_access = True
    bpy.ops.wm.read_homefile(use_empty=True)
    scene: Any = bpy.context.scene
    scene.render.fps = 25
    scene.render.resolution_x, scene.render.resolution_y = 1280, 720
    clip = str(folder / "clip.mp4")
    strip: Any = scene.sequence_editor_create().strips.new_movie(name="clip", filepath=clip, channel=2, frame_start=1)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "edit.blend"))
    seconds = [_round(scene, strip) for _ in range(rounds)]
    (folder / "rounds.json").write_text(json.dumps(seconds))


def _round(scene: Any, strip: Any) -> float:
    """Seconds from the click until the sound strip is there."""
    generation: Any = sys.modules[f"{MODULE}.generation"]
    preferences: Any = sys.modules[f"{MODULE}.ui.preferences"]
    settings = sys.modules[f"{MODULE}.service.mmaudio"].Settings("", "music", 1)
    began = time.monotonic()
    (job,) = generation.start(scene, [strip], settings, preferences.setup(bpy.context))
    while not generation.runner.job(job.id).stage.ended:
        generation.advance()
        time.sleep(0.01)
    took = time.monotonic() - began
    ended = generation.runner.job(job.id)
    if ended.stage != "done":
        sys.exit(str(ended.error))
    while generation.runner.busy:
        generation.advance()
        time.sleep(0.01)
    return took


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
