# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of the benchmark that runs in Blender: one click. Writes FOLDER/measured.json.

Usage: python bench_in_blender.py EXTENSION.zip FOLDER CLIP STRIPS
"""

import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bpy
import in_blender

_MEMORY_SECONDS = 10.0


def main(extension: str, folder: Path, clip: Path, strips: int) -> None:
    in_blender.install(extension)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured = {"click": _click(_edit(folder, clip, strips))}
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured |= {"added_mb": (own - before) / 1024, "render_mb": _render_megabytes()}
    (folder / "measured.json").write_text(json.dumps(measured))


def _edit(folder: Path, clip: Path, strips: int) -> list[Any]:
    """Make an edit with so many strips of the clip, one after another, at the clip's frame rate and size."""
    edit = in_blender.new_edit()
    first = edit.strips.new_movie(name="clip", filepath=str(clip), channel=2, frame_start=1, fit_method="FIT")
    scene: Any = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = first.elements[0].orig_width, first.elements[0].orig_height
    scene.render.fps = round(first.fps)
    found, compat = [first], in_blender.part("timeline.compat")
    for _ in range(strips - 1):
        end = compat.right_handle(found[-1])
        found.append(edit.strips.new_movie(name="clip", filepath=str(clip), channel=2, frame_start=end, fit_method="FIT"))
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "edit.blend"))
    return found


def _click(strips: list[Any]) -> dict[str, float]:
    """Return the seconds from the click until the first run is created, until the last is, and until all is placed."""
    start = time.monotonic()
    created: dict[str, float] = {}
    unfinished: dict[str, int] = {}

    def note(job: Any) -> None:
        unfinished[job.id] = sum(run.prediction_id is None for run in job.runs)
        if any(run.prediction_id for run in job.runs):
            created.setdefault("first", time.monotonic() - start)
        if not any(unfinished.values()) and len(unfinished) == len(strips):
            created.setdefault("last", time.monotonic() - start)

    jobs = in_blender.ended([job.id for job in in_blender.start(strips)], on_state=note, cleaned_up=False)
    total = time.monotonic() - start
    faults = [str(job.error) for job in jobs if job.stage != "done"]
    if faults:
        sys.exit(faults[0])
    in_blender.finish()
    return {"first_created": created["first"], "last_created": created["last"], "placed": total}


def _render_megabytes() -> float:
    """Return the peak memory of the largest background Blender, which is known once it has ended."""
    in_blender.part("session").current.close(_MEMORY_SECONDS)
    for thread in threading.enumerate():
        if thread.name == "mmaudio render":
            thread.join(_MEMORY_SECONDS)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
