# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of `resume` after Blender was killed at any stage, in real processes: no sound is lost or paid for twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import pytest

from scripts import toolchain
from tests.standin.client import StandIn

from . import edits


@pytest.fixture
def saved(project: Path) -> Path:
    """Saved project with one clip of one second."""
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    edits.movie(project, frames=24, at=(8,), size=(320, 180))
    bpy.ops.wm.save_mainfile()
    return project / "project.blend"


class Blenders:
    """Blender processes with one user folder."""

    def __init__(self, user: Path, standin: StandIn, project: Path) -> None:
        self.user, self.project = user, project
        self.variables = {**os.environ, **standin.environment, "BLENDER_USER_RESOURCES": str(user)}

    def process(self, *arguments: str) -> Sequence[str]:
        """Return the command line of a Blender."""
        module = ("-m", "tests.blender.blender_process")
        return (sys.executable, *module, str(toolchain.built_extension()), str(self.project), *arguments)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.process(*arguments), cwd=toolchain.ROOT, env=self.variables, text=True, **pipes)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]

    @contextmanager
    def working_until(self, *stage: str) -> Generator["subprocess.Popen[str]"]:
        """Start a Blender, wait until it has printed this stage, and kill it at the end of the block."""
        process = self.start("work")
        assert process.stderr is not None
        lines: list[str] = []
        try:
            for line in process.stderr:
                lines.append(line)
                if line.split() == ["stage", *stage]:
                    break
            else:
                pytest.fail("".join(lines[-20:]))
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=20)

    def command(self, *arguments: str) -> dict[str, Any]:
        """Run a command that succeeds, and return what it prints with --json."""
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err[-3000:]
        return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])


@pytest.fixture
def blenders(tmp_path_factory: pytest.TempPathFactory, standin: StandIn, saved: Path) -> Blenders:
    return Blenders(tmp_path_factory.mktemp("user"), standin, saved)


@dataclass(frozen=True)
class Moment:
    """Moment at which a Blender is killed."""

    stage: tuple[str, ...]
    fault: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fault that keeps the job at the stage."""
    request: tuple[str, str] | None = None
    """Method and start of the path of a request that the service must have received."""
    uploads: int = 1
    """Expected number of uploads in total."""


MOMENTS = {
    "rendering": Moment(("exporting",)),
    "uploading": Moment(("uploading",), {"at": "put", "do": "stall", "seconds": 30}, ("PUT", "/put/"), uploads=2),
    "creating, request lost": Moment(
        ("predicting",), {"at": "create", "do": "drop", "times": 9}, ("POST", "/v1/prediction")
    ),
    "creating, response lost": Moment(
        ("predicting",), {"at": "create", "do": "drop", "carried_out": True}, ("POST", "/v1/prediction")
    ),
    "running": Moment(
        ("predicting", "created"), {"at": "get", "do": "status", "status": 503, "times": 99}, ("GET", "/v1/prediction/")
    ),
    "downloading": Moment(("downloading", "created"), {"at": "output", "do": "stall", "seconds": 30}, ("GET", "/outputs/")),
    "placed, but not saved": Moment(("done", "created")),
}


@pytest.mark.version_dependent
@pytest.mark.skipif(sys.platform != "linux", reason="finds the render process in /proc")
def test_the_render_of_a_killed_blender_ends_early(blenders: Blenders) -> None:
    """Otherwise each crash would leave a process behind that uses the CPU for nothing."""
    edits.set_end(edits.edit().strips["clip"], 4010)
    bpy.ops.wm.save_mainfile()

    with blenders.working_until("exporting") as blender:
        edits.until(lambda: any(blenders.user.rglob("clip-000.mp4")))
        (render,) = children(blender.pid)

    edits.until(lambda: not is_running(render))
    # A clip shows eight seconds at most.
    assert len(list(blenders.user.rglob("clip-*.mp4"))) < 4000 / 24 / 8, "the render was already complete"


def children(process: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


runs_per_job: list[int] = []
"""Number of runs of each job that was resumed successfully after its Blender was killed."""


@pytest.mark.parametrize(
    "moment",
    [
        # The other moments are those of the network.
        pytest.param(
            moment, id=name, marks=pytest.mark.version_dependent if name in ("rendering", "placed, but not saved") else ()
        )
        for name, moment in MOMENTS.items()
    ],
)
def test_a_job_resumes_after_its_blender_was_killed(moment: Moment, blenders: Blenders, standin: StandIn) -> None:
    runs, uploads, requests = (len(standin.state()[name]) for name in ("runs", "uploads", "requests"))
    if moment.fault:
        standin.inject(**moment.fault)

    with blenders.working_until(*moment.stage):
        edits.until(lambda: is_reached(moment, standin.state()["requests"][requests:]))
    standin.clear_faults()
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
    # After that, there is no job left to resume.
    assert blenders.command("resume", "--save")["jobs"] == []
    runs_per_job.append(len(standin.state()["runs"]) - runs)


@pytest.mark.version_dependent
def test_no_result_was_lost(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Summarize the moments that were selected; without a selection, all of them."""
    name = test_a_job_resumes_after_its_blender_was_killed.__name__
    selected = [item for item in request.session.items if name in item.name]
    lost = len(selected) - len(runs_per_job)
    most = max(runs_per_job, default=0)
    summary = f"{len(runs_per_job)} of {len(selected)} survived, runs per job at most {most}, results lost {lost}"
    record_property("SIGKILL at any stage, then resume", summary)
    assert (lost, set(runs_per_job) - {1}) == (0, set())


def is_reached(moment: Moment, requests: list[dict[str, Any]]) -> bool:
    """Return whether the service has received the request of the moment."""
    if moment.request is None:
        return True
    method, path = moment.request
    return any(request["method"] == method and request["path"].startswith(path) for request in requests)


@pytest.mark.version_dependent
def test_an_interrupted_command_can_be_resumed(blenders: Blenders, standin: StandIn) -> None:
    runs = len(standin.state()["runs"])
    process = blenders.start("generate", "--strip", "clip", "--save")
    edits.until(lambda: len(standin.state()["runs"]) > runs)

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (job,) = blenders.command("resume", "--save")["jobs"]

    assert process.returncode == 1
    assert (job["state"], len(standin.state()["runs"])) == ("done", runs + 1)


def test_only_one_of_two_blenders_resumes_a_job(blenders: Blenders, standin: StandIn) -> None:
    runs_before = len(standin.state()["runs"])
    with blenders.working_until("predicting", "created"):
        pass

    both = [
        blenders.start("resume", "--output", str(blenders.project.with_name(name)), "--json")
        for name in ("a.blend", "b.blend")
    ]
    outputs = [process.communicate(timeout=120)[0] for process in both]

    counts = [len(json.loads([line for line in out.splitlines() if line.startswith("{")][-1])["jobs"]) for out in outputs]
    assert sorted(counts) == [0, 1]
    assert len(standin.state()["runs"]) - runs_before == 1


def test_the_job_of_another_file_is_not_resumed_but_its_file_is_named(
    blenders: Blenders, standin: StandIn, tmp_path: Path
) -> None:
    with blenders.working_until("predicting", "created"):
        pass
    other = tmp_path / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(other), copy=True)
    original, blenders.project = blenders.project, other

    process = blenders.start("resume", "--save")
    _, err = process.communicate(timeout=120)

    assert process.returncode == 0
    assert str(original) in err
    (listed,) = blenders.command("jobs")["jobs"]
    assert (listed["project"], listed["strip"], listed["worked_on"]) == (str(original), "clip", "by nobody")
    assert listed["state"] == "predicting"
