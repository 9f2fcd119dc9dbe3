# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of one job, in order, on threads of its own. No bpy.

Each step looks first at what is there already, so that a job continues where it was.
"""

import logging
import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial

from ...failure import Cancelled, Failure, as_failure
from ...media import folder
from ...media.sound import NoSound, RunResult, conform
from ...service.eachlabs.client import check_base_url
from ...service.eachlabs.webhook import Call
from ...service.storage.given_url import LENGTH_NOTE, GivenUrlConfig
from ..limits import SLOTS_MAX
from ..model.file_names import file_name
from ..model.job import Job
from ..model.run import JobError, RunIndex, Stage
from .clip import Clip, delete_uploads
from .connections import Connections
from .context import JobContext
from .errors import RunFailed
from .hold import Held
from .model_run import ModelRun
from .services import Services
from .state import JobState
from .worker_pool import WorkerPool

log = logging.getLogger(__name__)

# What is less is inaudible.
_MISSING_NOTED_SECONDS = 0.01


class Stop(threading.Event):
    """Asks a job's threads to end, since the artist cancelled it or Blender is closing."""

    leaving = False
    """Blender is closing: nothing is cancelled at the service, and whoever opens the file again continues."""
    retrying = False
    """A retry waits until the job's thread has cleaned up."""


class Pipeline:
    """Takes one job from its request to files that are ready to be placed."""

    def __init__(self, state: JobState, job_context: JobContext, stop: Stop, services: Services) -> None:
        job = state.job
        self.state = state
        self._job_context = job_context
        self._stop = stop
        self._services = services
        self._folder = job_context.folder(job.id)
        clip_url = job.request.options.clip_url
        self._connect = partial(job_context.connect, GivenUrlConfig(clip_url) if clip_url else job_context.storage)
        self._clips = [Clip(state, window, self._folder / f"clip-{window:03}.mp4") for window in range(len(job.clips))]
        self._downloaded_again: set[RunIndex] = set()
        self._webhook_note = ""

    @property
    def job(self) -> Job:
        return self.state.job

    def run(self) -> None:
        """Take the job to PLACING, FAILED or CANCELLED, then clean up. Raises nothing."""
        self.state.begin(self._stop)
        held = False
        try:
            with self._services.hold.noting(f"job {self.job.id}"):
                check_base_url(self._job_context.base_url)
                self._folder.mkdir(parents=True, exist_ok=True)
                self._generate([index for index in self.job.run_indexes if self._is_missing(index)])
                while unreadable := self._join_takes():
                    self._generate(unreadable)
            self._check_cancel()
            self.state.end(Stage.PLACING if self.job.to_place else Stage.FAILED, self.job.first_error)
        except Held:
            held = True
            self.state.end(Stage.QUEUED)
        except Cancelled:
            if not self._stop.leaving:
                self.state.end(Stage.CANCELLED)
        except Exception as fault:
            failure = as_failure(fault, f"job {self.job.id}")
            self.state.end(Stage.FAILED, JobError.of(failure, self.job.request.strip))
        finally:
            if not held:
                self.clean_up()

    def _generate(self, missing: Sequence[RunIndex]) -> None:
        """Render and upload what these runs still need, and run them."""
        windows = {window: [index for index in missing if index.window == window] for window, _ in sorted(missing)}
        unrendered = [
            window for window, indexes in windows.items() if self._need_clip(indexes) and self._clips[window].needs_render
        ]
        for index in missing:
            self.state.change_run(index, stage=Stage.QUEUED, result=None, error=None)
        size = min(SLOTS_MAX, len(missing))
        with WorkerPool(size, f"mmaudio {self.job.id[:8]}", partial(self._connect, self._stop)) as pool:

            def start(window: int) -> None:
                pool.put(partial(self._generate_window, pool, windows[window]))

            for window in windows:
                if window not in unrendered:
                    start(window)
            if unrendered:
                waiting = [index for index in missing if index.window in unrendered]
                with self._keeping_failures(waiting):
                    for window in self._rendered(unrendered, waiting):
                        start(window)
        self._check_cancel()
        if not all(self.job.run(index).stage.ended for index in missing):
            # What was refused to one run of the job ends the job. Otherwise it was another job's failure, or a pause.
            self.state.check_not_stopped()
            raise Held

    @contextmanager
    def _keeping_failures(self, indexes: Sequence[RunIndex]) -> Generator[None]:
        """Record a failure with the runs that it concerns, and hold the other jobs if each would meet it."""
        with self.state.keeping_failures(indexes), self._services.hold.noting(f"job {self.job.id}"):
            yield

    def _check_may_order(self) -> None:
        self._check_cancel()
        self._services.hold.check()

    def _rendered(self, windows: Sequence[int], waiting: Sequence[RunIndex]) -> Iterator[int]:
        """Render clips, and yield the window of each as soon as it is there.

        The results folder and the storage's settings are checked before.
        """
        self._check_may_order()
        folder.check_results(self.job.request.folder, self.job.request.sound_seconds)
        with self._connect(self._stop) as connections:
            needs_export = connections.storage.needs_export
        if not needs_export:
            yield from windows
            return
        export = uuid.uuid4().hex[:8]
        orders = [self._clips[window].render_order(export) for window in windows]
        total = sum(order.frames for order in orders)
        exporter, job_context = self._services.exporter, self._job_context
        exporting = exporter.export(orders, job_context.blender, job_context.render_processes, self._check_may_order)
        with closing(exporting):
            for number, exported in enumerate(exporting):
                if number == 0:
                    for index in waiting:
                        self.state.change_run(index, stage=Stage.EXPORTING)
                self.state.report(exported.frames, total, "frames")
                if exported.notes:
                    self.state.change(notes=tuple(dict.fromkeys((*self.job.notes, *exported.notes))))
                if exported.finished is not None:
                    yield windows[exported.finished]

    def _generate_window(self, pool: WorkerPool, indexes: Sequence[RunIndex], connections: Connections) -> None:
        """Upload a window's clip if one of these runs needs it, and put the runs into the pool."""
        with self._keeping_failures(indexes):
            if self._need_clip(indexes):
                self._check_may_order()
                self._clips[indexes[0].window].upload(connections, indexes)
            for index in indexes:
                pool.put(partial(self._generate_run, index))

    def _generate_run(self, index: RunIndex, connections: Connections) -> None:
        """Run the model once. A run that fails among several is created once more: without it, the others would be useless.

        But not one that existed before: a retry that names no price creates nothing.
        """
        existed = self.job.run(index).prediction_id is not None
        with self._keeping_failures([index]):
            try:
                self._run_model(index, connections)
            except RunFailed:
                if existed or len(self.job.runs) == 1:
                    raise
                self._run_model(index, connections)

    def _run_model(self, index: RunIndex, connections: Connections) -> None:
        run = self._model_run(index, connections)
        state = self.job.run(index)
        in_flight = state.prediction_id is not None or state.requested_at is not None
        limits = self._services.limits(connections.account, self._job_context.clock)

        def wait(seconds: float) -> None:
            self._check_may_order()
            connections.transport.wait(seconds)

        with limits.slot(wait, in_flight=in_flight) as slot, self._expected_call(index) as call:
            run.create(slot, call, self._check_may_order)
            output_url = run.wait(call)
        run.download(output_url, self._folder / f"result-{index.window:03}-{index.take + 1}.mp4")

    def _model_run(self, index: RunIndex, connections: Connections) -> ModelRun:
        return ModelRun(self.state, index, connections, self._clips[index.window], self._services.run_times)

    @contextmanager
    def _expected_call(self, index: RunIndex) -> Generator[Call | None]:
        """The webhook call for a run that is still to be created; None if none will come, so that the run is polled."""
        if self._job_context.webhook is None or self.job.run(index).requested_at is not None:
            yield None
            return
        try:
            call = self._job_context.webhook.expect()
        except Failure as failure:
            log.warning("%s", failure.message)
            self._webhook_note = f"{failure.message} The result was fetched by polling instead. {failure.hint}"
            yield None
            return
        with call or nullcontext():
            yield call

    def _join_takes(self) -> list[RunIndex]:
        """Join the results of each complete take to one file. Return the runs whose results are to be downloaded again."""
        request = self.job.request
        unreadable: list[RunIndex] = []
        for number, take in enumerate(self.job.takes):
            results = [run.result for run in take.runs if run.result is not None]
            if take.file is not None or len(results) < len(take.runs):
                continue
            windows = zip(results, request.windows, strict=True)
            run_results = [RunResult(result, window.first / request.fps) for result, window in windows]
            target = request.folder / file_name(request.strip, self.job.id, number + 1)
            try:
                made = conform(
                    run_results,
                    request.sound_seconds,
                    target,
                    self._check_cancel,
                    offset=request.offset,
                    lufs=request.options.lufs,
                )
            except NoSound as failure:
                index = RunIndex(failure.index, number)
                if index not in self._downloaded_again:
                    # The download may have damaged it.
                    self._downloaded_again.add(index)
                    unreadable.append(index)
                    continue
                self.state.give_up_run(index)
                error = JobError.of(failure, request.strip, self.job.run_name(index))
                self.state.change_run(index, stage=Stage.FAILED, error=error)
                continue
            hidden_seconds = (request.sound_frames - request.lead - request.span.frames) / request.fps
            note = self._note(made.missing_seconds - float(hidden_seconds))
            self.state.change_take(number, file=target, note=note, gain_db=made.gain_db)
        return unreadable

    def _note(self, missing: float) -> str:
        """Return the note on a take whose result is `missing` seconds at its end."""
        short = f"The result is {missing:.2f} s shorter than the strip; its end is faded out."
        length = LENGTH_NOTE if self.job.request.options.clip_url else ""
        notes = (*self.job.notes, short if missing >= _MISSING_NOTED_SECONDS else "", length, self._webhook_note)
        return " ".join(filter(None, notes))

    def clean_up(self, *, forgotten: bool = False) -> None:
        """Cancel the runs of a cancelled job, delete uploads, and remove files that no retry needs.

        The sound is being placed meanwhile, so that a slow storage doesn't delay it. An upload that a run may still read
        stays, unless the job is `forgotten`.
        """
        if self._stop.leaving:
            return
        if self.job.uploads:
            with self._connect(threading.Event()) as connections:
                if self._stop.is_set() or self.job.stage is Stage.CANCELLED:
                    for index in self.job.run_indexes:
                        if self.job.run(index).stage is Stage.PREDICTING:
                            self._model_run(index, connections).cancel()
                deletable = self.job.deletable_before_retry if self._stop.retrying else self.job.deletable_uploads
                delete_uploads(self.state, connections, self.job.uploads if forgotten else deletable)
        complete = self.job.stage in (Stage.PLACING, Stage.DONE) and self.job.error is None
        # A retry that waits uploads the clip from there: the edit that it was rendered from may be gone.
        if complete or not (self.job.paid or self._stop.retrying):
            self._job_context.clear(self.job.id)

    def _need_clip(self, indexes: Sequence[RunIndex]) -> bool:
        return any(self.job.needs_clip(index) for index in indexes)

    def _is_missing(self, index: RunIndex) -> bool:
        result = self.job.run(index).result
        return self.job.takes[index.take].file is None and (result is None or not result.is_file())

    def _check_cancel(self) -> None:
        if self._stop.is_set():
            raise Cancelled
