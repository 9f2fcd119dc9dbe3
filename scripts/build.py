#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds dist/mmaudio_vse-VERSION.zip, by Blender's own extension tool, and validates it."""

import shutil
import sys
import tomllib
from pathlib import Path

import workshop


def build() -> Path:
    """Returns the zip that was made."""
    python = workshop.python_of(workshop.BLENDER_52)
    tool = _extension_tool(python)
    stage = workshop.CACHE / "extension"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(workshop.ROOT / "addon", stage, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("blender_manifest.toml", "LICENSE"):
        shutil.copy(workshop.ROOT / name, stage / name)
    _add_wheels(stage)
    workshop.DIST.mkdir(exist_ok=True)
    target = workshop.DIST / f"mmaudio_vse-{workshop.extension_version()}.zip"
    workshop.must([python, tool, "build", "--source-dir", stage, "--output-filepath", target])
    workshop.must([python, tool, "validate", target])
    return target


def _extension_tool(python: Path) -> Path:
    """Blender's extension tool, which the bpy wheel carries; it runs without Blender."""
    package = workshop.package_folder(python, "bpy")
    for root in (package, *package.parents[:4]):
        found = next(root.glob("**/addons_core/bl_pkg/cli/blender_ext.py"), None)
        if found:
            return found
    sys.exit("the bpy wheel has no extension tool")


def _add_wheels(stage: Path) -> None:
    """The wheels that the manifest names, from PyPI."""
    manifest = tomllib.loads((stage / "blender_manifest.toml").read_text(encoding="utf-8"))
    kept = workshop.CACHE / "wheels"
    for wheel in map(Path, manifest["wheels"]):
        if not (kept / wheel.name).is_file():
            name, version = wheel.name.split("-")[:2]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            workshop.must([*pip, "--dest", kept, f"{name}=={version}"])
        (stage / "wheels").mkdir(exist_ok=True)
        shutil.copy(kept / wheel.name, stage / wheel)


if __name__ == "__main__":
    print(build())
