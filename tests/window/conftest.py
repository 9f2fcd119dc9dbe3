# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender with a window, and the built extension installed by Blender's own command."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The storage servers of the unit tests import the add-on's settings classes from its source.
import tests.addon_package  # noqa: F401  # pyright: ignore[reportUnusedImport]
from scripts import toolchain
from tests.standin.client import StandIn

_SCREEN = ("1920", "1080")
"""Pixels of the window."""
SCENARIO_SECONDS = 300
"""Time limit of a scenario, after which Blender is killed."""


class Window:
    """Blender with its own user folder, on the X display `display`."""

    def __init__(self, blender: Path, user: Path, display: str) -> None:
        self._blender = blender
        self._user = user
        self._display = display

    def command(self, *arguments: object, variables: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run Blender without a window and wait until it exits."""
        process = self.start(*arguments, variables=variables)
        out, _ = process.communicate(timeout=SCENARIO_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out)

    def start(self, *arguments: object, variables: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start Blender without a window, in its own process group, as a shell does."""
        return subprocess.Popen(
            [str(self._blender), *map(str, arguments)],
            cwd=toolchain.ROOT,
            env=self._environment(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        name: str,
        folder: Path,
        variables: dict[str, str],
        *,
        script: str = "scenarios.py",
        on_told: Callable[[str], None] = lambda what: None,
        **details: Any,
    ) -> dict[str, Any]:
        """Run the scenario `name` of `script`; return its results. `details` are added to its parameters.

        `on_told` is called with what the scenario tells, see `Session.tell`.
        """
        here = Path(__file__).parent
        parameters = {
            "scenario": name,
            "script": str(here / script),
            "folder": str(folder),
            "results": str(folder / "results.json"),
            "clip": str(toolchain.footage()),
            **details,
        }
        (folder / "parameters.json").write_text(json.dumps(parameters))
        geometry = ["--no-window-focus", "--window-geometry", "0", "0", *_SCREEN, "--enable-event-simulate"]
        with (folder / "blender.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self._blender), *geometry, "--python", str(here / "session.py"), "--", str(folder / "parameters.json")],
                cwd=toolchain.ROOT,
                env=self._environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._serve(process, folder, on_told)
        result_file = folder / "results.json"
        assert result_file.is_file(), (folder / "blender.log").read_text()[-3000:]
        seen = json.loads(result_file.read_text())
        assert "exception" not in seen, seen["exception"]
        return seen

    def _serve(self, process: "subprocess.Popen[bytes]", folder: Path, on_told: Callable[[str], None]) -> None:
        """Do what the scenario requests, until Blender exits; kill it when its time is up."""
        end = time.monotonic() + SCENARIO_SECONDS
        while process.poll() is None:
            for request in folder.glob("*.screenshot"):
                self._take_screenshot(request.with_suffix(".png"))
                request.unlink()
            for request in folder.glob("*.told"):
                on_told(request.stem)
                request.unlink()
            if time.monotonic() > end:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)

    def _take_screenshot(self, target: Path) -> None:
        # ImageMagick's `import`.
        if program := shutil.which("import"):
            subprocess.run([program, "-display", self._display, "-window", "root", str(target)], check=True)

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "BLENDER_USER_RESOURCES": str(self._user), "DISPLAY": self._display, **variables}


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The X display in `$DISPLAY`, or a virtual one."""
    if configured := os.environ.get("DISPLAY"):
        yield configured
        return
    if not shutil.which("Xvfb"):
        pytest.skip("no display: DISPLAY is not set and Xvfb is not installed")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "x".join((*_SCREEN, "24")), "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as number:
            yield f":{number.readline().strip()}"
        server.terminate()


@pytest.fixture(scope="session")
def blender() -> Path:
    found = toolchain.windowed_blender()
    if found is None:
        pytest.skip("no Blender with a window: set BLENDER, or put blender on the PATH")
    # The command may install Blender and a virtual display when it is first run.
    subprocess.run([str(found), "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=600)
    return found


@pytest.fixture(scope="session")
def window(blender: Path, display: str, tmp_path_factory: pytest.TempPathFactory) -> Window:
    extension = toolchain.built_extension()
    assert extension.is_file(), "build the extension first: python3 scripts/build.py"
    window = Window(blender, tmp_path_factory.mktemp("blender-user"), display)
    installation = window.command("--command", "extension", "install-file", "-r", "user_default", "--enable", extension)
    assert installation.returncode == 0, installation.stdout
    return window


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn(run_seconds=2.0) as double:
        yield double
        assert double.state()["violations"] == []
