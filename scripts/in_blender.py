# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts and tests do in Blender: install the extension, make an edit, run jobs."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import bpy

REPOSITORY, NAME = "user_default", "mmaudio_vse"
MODULE = f"bl_ext.{REPOSITORY}.{NAME}"


def install(extension: Path | str) -> None:
    """Install and enable the extension, and allow online access.

    One that is installed is only enabled, since another Blender of this user may be using it.
    """
    operators: Any = bpy.ops
    if (Path(bpy.utils.user_resource("EXTENSIONS")) / REPOSITORY / NAME).is_dir():
        operators.preferences.addon_enable(module=MODULE)
    else:
        operators.extensions.package_install_files(filepath=str(extension), repo=REPOSITORY, enable_on_install=True)
    bpy.context.preferences.system.use_online_access = True


def part(name: str) -> Any:
    """Return a module of the installed extension."""
    return sys.modules[f"{MODULE}.{name}"]


def shorten_waits() -> None:
    """Wait a tenth as long between two requests to the service: the test double has short runs too."""
    part("session").current.clock = part("service.net.clock").Clock(speed=10)


def new_edit(fps: int = 24) -> Any:
    """Replace the open file by an empty edit of 1280 by 720 pixels, which is not saved, and return the edit."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene: Any = bpy.context.scene
    scene.render.fps, scene.render.fps_base = fps, 1.0
    scene.render.resolution_x, scene.render.resolution_y = 1280, 720
    return scene.sequence_editor_create()


def make_edit(clip: Path, name: str, project: Path) -> Any:
    """Make an edit at 25 fps with the clip, without its sound, on channel 2; save it as `project` and return the strip."""
    strip = new_edit(25).strips.new_movie(name=name, filepath=str(clip), channel=2, frame_start=1, fit_method="FIT")
    bpy.ops.wm.save_as_mainfile(filepath=str(project))
    return strip


def start(strips: Sequence[Any], *, options: Mapping[str, Any] = MappingProxyType({}), **settings: Any) -> list[Any]:
    """Start the strips' jobs as a click does, with these options of a request and settings of the model."""
    model_settings = {"prompt": "", "negative_prompt": "music", "seed": 1, **settings}
    model = part("service.eachlabs.mmaudio").Settings(**model_settings)
    request_options = part("jobs.model.request").Options(**options)
    config = part("preferences.page").config(bpy.context)
    return part("generation").start(bpy.context.scene, strips, model, config, request_options)


def ended(
    job_ids: Sequence[str],
    seconds: float = 3600.0,
    on_state: Callable[[Any], None] = lambda job: None,
    *,
    cleaned_up: bool = True,
) -> list[Any]:
    """Run the jobs to their end, as the timer does, calling `on_state` with each of their versions, and return them.

    With `cleaned_up`, wait until no worker is busy any more, whichever job's.
    """
    end = time.monotonic() + seconds
    while True:
        for state in part("generation").advance():
            on_state(state)
        runner = part("session").current.runner
        jobs = [runner.job(job_id) for job_id in job_ids]
        if all(job.stage.ended for job in jobs) and not (cleaned_up and runner.busy):
            return jobs
        assert time.monotonic() < end, [str(job.stage) for job in jobs]
        time.sleep(0.01)


def finish() -> None:
    """Wait until all jobs have ended and their workers have cleaned up."""
    ended([])


def generate(strip: Any, on_state: Callable[[Any], None]) -> Any:
    """Generate the strip's sound, calling `on_state` with each version of the job; return it once its sound is placed."""
    (started,) = start([strip])
    (job,) = ended([started.id], on_state=on_state, cleaned_up=False)
    if job.stage != "done":
        sys.exit(str(job.error))
    return job
