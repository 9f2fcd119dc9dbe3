# SPDX-License-Identifier: GPL-3.0-or-later
"""The built zip, installed into the bpy wheel's own Blender, beside the service's double."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# Before bpy is imported: Blender's user folder for these tests, and gone with them.
_USER = tempfile.TemporaryDirectory(prefix="mmaudio-user-")
os.environ["BLENDER_USER_RESOURCES"] = _USER.name
# A background Blender starts in half the time where its scripts are compiled, and the wheel comes without.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(_USER.name) / "compiled")

import bpy  # noqa: E402

# The storages that the unit tests start know the add-on's settings by its source.
import tests.bare  # noqa: E402, F401  # pyright: ignore[reportUnusedImport]
from tests.standin.client import StandIn  # noqa: E402

ROOT = Path(__file__).parents[2]
MODULE = "bl_ext.user_default.mmaudio_vse"


class Addon(SimpleNamespace):
    @property
    def preferences(self) -> Any:
        """As they are now: disabling the add-on takes them away, and enabling it makes new ones."""
        return bpy.context.preferences.addons[MODULE].preferences


@pytest.fixture(scope="session")
def addon() -> Any:
    """The modules of the installed extension."""
    zips = sorted((ROOT / "dist").glob("mmaudio_vse-*.zip"))
    assert zips, "build the extension first: python3 scripts/build.py"
    bpy.ops.extensions.package_install_files(filepath=str(zips[-1]), repo="user_default", enable_on_install=True)
    bpy.context.preferences.system.use_online_access = True
    rooms = (
        "generation",
        "resuming",
        "config",
        "command",
        "failure",
        "jobs.model.job",
        "jobs.model.request",
        "media.sound",
        "service.eachlabs.mmaudio",
        "ui.operators",
        "preferences.clip_url",
        "preferences.page",
        "ui.settings",
        "preferences.storage_fields",
        "preferences.storage_test",
    )
    names = (*rooms, *(f"timeline.{name}" for name in ("compat", "place", "shots", "snapshot", "strips")))
    modules = {name.rsplit(".", 1)[-1]: sys.modules[f"{MODULE}.{name}"] for name in names}
    return Addon(**modules)


@pytest.fixture(scope="session")
def _standin() -> Iterator[StandIn]:
    with StandIn(run_seconds=0.4) as double:
        yield double


@pytest.fixture
def standin(_standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The double, well-behaved at first; the product is pointed at it. No credentials may have gone astray after."""
    _standin.clear()
    _standin.set(create_form="slash", other_form=404, location="absolute")
    _standin.outside(tunnels={}, storages=[], pause=0.01)
    for name, value in _standin.environment.items():
        monkeypatch.setenv(name, value)
    yield _standin
    assert _standin.state()["violations"] == []


@pytest.fixture
def project(addon: Any, tmp_path: Path) -> Iterator[Path]:
    """A saved, empty project of 24 frames a second, 1280 by 720; its folder."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.render.resolution_x, scene.render.resolution_y = 1280, 720
    scene.sequence_editor_create()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    yield tmp_path
    for job in addon.generation.runner.jobs:
        addon.generation.runner.cancel(job.id)
        addon.generation.runner.forget(job.id)
