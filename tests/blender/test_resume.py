# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender that is killed at any stage loses nothing and pays nothing twice: real processes, SIGKILL, `resume`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits
from .conftest import ROOT

SCRIPT = Path(__file__).with_name("blender_process.py")


@pytest.fixture
def saved(project: Path) -> Path:
    """A saved project with one clip of a second."""
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    edits.movie(project, frames=24, at=(8,), size=(320, 180))
    bpy.ops.wm.save_mainfile()
    return project / "project.blend"


class Blenders:
    """Blenders of one user, beside the test's own."""

    def __init__(self, user: Path, standin: StandIn, project: Path) -> None:
        self.zip = str(sorted((ROOT / "dist").glob("mmaudio_vse-*.zip"))[-1])
        self.user, self.project = user, project
        self.variables = {**os.environ, **standin.environment, "BLENDER_USER_RESOURCES": str(user)}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(SCRIPT), self.zip, str(self.project), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.variables, text=True, **pipes)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]

    @contextmanager
    def at_work_until(self, *stage: str) -> Generator["subprocess.Popen[str]"]:
        """A Blender that has told of this stage; killed on the way out."""
        process = self.start("work")
        assert process.stderr is not None
        seen: list[str] = []
        try:
            for line in process.stderr:
                seen.append(line)
                if line.split() == ["stage", *stage]:
                    break
            else:
                pytest.fail("".join(seen[-20:]))
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=20)

    def command(self, *arguments: str) -> dict[str, Any]:
        """What a command says with --json, once it has ended well."""
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err[-3000:]
        return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])


@pytest.fixture
def blenders(tmp_path_factory: pytest.TempPathFactory, standin: StandIn, saved: Path) -> Blenders:
    return Blenders(tmp_path_factory.mktemp("user"), standin, saved)


@dataclass(frozen=True)
class Moment:
    """When a Blender is killed: at a stage, held there by a fault, once the service has had a certain request."""

    stage: tuple[str, ...]
    fault: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: tuple[str, str] | None = None
    uploads: int = 1


MOMENTS = {
    "rendering": Moment(("exporting",)),
    "uploading": Moment(("uploading",), {"at": "put", "do": "stall", "seconds": 30}, ("PUT", "/put/"), uploads=2),
    "ordering, not begun": Moment(("predicting",), {"at": "create", "do": "drop", "times": 9}, ("POST", "/v1/prediction")),
    "ordering, the answer lost": Moment(
        ("predicting",), {"at": "create", "do": "drop", "carried_out": True}, ("POST", "/v1/prediction")
    ),
    "running": Moment(
        ("predicting", "ordered"), {"at": "get", "do": "status", "status": 503, "times": 99}, ("GET", "/v1/prediction/")
    ),
    "downloading": Moment(("downloading", "ordered"), {"at": "output", "do": "stall", "seconds": 30}, ("GET", "/outputs/")),
    "placed, but not saved": Moment(("done", "ordered")),
}


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the render's process in /proc")
def test_the_render_of_a_killed_blender_ends_early(blenders: Blenders) -> None:
    """With the clip that it is at: it would use up the machine for nothing, once for each crash."""
    edits.edit().strips["clip"].frame_final_duration = 4000
    bpy.ops.wm.save_mainfile()

    with blenders.at_work_until("exporting") as blender:
        edits.until(lambda: any(blenders.user.rglob("clip-000.mp4")))
        (render,) = children(blender.pid)

    edits.until(lambda: not is_at_work(render))
    (order,) = blenders.user.rglob("render-*.json")
    clips = [Path(stretch["output"]) for stretch in json.loads(order.read_bytes())["ranges"]]
    assert not clips[-1].is_file(), "it had ended by itself"


def children(process: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def is_at_work(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


runs_seen: list[int] = []
"""How many runs there were for each job whose Blender was killed, and whose sound then came."""


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_killed_blender_is_taken_up_where_it_was(moment: Moment, blenders: Blenders, standin: StandIn) -> None:
    runs, uploads, asked = (len(standin.state()[name]) for name in ("runs", "uploads", "requests"))
    if moment.fault:
        standin.order(**moment.fault)

    with blenders.at_work_until(*moment.stage):
        edits.until(lambda: is_asked(moment, standin.state()["requests"][asked:]))
    standin.clear()
    (job,) = blenders.command("resume", "--save")["jobs"]

    assert (job["state"], job["error"]) == ("done", None)
    state = standin.state()
    assert len(state["runs"]) - runs == 1, "paid for twice, or never"
    assert job["prediction_ids"] == [state["runs"][-1]["id"]]
    assert len(state["uploads"]) - uploads == moment.uploads
    assert not [upload for upload in state["uploads"][uploads:] if upload["live"]]
    bpy.ops.wm.open_mainfile(filepath=str(blenders.project))
    (sound,) = [strip for strip in edits.edit().strips if strip.get("mmaudio")]
    assert Path(bpy.path.abspath(sound.sound.filepath)).is_file()
    # Taken up once: there is nothing left to go on with.
    assert blenders.command("resume", "--save")["jobs"] == []
    runs_seen.append(len(standin.state()["runs"]) - runs)


def test_all_moments_were_seen(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Of those that were asked for: all, as a rule."""
    asked = [item for item in request.session.items if test_a_killed_blender_is_taken_up_where_it_was.__name__ in item.name]
    lost = len(asked) - len(runs_seen)
    told = (
        f"{len(runs_seen)} of {len(asked)} survived, runs per job at most {max(runs_seen, default=0)}, results lost {lost}"
    )
    record_property("SIGKILL at any stage, then resume", told)
    assert (lost, set(runs_seen) - {1}) == (0, set())


def is_asked(moment: Moment, requests: list[dict[str, Any]]) -> bool:
    if moment.asked is None:
        return True
    method, path = moment.asked
    return any(request["method"] == method and request["path"].startswith(path) for request in requests)


def test_what_is_interrupted_by_hand_is_gone_on_with(blenders: Blenders, standin: StandIn) -> None:
    runs = len(standin.state()["runs"])
    process = blenders.start("generate", "--strip", "clip", "--save")
    edits.until(lambda: len(standin.state()["runs"]) > runs)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (job,) = blenders.command("resume", "--save")["jobs"]

    assert process.returncode == 1
    assert (job["state"], len(standin.state()["runs"])) == ("done", runs + 1)


def test_of_two_blenders_at_once_one_goes_on(blenders: Blenders, standin: StandIn) -> None:
    runs_before = len(standin.state()["runs"])
    with blenders.at_work_until("predicting", "ordered"):
        pass

    both = [
        blenders.start("resume", "--output", str(blenders.project.with_name(name)), "--json")
        for name in ("a.blend", "b.blend")
    ]
    said = [process.communicate(timeout=120)[0] for process in both]

    counts = [len(json.loads([line for line in out.splitlines() if line.startswith("{")][-1])["jobs"]) for out in said]
    assert sorted(counts) == [0, 1]
    assert len(standin.state()["runs"]) - runs_before == 1


def test_the_job_of_another_file_waits_and_says_which(blenders: Blenders, standin: StandIn, tmp_path: Path) -> None:
    with blenders.at_work_until("predicting", "ordered"):
        pass
    other = tmp_path / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(other), copy=True)
    mine, blenders.project = blenders.project, other

    process = blenders.start("resume", "--save")
    _, said = process.communicate(timeout=120)

    assert process.returncode == 0
    assert str(mine) in said
    (listed,) = blenders.command("jobs")["jobs"]
    assert (listed["project"], listed["strip"], listed["worked_on"]) == (str(mine), "clip", "by nobody")
    assert listed["state"] == "predicting"
