#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the main job on real footage: real Blender, real HTTP, the service's double. Leaves its results in demo/.

Only the model is not real: the double's sound is a hiss that follows the picture's motion.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import build
import workshop

sys.path.insert(0, str(workshop.ROOT))

from tests.standin.client import StandIn

FOLDER = workshop.ROOT / "demo"
_RUN_SECONDS = 5.0
"""What a run of the real model takes."""


def main() -> int:
    print("1/4  fetching Blender (the bpy wheel) and footage", flush=True)
    python = workshop.python_of(workshop.BLENDER_52)
    clip = workshop.footage()
    print("2/4  building the extension", flush=True)
    extension = build.build()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    shutil.copy(clip, FOLDER)
    print("3/4  starting the service's double on loopback", flush=True)
    with StandIn(run_seconds=_RUN_SECONDS, python=str(python)) as double, tempfile.TemporaryDirectory() as user:
        print(f"     {double.base_url}", flush=True)
        print("4/4  generating the sound of a strip, as `blender --command mmaudio generate` does", flush=True)
        return _run_in_blender(python, extension, {**double.environment, "BLENDER_USER_RESOURCES": user})


def _run_in_blender(python: Path, extension: Path, variables: dict[str, str]) -> int:
    """Blender's own words go to a log; the product's go to standard error, and here."""
    log = FOLDER / "blender.log"
    script = workshop.ROOT / "scripts" / "demo_in_blender.py"
    with log.open("wb") as sink:
        status = subprocess.run(
            [python, script, extension, FOLDER],
            cwd=workshop.ROOT,
            env={**os.environ, **variables},
            stdout=sink,
            check=False,
        ).returncode
    if status:
        print(f"It failed with exit status {status}; Blender's words are in {log}")
        return status
    print("\nResults, to be opened in Blender and in any player:")
    for name in ("bunny with sound.blend", "bunny with sound.mp4"):
        print(f"  {FOLDER / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
