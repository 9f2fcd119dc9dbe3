#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate the sound of a strip of real footage with real Blender, real HTTP and the service's test double.

Writes its results to demo/. Only the model is not real: the double's sound is a hiss that follows the motion in the picture.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import build
import toolchain

sys.path.insert(0, str(toolchain.ROOT))

from tests.standin.client import StandIn

FOLDER = toolchain.ROOT / "demo"
_RUN_SECONDS = 5.0
"""Duration of a run of the real model."""


def main() -> int:
    print("1/4  Downloading Blender (the bpy wheel) and footage", flush=True)
    python = toolchain.python_of(toolchain.BLENDER_52)
    clip = toolchain.footage()
    print("2/4  Building the extension", flush=True)
    extension = build.build()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    shutil.copy(clip, FOLDER)
    print("3/4  Starting the service's test double on loopback", flush=True)
    with StandIn(run_seconds=_RUN_SECONDS, python=str(python)) as double, tempfile.TemporaryDirectory() as user:
        print(f"     {double.base_url}", flush=True)
        print("4/4  Generating the sound of a strip, as `blender --command mmaudio generate` does", flush=True)
        return _run_in_blender(python, extension, {**double.environment, "BLENDER_USER_RESOURCES": user})


def _run_in_blender(python: Path, extension: Path, variables: dict[str, str]) -> int:
    """Run the demo in Blender and return its exit status. Blender's output goes to a log, the add-on's to standard error."""
    log = FOLDER / "blender.log"
    script = toolchain.ROOT / "scripts" / "demo_in_blender.py"
    with log.open("wb") as sink:
        status = subprocess.run(
            [python, script, extension, FOLDER],
            cwd=toolchain.ROOT,
            env={**os.environ, **variables},
            stdout=sink,
            check=False,
        ).returncode
    if status:
        print(f"The demo failed with exit status {status}; Blender's output is in {log}")
        return status
    print("\nResults, a project for Blender and a video for any player:")
    for name in ("bunny with sound.blend", "bunny with sound.mp4"):
        print(f"  {FOLDER / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
