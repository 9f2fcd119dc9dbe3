# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender with a window, the built zip installed into it by Blender's own command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The storages that the unit tests start know the add-on's settings by its source.
import tests.bare  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tests.standin.client import StandIn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import workshop  # noqa: E402

PLAY_SECONDS = 180


class Window:
    """Plays scripts in a Blender of its own user folder, on the screen `display`."""

    def __init__(self, blender: Path, user: Path, display: str) -> None:
        self._blender = blender
        self._user = user
        self._display = display

    def command(self, *arguments: object, variables: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Runs Blender without a window, to its end."""
        process = self.start(*arguments, variables=variables)
        out, _ = process.communicate(timeout=PLAY_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out)

    def start(self, *arguments: object, variables: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Starts Blender without a window, in a group of its own, as a shell does."""
        return subprocess.Popen(
            [str(self._blender), *map(str, arguments)],
            cwd=ROOT,
            env=self._environment(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self, name: str, folder: Path, variables: dict[str, str], **details: Any) -> dict[str, Any]:
        """Plays `name` of plays.py; returns what it saw."""
        here = Path(__file__).parent
        order = {
            "play": name,
            "script": str(here / "plays.py"),
            "folder": str(folder),
            "seen": str(folder / "seen.json"),
            "clip": str(workshop.footage()),
            **details,
        }
        (folder / "order.json").write_text(json.dumps(order))
        geometry = ["--no-window-focus", "--window-geometry", "0", "0", "1600", "900", "--enable-event-simulate"]
        with (folder / "blender.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self._blender), *geometry, "--python", str(here / "session.py"), "--", str(folder / "order.json")],
                cwd=ROOT,
                env=self._environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._attend(process, folder)
        seen_file = folder / "seen.json"
        assert seen_file.is_file(), (folder / "blender.log").read_text()[-3000:]
        seen = json.loads(seen_file.read_text())
        assert "fault" not in seen, seen["fault"]
        return seen

    def _attend(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        """Takes the pictures that the play wishes for, until its Blender ends."""
        end = time.monotonic() + PLAY_SECONDS
        while process.poll() is None:
            for wish in folder.glob("*.wish"):
                self._photograph(wish.with_suffix(".png"))
                wish.unlink()
            if time.monotonic() > end:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)

    def _photograph(self, target: Path) -> None:
        if camera := shutil.which("import"):
            subprocess.run([camera, "-display", self._display, "-window", "root", str(target)], check=True)

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "BLENDER_USER_RESOURCES": str(self._user), "DISPLAY": self._display, **variables}


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The screen at hand, or a virtual one."""
    if screen := os.environ.get("DISPLAY"):
        yield screen
        return
    if not shutil.which("Xvfb"):
        pytest.skip("no screen: neither DISPLAY is set nor Xvfb installed")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x900x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as answer:
            yield f":{answer.readline().strip()}"
        server.terminate()


@pytest.fixture(scope="session")
def blender() -> Path:
    found = workshop.windowed_blender()
    if found is None:
        pytest.skip("no Blender with a window: set BLENDER, or have blender on the PATH")
    # The first call may install it, and a virtual screen.
    subprocess.run([str(found), "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=600)
    return found


@pytest.fixture(scope="session")
def window(blender: Path, display: str, tmp_path_factory: pytest.TempPathFactory) -> Window:
    zips = sorted((ROOT / "dist").glob("mmaudio_vse-*.zip"))
    assert zips, "build the extension first: python3 scripts/build.py"
    made = Window(blender, tmp_path_factory.mktemp("blender-user"), display)
    said = made.command("--command", "extension", "install-file", "-r", "user_default", "--enable", zips[-1])
    assert said.returncode == 0, said.stdout
    return made


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn(run_seconds=2.0) as double:
        yield double
        assert double.state()["violations"] == []
