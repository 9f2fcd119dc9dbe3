# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripts that run inside Blender share: the installed extension, an edit with footage, jobs to their end."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.mmaudio_vse"


def install(extension: str) -> None:
    operators: Any = bpy.ops
    operators.extensions.package_install_files(filepath=extension, repo="user_default", enable_on_install=True)
    bpy.context.preferences.system.use_online_access = True


def part(name: str) -> Any:
    """A module of the installed extension."""
    return sys.modules[f"{MODULE}.{name}"]


def make_edit(clip: Path, name: str, project: Path) -> Any:
    """An edit of 25 frames a second, saved as `project`, with the clip on channel 2, without its own sound; the strip."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene: Any = bpy.context.scene
    scene.render.fps = 25
    scene.render.resolution_x, scene.render.resolution_y = 1280, 720
    edit = scene.sequence_editor_create()
    strip = edit.strips.new_movie(name=name, filepath=str(clip), channel=2, frame_start=1, fit_method="FIT")
    bpy.ops.wm.save_as_mainfile(filepath=str(project))
    return strip


def generate(strip: Any, seen: Callable[[Any], None]) -> Any:
    """Gives the strip its sound; `seen` is told each state. Returns the job when its sound is placed."""
    generation = part("generation")
    settings = part("service.eachlabs.mmaudio").Settings("", "music", 1)
    config = part("preferences.page").config(bpy.context)
    (job,) = generation.start(bpy.context.scene, [strip], settings, config)
    while not generation.runner.job(job.id).stage.ended:
        for state in generation.advance():
            seen(state)
        time.sleep(0.01)
    ended = generation.runner.job(job.id)
    if ended.stage != "done":
        sys.exit(str(ended.error))
    return ended


def finish() -> None:
    """Waits until the threads have cleared up."""
    generation = part("generation")
    while generation.runner.busy:
        generation.advance()
        time.sleep(0.01)
