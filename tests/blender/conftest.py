# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: the built extension, installed into the bpy wheel; the service's test double; an empty project."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

# Set Blender's user folder for these tests, deleted afterwards, before bpy is imported.
_USER = tempfile.TemporaryDirectory(prefix="mmaudio-user-")
os.environ["BLENDER_USER_RESOURCES"] = _USER.name
# The wheel contains no compiled scripts, with which a background Blender starts in half the time: let Python write them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(_USER.name) / "compiled")

import bpy  # noqa: E402

# The storage servers of the unit tests import the add-on's settings classes from its source.
import tests.addon_package  # noqa: E402, F401  # pyright: ignore[reportUnusedImport]
from scripts import in_blender, toolchain  # noqa: E402
from tests.standin.client import StandIn  # noqa: E402

MODULE = in_blender.MODULE
RUN_SECONDS = 0.1


class Addon(SimpleNamespace):
    @property
    def preferences(self) -> Any:
        """The current preferences; disabling the add-on removes them, and enabling it creates new ones."""
        return bpy.context.preferences.addons[MODULE].preferences


@pytest.fixture(scope="session")
def addon() -> Any:
    """The modules of the installed extension."""
    assert toolchain.built_extension().is_file(), "build the extension first: python3 scripts/build.py"
    in_blender.install(toolchain.built_extension())
    rooms = (
        "session",
        "generation",
        "plan",
        "costs",
        "retrying",
        "resuming",
        "config",
        "command",
        "failure",
        "jobs.model.job",
        "jobs.model.run",
        "jobs.model.request",
        "media.export",
        "media.sound",
        "service.eachlabs.mmaudio",
        "ui.order",
        "ui.prompts",
        "ui.job_list",
        "ui.job_text",
        "ui.job_panel",
        "ui.failures",
        "ui.progress",
        "ui.report",
        "ui.take_operators",
        "preferences.clip_url",
        "preferences.page",
        "ui.settings",
        "preferences.storage_s3",
        "preferences.storage_test",
        "preferences.storages",
    )
    names = (
        *rooms,
        *(f"timeline.{name}" for name in ("compat", "fades", "place", "scope", "shots", "snapshot", "strips", "takes")),
    )
    modules = {name.rsplit(".", 1)[-1]: in_blender.part(name) for name in names}
    in_blender.shorten_waits()
    return Addon(**modules)


@pytest.fixture(scope="session")
def _standin() -> Iterator[StandIn]:
    with StandIn(run_seconds=RUN_SECONDS) as double:
        yield double


@pytest.fixture
def standin(_standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The double without faults, which the add-on uses; afterwards, assert that it received no credentials it must not."""
    _standin.clear_faults()
    _standin.set(create_form="slash", other_form=404, location="absolute", run_seconds=RUN_SECONDS)
    _standin.set_outbound(tunnels={}, storages=[], retry_delay=0.01)
    for name, value in _standin.environment.items():
        monkeypatch.setenv(name, value)
    yield _standin
    assert _standin.state()["violations"] == []


@pytest.fixture
def project(addon: Any, tmp_path: Path) -> Iterator[Path]:
    """Folder of a saved, empty project at 24 frames per second, 1280 by 720 pixels."""
    in_blender.new_edit()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project.blend"))
    yield tmp_path
    for job in addon.session.current.runner.jobs:
        addon.session.current.runner.cancel(job.id)
        addon.session.current.runner.forget(job.id)
