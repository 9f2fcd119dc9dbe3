# SPDX-License-Identifier: GPL-3.0-or-later
"""All jobs of this Blender: their states, their workers, and the journal. No bpy.

All methods are for one thread, Blender's main thread. A worker changes its job's state only, and each new version comes
through a queue.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...failure import DiskFailure, Failure, disk_failure
from ..limits import SLOTS_MAX
from ..model.job import Job
from ..model.request import Request
from ..model.run import JobError, Stage
from ..store.database import Database
from .context import JobContext
from .hold import Hold
from .pipeline import Pipeline, Stop
from .services import Services
from .state import JobState, save_in_background

log = logging.getLogger(__name__)

WORKERS_MAX = 2 * SLOTS_MAX
"""Jobs under way at once: those whose runs fill the slots, and as many whose clips are rendered and uploaded meanwhile, or
whose uploads are deleted."""
JOURNAL = "jobs.sqlite3"


@dataclass
class _Worker:
    thread: threading.Thread
    stop: Stop


class Runner:
    def __init__(self, *, waits: bool = False) -> None:
        """`waits`: what would stop each job holds them, until `go_on`. Otherwise all fail."""
        self.hold = Hold(waits=waits)
        self._reset()

    def _reset(self) -> None:
        self._states: dict[str, JobState] = {}
        self._contexts: dict[str, JobContext] = {}
        self._waiting: list[str] = []
        self._held: set[str] = set()
        """Jobs that have begun and went back to the queue. They may have uploads and files."""
        self._workers: dict[str, _Worker] = {}
        self._versions: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._services: Services | None = None

    def open(self, folder: Path) -> Services:
        """Open the journal in the extension's folder, unless it is open. Raises DiskFailure if the folder can't be made."""
        if self._services is None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as fault:
                raise disk_failure(fault, f"The extension's folder can't be used: {folder}") from fault
            self._services = Services(Database.open(folder / JOURNAL), self.hold)
        return self._services

    @property
    def note(self) -> str:
        """Note on the journal for the artist; empty as a rule."""
        return self._services.journal.note if self._services else ""

    @property
    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return [state.job for state in self._states.values()]

    @property
    def busy(self) -> bool:
        """Whether any job has not ended, or a worker still cleans up after one."""
        return bool(self._workers) or any(not job.stage.ended for job in self.jobs)

    def has_worker(self, job_id: str) -> bool:
        """Whether a worker has the job, possibly to clean up after its end."""
        return job_id in self._workers

    def is_placed_unsaved(self, job_id: str) -> bool:
        """Whether sounds of the job were placed since the .blend was saved."""
        return job_id in self._states and self._states[job_id].placed_unsaved

    def job(self, job_id: str) -> Job | None:
        state = self._states.get(job_id)
        return state.job if state else None

    def add(self, jobs: Sequence[Job], job_context: JobContext) -> None:
        """Start new jobs. `open` comes first."""
        self.show(jobs, job_context)
        self._start_soon([job.id for job in jobs])

    def retry(self, job_id: str, request: Request, job_context: JobContext) -> None:
        """Start a job again, which continues where it was. A worker that still cleans up after it ends first."""
        self._contexts[job_id] = job_context
        if worker := self._workers.get(job_id):
            worker.stop.retrying = True
        self.update(
            job_id, lambda job: replace(job, request=request, stage=Stage.QUEUED, progress=None, error=None), save=False
        )
        self._start_soon([job_id])

    def show(self, jobs: Iterable[Job], job_context: JobContext) -> None:
        """List jobs as they are."""
        for job in jobs:
            self._states[job.id] = self._new_state(job)
            self._contexts[job.id] = job_context

    def update(
        self, job_id: str, change: Callable[[Job], Job], *, save: bool = True, placed_unsaved: bool | None = None
    ) -> Job:
        """Change a job's state and return it; see `JobState.update`. With `save=False` the caller saves it.

        A job with a worker is saved in the background, since it would have to wait for what the worker saves.
        """
        state = self._states[job_id]
        in_background = job_id in self._workers
        job = state.update(change, save=save and not in_background, placed_unsaved=placed_unsaved)
        if save and in_background:
            save_in_background([state])
        return job

    def fail(self, job_id: str, error: JobError) -> Job:
        """Let a job fail with this error and return it."""
        return self.update(job_id, lambda job: replace(job, stage=Stage.FAILED, error=error))

    def claimed(self, job: Job) -> Job:
        """Return the job as it is by now, after another Blender may have had it, and make it this Blender's.

        Raises OwnedByOtherBlender if another Blender still has it.
        """
        listed = self.job(job.id) or job
        if self._services is None:
            return listed
        try:
            current = self._services.journal.claim_job(listed)
        except DiskFailure as failure:
            # What has been paid for can be fetched nevertheless; nothing is created without the journal.
            log.warning("%s", failure.message)
            return listed
        if current is not listed and job.id in self._states:
            self.update(job.id, lambda _: current, save=False)
        return current

    def go_on(self, job_context: JobContext, *, paused: bool = True) -> None:
        """Let jobs order again, with this configuration; those that the artist has `paused` only if that is meant too."""
        for job in self.jobs:
            if not job.stage.ended:
                self._contexts[job.id] = job_context
        self.hold.release(paused=paused)
        self._start_waiting()

    def is_held(self, job_id: str) -> bool:
        """Whether the job waits until the artist goes on."""
        return self.hold.active and job_id in self._waiting

    def cancel(self, job_id: str) -> None:
        """End the job at once for its viewers. Its worker stops, and cleans up, as soon as it can."""
        state = self._states[job_id]
        if state.job.stage.ended:
            return
        state.cancel()
        save_in_background([state])
        if job_id in self._waiting:
            self._waiting.remove(job_id)
        if job_id in self._held:
            self._held.discard(job_id)
            self.clean_up(state.job, self._contexts[job_id])
        if worker := self._workers.get(job_id):
            worker.stop.retrying = False
            worker.stop.set()

    def forget(self, job_id: str) -> None:
        """Remove a job that has ended, with what it kept for a retry; first of all, its uploads."""
        state = self._states[job_id]
        if not state.job.stage.ended:
            return
        del self._states[job_id]
        job_context = self._contexts.pop(job_id, None)
        if job_context and state.job.uploads and job_id not in self._workers:

            def clean_up(pipeline: Pipeline) -> None:
                try:
                    pipeline.clean_up(forgotten=True)
                finally:
                    self._drop(job_id, job_context)

            self._start(state, job_context, clean_up)
        else:
            self._drop(job_id, job_context)

    def clean_up(self, job: Job, job_context: JobContext) -> None:
        """Delete what an ended job, listed or not, has left in storage, because Blender was closed or it failed."""
        if job.id not in self._workers:
            self._start(self._states.get(job.id) or self._new_state(job), job_context, Pipeline.clean_up)

    def move(self, job_ids: Sequence[str], project: str) -> None:
        """Note in the journal that the .blend of these jobs was saved as `project`."""
        if self._services is not None:
            try:
                self._services.journal.move(job_ids, project)
            except Failure as failure:
                log.warning("%s", failure.message)

    def drain(self, seconds: float = 0.005) -> list[Job]:
        """Return the versions that jobs went through, in order, for at most `seconds`. Starts jobs that wait."""
        versions: list[Job] = []
        # Looked at first: all that a worker did before its end is in the queue by now.
        ended = [job_id for job_id, worker in self._workers.items() if not worker.thread.is_alive()]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                job = self._versions.get_nowait()
            except queue.Empty:
                break
            current = self._states.get(job.id)
            # What a worker did before the job was cancelled is of no interest any more.
            if current is not None and (job.stage.ended or not current.job.stage.ended):
                versions.append(job)
        if self._versions.empty():
            for job_id in ended:
                del self._workers[job_id]
                state = self._states.get(job_id)
                if state is not None and state.job.stage is Stage.QUEUED and job_id not in self._waiting:
                    self._waiting.append(job_id)
                    self._held.add(job_id)
                    versions.append(state.job)
            if ended:
                order = {job_id: number for number, job_id in enumerate(self._states)}
                self._waiting.sort(key=order.__getitem__)
        self._start_waiting()
        return versions

    def close(self, seconds: float) -> None:
        """Stop working and cancel nothing: whoever opens the file next continues. Waits for at most `seconds`."""
        retried = self._workers.keys() & set(self._waiting)
        self._waiting.clear()
        for job_id, worker in self._workers.items():
            state = self._states.get(job_id)
            # What the artist has cancelled is still cancelled at the service, as far as there is time for it.
            worker.stop.leaving = state is not None and not state.job.stage.ended and job_id not in retried
            worker.stop.set()
        end = time.monotonic() + seconds
        for worker in self._workers.values():
            worker.thread.join(max(0.0, end - time.monotonic()))
        if self._services is not None:
            self._services.close()
            self._services = None
        # A worker that is still alive keeps the old queue and the closed journal.
        self._reset()
        self.hold.release()

    def _new_state(self, job: Job) -> JobState:
        assert self._services is not None  # `open` came first
        return JobState(job, self._versions.put, self._services.journal.save)

    def _drop(self, job_id: str, job_context: JobContext | None) -> None:
        if (services := self._services) is not None:
            try:
                services.journal.forget(job_id)
            except Failure as failure:
                log.warning("%s", failure.message)
        if job_context:
            job_context.clear(job_id)

    def _start_soon(self, job_ids: Sequence[str]) -> None:
        self._waiting += job_ids
        self._start_waiting()
        # A click may ask for hundreds of sounds. A job that has started is saved by its worker.
        save_in_background([self._states[job_id] for job_id in job_ids if job_id in self._waiting])

    def _start_waiting(self) -> None:
        # The worker of a job that is retried may still be cleaning up.
        ready = [job_id for job_id in self._waiting if job_id not in self._workers and not self._orders_while_held(job_id)]
        for job_id in ready[: max(0, WORKERS_MAX - len(self._workers))]:
            self._waiting.remove(job_id)
            self._start(self._states[job_id], self._contexts[job_id], Pipeline.run)

    def _orders_while_held(self, job_id: str) -> bool:
        return self.hold.active and self._states[job_id].job.runs_to_create() > 0

    def _start(self, state: JobState, job_context: JobContext, work: Callable[[Pipeline], None]) -> None:
        assert self._services is not None  # `open` came first
        stop = Stop()
        pipeline = Pipeline(state, job_context, stop, self._services)
        # A daemon, so that closing Blender never waits for the network.
        thread = threading.Thread(target=work, args=(pipeline,), name=f"mmaudio {state.job.id[:8]}", daemon=True)
        self._workers[state.job.id] = _Worker(thread, stop)
        thread.start()
