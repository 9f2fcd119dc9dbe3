# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers for the scripts that run in Blender: install the extension, make an edit, run jobs."""

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
    """Return a module of the installed extension."""
    return sys.modules[f"{MODULE}.{name}"]


def make_edit(clip: Path, name: str, project: Path) -> Any:
    """Make an edit at 25 fps with the clip, without its sound, on channel 2; save it as `project` and return the strip."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene: Any = bpy.context.scene
    scene.render.fps = 25
    scene.render.resolution_x, scene.render.resolution_y = 1280, 720
    edit = scene.sequence_editor_create()
    strip = edit.strips.new_movie(name=name, filepath=str(clip), channel=2, frame_start=1, fit_method="FIT")
    bpy.ops.wm.save_as_mainfile(filepath=str(project))
    return strip


def generate(strip: Any, on_state: Callable[[Any], None]) -> Any:
    """Generate the strip's sound, calling `on_state` with each state of the job; return the job once its sound is placed."""
    generation = part("generation")
    settings = part("service.eachlabs.mmaudio").Settings("", "music", 1)
    config = part("preferences.page").config(bpy.context)
    (job,) = generation.start(bpy.context.scene, [strip], settings, config)
    while not part("session").current.runner.job(job.id).stage.ended:
        for state in generation.advance():
            on_state(state)
        time.sleep(0.01)
    ended = part("session").current.runner.job(job.id)
    if ended.stage != "done":
        sys.exit(str(ended.error))
    return ended


def finish() -> None:
    """Wait until the worker threads have finished, including their cleanup."""
    generation = part("generation")
    while part("session").current.runner.busy:
        generation.advance()
        time.sleep(0.01)
