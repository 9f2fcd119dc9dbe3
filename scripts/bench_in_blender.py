# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's half inside Blender: python bench_in_blender.py EXTENSION.zip FOLDER (ROUNDS | long); leaves seen.json."""

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
    seen = _long(strip) if what == "long" else [_round(strip) for _ in range(int(what))]
    (folder / "seen.json").write_text(json.dumps(seen))


def _round(strip: Any) -> float:
    """Seconds from the click until the sound strip is there."""
    began = time.monotonic()
    in_blender.generate(strip, lambda job: None)
    took = time.monotonic() - began
    in_blender.finish()
    return took


def _long(strip: Any) -> dict[str, float]:
    """Seconds from the click until the last clip is rendered, and until the strip is there; MB of memory at the most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    rendered: list[float] = []

    def seen(job: Any) -> None:
        if job.stage == "exporting":
            rendered[:] = [time.monotonic() - began]

    in_blender.generate(strip, seen)
    took = time.monotonic() - began
    in_blender.finish()
    own, render = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"rendered": rendered[0], "took": took, "more_mb": (own - before) / 1024, "render_mb": render / 1024}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
