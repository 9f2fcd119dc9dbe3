# SPDX-License-Identifier: GPL-3.0-or-later
"""Many jobs: threads, cancel, the journal, and the messages that the main thread takes. No bpy.

A worker thread never touches a job that others hold: it sends whole new ones through a queue. All methods here are
for one thread, Blender's main thread.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...failure import Failure, of_disk
from ..limits import SLOTS_MAX
from ..model.job import Job, Stage
from ..store.database import Database
from .context import JobContext
from .pipeline import Pipeline, Services, Stop

log = logging.getLogger(__name__)

WORKERS_MAX = SLOTS_MAX
"""Jobs under way at once: more could have no run in flight."""
JOURNAL = "jobs.sqlite3"


@dataclass
class _Worker:
    thread: threading.Thread
    stop: Stop
    pipeline: Pipeline


class Runner:
    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._job_context: dict[str, JobContext] = {}
        self._waiting: list[str] = []
        self._workers: dict[str, _Worker] = {}
        # With what stops the worker that says it: one that has been replaced by a retry isn't heard any more.
        self._messages: queue.SimpleQueue[tuple[Stop, Job]] = queue.SimpleQueue()
        self._services: Services | None = None

    def open(self, own: Path) -> Services:
        """The journal in the extension's folder `own`, opened where it isn't. Raises Failure where that can't be made."""
        if self._services is None:
            try:
                own.mkdir(parents=True, exist_ok=True)
            except OSError as fault:
                raise of_disk(fault, f"The folder of the extension can't be used: {own}") from fault
            self._services = Services(Database.open(own / JOURNAL))
        return self._services

    @property
    def note(self) -> str:
        """What the artist should know of the journal; empty as a rule."""
        return self._services.journal.note if self._services else ""

    @property
    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return list(self._jobs.values())

    @property
    def busy(self) -> bool:
        """Whether any job has not ended, or a thread still clears up after one."""
        return bool(self._workers) or any(not job.stage.ended for job in self._jobs.values())

    def is_at_work(self, job_id: str) -> bool:
        """Whether a thread has the job, be it to clear up after its end."""
        return job_id in self._workers

    def job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def add(self, jobs: Sequence[Job], job_context: JobContext) -> None:
        """Has them done; `open` comes first."""
        for job in jobs:
            self._jobs[job.id] = job
            self._job_context[job.id] = job_context
            self._waiting.append(job.id)
            if worker := self._workers.get(job.id):
                worker.stop.tried_again = True
        # Each save waits for the disk, and a click may ask for hundreds of sounds.
        self._start_waiting()
        # A thread that clears up after the try before keeps the journal, and knows more.
        waiting = [job for job in jobs if job.id in self._waiting and job.id not in self._workers]
        threading.Thread(target=self._keep_all, args=(waiting,), name="mmaudio journal", daemon=True).start()

    def show(self, jobs: Iterable[Job], job_context: JobContext) -> None:
        """Lists jobs as they are."""
        for job in jobs:
            self._jobs[job.id] = job
            self._job_context[job.id] = job_context

    def taken(self, job: Job) -> Job:
        """The job as it stands by now, if another Blender had it since, or a thread of ours that still clears up after it.

        Raises Failure("other_blender") where another Blender has it still.
        """
        try:
            job = self._services.journal.take(job) if self._services is not None else job
        except Failure as failure:
            if failure.code != "files":
                raise
            # What has been paid for can be fetched all the same; nothing is ordered without the journal.
            log.warning("%s", failure.message)
        worker = self._workers.get(job.id)
        return _caught_up(job, worker.pipeline.job) if worker else job

    def cancel(self, job_id: str) -> None:
        """Ends the job for its viewers at once; its thread stops, and clears up, as soon as it can."""
        job = self._jobs[job_id]
        if job.stage.ended:
            return
        worker = self._workers.get(job_id)
        # A thread keeps the journal itself: it may know of a run that isn't known here yet.
        self.put(replace(job, stage=Stage.CANCELLED, progress=None), keep=worker is None)
        if job_id in self._waiting:
            self._waiting.remove(job_id)
        if worker:
            worker.stop.tried_again = False
            worker.stop.set()

    def forget(self, job_id: str) -> None:
        """Drops a job that has ended, with what it kept for another try; first of all, its clips."""
        job = self._jobs[job_id]
        if not job.stage.ended:
            return
        del self._jobs[job_id]
        job_context = self._job_context.pop(job_id, None)
        if job_context and job.uploads and job_id not in self._workers:

            def clear(pipeline: Pipeline) -> None:
                try:
                    pipeline.clear_up(forgotten=True)
                finally:
                    self._drop(job_id, job_context)

            self._start(job, job_context, clear)
        else:
            self._drop(job_id, job_context)

    def clear_up(self, job: Job, job_context: JobContext) -> None:
        """Deletes what an ended job has left in storage: Blender was closed before, or it could not be done."""
        if job.id not in self._workers:
            self._start(job, job_context, Pipeline.clear_up)

    def _drop(self, job_id: str, job_context: JobContext | None) -> None:
        if (services := self._services) is not None:
            try:
                services.journal.forget(job_id)
            except Failure as failure:
                log.warning("%s", failure.message)
        if job_context:
            job_context.clear(job_id)

    def put(self, job: Job, *, keep: bool = True) -> None:
        """Sets a job's state from the main thread; `keep=False` leaves the journal as it is."""
        self._jobs[job.id] = job
        if keep:
            self._keep_all([job])

    def saved(self, jobs: Iterable[Job], project: str) -> None:
        """The .blend of these jobs was saved as `project`: what is placed in it is safe."""
        jobs = [replace(job, project=project) for job in jobs]
        for job in jobs:
            self.put(job, keep=job.stage.ended)
        if self._services is not None:
            try:
                self._services.journal.move([job.id for job in jobs], project)
            except Failure as failure:
                log.warning("%s", failure.message)

    def drain(self, seconds: float = 0.005) -> list[Job]:
        """Takes the workers' messages for at most `seconds`; returns each state that a job went through, in order."""
        states: list[Job] = []
        # Looked at first: what a thread has said before its end is in the queue by now.
        dead = [job_id for job_id, worker in self._workers.items() if not worker.thread.is_alive()]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                speaker, job = self._messages.get_nowait()
            except queue.Empty:
                break
            if state := self._heard(speaker, job):
                states.append(state)
        if self._messages.empty():
            for job_id in dead:
                del self._workers[job_id]
        self._start_waiting()
        return states

    def _heard(self, speaker: Stop, job: Job) -> Job | None:
        """Takes one state over, unless it is no longer of interest."""
        known, worker = self._jobs.get(job.id), self._workers.get(job.id)
        if known is None or worker is None or worker.stop is not speaker:
            return None
        # The file may have been saved under another name since its thread began.
        job = replace(job, project=known.project)
        if known.stage.ended or job.id in self._waiting or worker.stop.is_set():
            # It has ended here, or is tried again, so how its thread ends is of no interest. What the thread pays for, gives
            # up or deletes until then is.
            self._jobs[job.id] = _caught_up(known, job)
            return None
        self._jobs[job.id] = job
        return job

    def leave(self, seconds: float) -> None:
        """Stops working, and cancels nothing: whoever opens the file next goes on. Waits at most `seconds`."""
        retried = self._workers.keys() & set(self._waiting)
        self._waiting.clear()
        for job_id, worker in self._workers.items():
            job = self._jobs.get(job_id)
            # What the artist has cancelled is still ended at the service, as far as there is time for it.
            worker.stop.leaving = job is not None and not job.stage.ended and job_id not in retried
            worker.stop.set()
        end = time.monotonic() + seconds
        for worker in self._workers.values():
            worker.thread.join(max(0.0, end - time.monotonic()))
        done = [job_id for job_id in retried if not self._workers[job_id].thread.is_alive()]
        self._keep_all([_caught_up(self._jobs[job_id], self._workers[job_id].pipeline.job) for job_id in done])
        if self._services is not None:
            self._services.journal.close()
            self._services = None
        self._jobs.clear()
        self._job_context.clear()
        self._workers.clear()

    def _keep_all(self, jobs: Sequence[Job]) -> None:
        """What isn't on disk can't be gone on with after a crash; it isn't worth ending the job for."""
        for job in jobs:
            try:
                if self._services is not None:
                    self._services.journal.save(job)
            except Failure as failure:
                log.warning("job %s is not on disk: %s", job.id, failure.message)

    def _start_waiting(self) -> None:
        # The thread of a job that is tried again may still be clearing up after the first try.
        ready = [job_id for job_id in self._waiting if job_id not in self._workers]
        for job_id in ready[: max(0, WORKERS_MAX - len(self._workers))]:
            self._waiting.remove(job_id)
            self._start(self._jobs[job_id], self._job_context[job_id], Pipeline.go)

    def _start(self, job: Job, job_context: JobContext, do: Callable[[Pipeline], None]) -> None:
        assert self._services is not None  # `open` came first
        stop = Stop()
        pipeline = Pipeline(job, job_context, partial(self._say, stop), stop, self._services)
        # A daemon, so that closing Blender never waits for the network.
        thread = threading.Thread(target=do, args=(pipeline,), name=f"mmaudio {job.id[:8]}", daemon=True)
        self._workers[job.id] = _Worker(thread, stop, pipeline)
        thread.start()

    def _say(self, speaker: Stop, job: Job) -> None:
        self._messages.put((speaker, job))


def _caught_up(job: Job, told: Job) -> Job:
    """`job` with what its thread has done to runs and clips, as `told`; a sound that is placed stays so."""
    takes = tuple(mine if mine.sound is not None else theirs for mine, theirs in zip(job.takes, told.takes, strict=True))
    return replace(job, takes=takes, clips=told.clips, stale_uploads=told.stale_uploads)
