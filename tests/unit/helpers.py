# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers for unit tests: the service double, a transport that does not wait, jobs and clips."""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np

from addon.failure import Cancelled
from addon.jobs.model.job import Job
from addon.jobs.model.request import Options, Request, Snapshot, Span
from addon.jobs.model.run import RunIndex
from addon.jobs.store.database import Database
from addon.jobs.work.clip import Clip
from addon.jobs.work.connections import Connections
from addon.jobs.work.context import JobContext
from addon.jobs.work.hold import Hold
from addon.jobs.work.model_run import ModelRun
from addon.jobs.work.pipeline import Pipeline, Stop
from addon.jobs.work.run_times import RunTimes
from addon.jobs.work.runner import Runner
from addon.jobs.work.services import Services
from addon.jobs.work.state import JobState
from addon.media.export import RenderOrder
from addon.media.sound import Conformed, RunResult
from addon.service.eachlabs import executions
from addon.service.eachlabs.client import CreatePaths, EachlabsClient
from addon.service.eachlabs.mmaudio import Settings, run_input
from addon.service.eachlabs.responses import Prediction
from addon.service.net.clock import Clock
from addon.service.net.transport import Transport
from addon.service.storage import Published, Storage, check
from addon.service.storage.eachlabs import EachlabsConfig
from tests.standin.client import StandIn

from .clock import InstantClock

RENDER_DOUBLE = Path(__file__).with_name("render_double.py")
RUN_SECONDS = 0.05
FAST = Clock(25)
"""Clock of jobs that are tested: a run of RUN_SECONDS is polled every 0.02 seconds."""


class FreeSlot:
    """Slot without limits, for runs that are created one by one."""

    @contextmanager
    def creating(self) -> Generator[None]:
        yield


class Service(EachlabsClient):
    """Client that also creates runs as `ModelRun` does, without a job that was rendered and uploaded."""

    def __init__(self, key: str, base_url: str, transport: Transport, create_paths: CreatePaths | None = None) -> None:
        super().__init__(key, base_url, transport, create_paths)
        self.transport = transport

    def start_run(
        self,
        fields: Mapping[str, Any],
        superseded_ids: Sequence[str] = (),
        *,
        slot: Any = None,
        clip: Any = None,
        webhook: Mapping[str, str] | None = None,
    ) -> str:
        """Create a run with these fields, see `fields`, and return its id."""
        settings = Settings(fields["prompt"], fields["negative_prompt"], fields["seed"])
        upload: Published = clip or Published("clip", fields["video"], complete=True)
        state = self.state_of(settings, upload, superseded_ids=tuple(superseded_ids))
        call: Any = SimpleNamespace(fields=webhook, expect_run=lambda run: None) if webhook else None
        free: Any = FreeSlot()
        self.run_of(state).create(slot or free, call)
        prediction_id = state.run(RunIndex(0, 0)).prediction_id
        assert prediction_id is not None
        return prediction_id

    def poll(self, prediction_id: str) -> Prediction:
        """Return the state of the run. A run that is not found yet is polled again."""
        return self.run_of(self.state_of(Settings("", "", 0), None, prediction_id=prediction_id)).poll()

    def find_run(self, fields: Mapping[str, Any], since: float, superseded_ids: Sequence[str] = ()) -> str | None:
        return executions.find_run(self, self.transport, fields, since, superseded_ids)

    def state_of(self, settings: Settings, upload: Published | None, **run: Any) -> JobState:
        folder = Path(tempfile.gettempdir())
        job = replace(new_job(folder, settings=settings), clips=(upload,)).with_run(RunIndex(0, 0), **run)
        return JobState(job, lambda job: None, lambda job: None)

    def run_of(self, state: JobState) -> ModelRun:
        connections = Connections(self.transport, self, EachlabsConfig())
        return ModelRun(state, RunIndex(0, 0), connections, Clip(state, 0, Path("no clip")), RunTimes())


class Double(StandIn):
    """Service double that is shared by the tests and reset before each."""

    def reset(self) -> None:
        self.clear_faults()
        self.clear_history()
        # State that would affect the next test: active runs, and the count of create calls a minute.
        self.set(run_seconds=RUN_SECONDS, concurrent=10, runs={}, cancelled=[], peak_concurrent=0, refused=0, _creates=[])
        self.set(minute=60.0)
        self.set(create_form="slash", other_form=404, location="absolute")
        self.set_outbound(tunnels={}, storages=[], retry_delay=0.01)

    def respond(self, at: str, body: object, status: int = 200, **details: Any) -> None:
        """Make the double send this response instead of its own."""
        self.inject(at, "status", status=status, body=body if isinstance(body, str) else json.dumps(body), **details)


def _ignore(*_: object) -> None:
    """Ignore a callback."""


no_callbacks = (_ignore, _ignore)
"""Callbacks of `Storage.publish` that do nothing."""


class InstantTransport(Transport):
    """Transport whose waits end at once. They are recorded."""

    def __init__(self, cancel: threading.Event | None = None, *, loopback_allowed: bool = True) -> None:
        clock = InstantClock()
        super().__init__(cancel or threading.Event(), loopback_allowed=loopback_allowed, clock=clock)
        self.waited = clock.waited


def check_storage(storage: Storage, transport: Transport) -> str:
    """Test a storage, with the same connection for the cleanup."""
    return check.check_storage(storage, transport, lambda: nullcontext(storage))


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until the condition is true. Fail after `seconds`."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        pause.wait(0.01)


def drain_until(runner: Runner, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Drain the workers' messages, as the main thread does, until the condition is true."""

    def drained() -> bool:
        runner.drain()
        return condition()

    wait_until(drained, seconds)


def cancel_all(runner: Runner) -> None:
    for job in runner.jobs:
        runner.cancel(job.id)


def fields(video: str, seed: int = 1) -> dict[str, str | int | float]:
    return run_input(video, Fraction(32, 25), Settings("rain on leaves", "music", seed))


def wait_for_success(service: Service, run: str) -> Prediction:
    """Poll the run until it has ended. Fail unless it succeeded."""
    seen: list[Prediction] = []

    def ended() -> bool:
        seen.append(service.poll(run))
        return seen[-1].status in ("success", "error")

    wait_until(ended)
    assert seen[-1].status == "success"
    return seen[-1]


def write_clip(target: Path, *, frames: int, fps: Fraction = Fraction(24), white: int = 6) -> Path:
    """Write an mp4 of 64 by 64 pixels, with one white frame."""
    with av.open(str(target), "w") as file:
        stream = file.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(frames):
            picture = np.full((64, 64, 3), 250 if number == white else 60, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return target


def new_job(
    folder: Path,
    strip: str = "Shot 1",
    frames: int = 24,
    takes: int = 1,
    settings: Settings = Settings("rain on leaves", "music", seed=7),  # noqa: B008  # it is immutable
) -> Job:
    snapshot = Snapshot(folder / "edit.blend", "Scene")
    span = Span(1, 1 + frames)
    # Without handles, the file of a sound is as long as its strip.
    options = Options(takes=takes, handle_seconds=0.0)
    return Job.new(
        Request("Scene", strip, strip, span, 1.0, Fraction(24), settings, snapshot, folder / "mmaudio", options=options)
    )


def context_for(double: Double, folder: Path, how: str = "render", clock: Clock = FAST) -> JobContext:
    """Return a context whose clips are rendered by render_double.py in the mode `how`."""
    render = (sys.executable, str(RENDER_DOUBLE), how)
    return JobContext(double.key, double.base_url, render, folder / "work", clock=clock)


def render_order(output: Path, *, strip: str = "Shot 1", frames: int = 4, export: str = "1") -> RenderOrder:
    return RenderOrder(
        blend="edit.blend",
        scene="Scene",
        whole_project=False,
        strip=strip,
        strip_first=1,
        strip_frames=4,
        lead=0,
        tail=0,
        first=0,
        frames=frames,
        output=str(output),
        short_side_max=384,
        long_side_max=1536,
        whole_edit=False,
        scenes_as_they_are=False,
        export=export,
    )


def concatenate(
    results: Sequence[RunResult],
    _length: object,
    target: Path,
    _check_cancel: object,
    *,
    offset: Fraction,
    lufs: float | None,
) -> Conformed:
    """Concatenate results, in place of `conform`, which needs `aud`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(result.file.read_bytes() for result in results))
    return Conformed(44_100, 0.0)


def services_in(folder: Path) -> Services:
    """Return services with their journal in `folder`, to be closed."""
    return Services(Database.open(folder / "jobs.sqlite3"), Hold(waits=False))


def check_of(cancel: threading.Event) -> Callable[[], None]:
    """Return a function that raises Cancelled once the event is set."""

    def check() -> None:
        if cancel.is_set():
            raise Cancelled

    return check


def run_job(job: Job, job_context: JobContext, *, cancel_when: Callable[[Job], bool] = lambda job: False) -> list[Job]:
    """Run one job in this thread, cancel it when `cancel_when` is true, and return all its versions."""
    stop = Stop()
    versions: list[Job] = []

    def publish(version: Job) -> None:
        versions.append(version)
        if cancel_when(version):
            stop.set()

    services = services_in(job_context.work.parent)
    try:
        Pipeline(JobState(job, publish, services.journal.save), job_context, stop, services).run()
    finally:
        services.close()
    return versions
