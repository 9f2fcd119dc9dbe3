# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of the benchmark that runs in Blender; writes FOLDER/measured.json.

Usage: python bench_in_blender.py EXTENSION.zip FOLDER (ROUNDS | long)
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import in_blender


def main(extension: str, folder: Path, what: str) -> None:
    in_blender.install(extension)
    strip = in_blender.make_edit(folder / "clip.mp4", "clip", folder / "edit.blend")
    measured = _long(strip) if what == "long" else [_round(strip) for _ in range(int(what))]
    (folder / "measured.json").write_text(json.dumps(measured))


def _round(strip: Any) -> float:
    """Return the seconds from the click until the sound strip is placed."""
    start = time.monotonic()
    in_blender.generate(strip, lambda job: None)
    total = time.monotonic() - start
    in_blender.finish()
    return total


def _long(strip: Any) -> dict[str, float]:
    """Return the seconds from click to last rendered clip and from click to placed strip, and the peak memory in MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    rendered: list[float] = []

    def note_rendering(job: Any) -> None:
        if job.stage == "exporting":
            rendered[:] = [time.monotonic() - start]

    in_blender.generate(strip, note_rendering)
    total = time.monotonic() - start
    in_blender.finish()
    own, render = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"rendered": rendered[0], "total": total, "added_mb": (own - before) / 1024, "render_mb": render / 1024}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
