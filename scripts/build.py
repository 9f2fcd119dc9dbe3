#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build and validate dist/mmaudio_vse-VERSION.zip with Blender's extension tool."""

import shutil
import sys
import tomllib
from pathlib import Path

import toolchain


def build() -> Path:
    """Build and validate the extension; return the path of the zip file."""
    python = toolchain.python_of(toolchain.BLENDER_52)
    tool = _extension_tool(python)
    stage = toolchain.CACHE / "extension"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(toolchain.ROOT / "addon", stage, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("blender_manifest.toml", "LICENSE"):
        shutil.copy(toolchain.ROOT / name, stage / name)
    _add_wheels(stage)
    toolchain.DIST.mkdir(exist_ok=True)
    target = toolchain.built_extension()
    toolchain.check_run([python, tool, "build", "--source-dir", stage, "--output-filepath", target])
    toolchain.check_run([python, tool, "validate", target])
    return target


def _extension_tool(python: Path) -> Path:
    """Return the path of Blender's extension tool, which is part of the bpy wheel and runs without Blender."""
    package = toolchain.package_folder(python, "bpy")
    for root in (package, *package.parents[:4]):
        found = next(root.glob("**/addons_core/bl_pkg/cli/blender_ext.py"), None)
        if found:
            return found
    sys.exit("The bpy wheel does not contain the extension tool.")


def _add_wheels(stage: Path) -> None:
    """Download the wheels listed in the manifest from PyPI and copy them to the extension's folder."""
    manifest = tomllib.loads((stage / "blender_manifest.toml").read_text(encoding="utf-8"))
    cache = toolchain.CACHE / "wheels"
    for wheel in map(Path, manifest["wheels"]):
        if not (cache / wheel.name).is_file():
            name, version = wheel.name.split("-")[:2]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            toolchain.check_run([*pip, "--dest", cache, f"{name}=={version}"])
        (stage / "wheels").mkdir(exist_ok=True)
        shutil.copy(cache / wheel.name, stage / wheel)


if __name__ == "__main__":
    print(build())
