# SPDX-License-Identifier: GPL-3.0-or-later
"""Many jobs: threads, limits, cancel, and the messages that the main thread takes. No bpy.

A worker thread never touches a job that others hold: it sends whole new ones through a queue. All methods here are
for one thread, Blender's main thread.
"""

import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from .job import Job, Stage
from .pipeline import RUNS_MAX, Pipeline, Tools, Turns

WORKERS_MAX = RUNS_MAX
"""Jobs under way at once: more could have no run in flight."""


@dataclass
class _Worker:
    thread: threading.Thread
    cancel: threading.Event


class Runner:
    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tools: dict[str, Tools] = {}
        self._waiting: list[str] = []
        self._workers: dict[str, _Worker] = {}
        # With the cancel event of the worker that says it: one that has been replaced by a retry isn't heard any more.
        self._messages: queue.SimpleQueue[tuple[threading.Event, Job]] = queue.SimpleQueue()
        self._turns = Turns()

    @property
    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        return list(self._jobs.values())

    @property
    def busy(self) -> bool:
        """Whether any job has not ended, or a thread still clears up after one."""
        return bool(self._workers) or any(not job.stage.ended for job in self._jobs.values())

    def job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def add(self, jobs: Iterable[Job], tools: Tools) -> None:
        for job in jobs:
            self._jobs[job.id] = job
            self._tools[job.id] = tools
            self._waiting.append(job.id)
        self._start_waiting()

    def cancel(self, job_id: str) -> None:
        """Ends the job for its viewers at once; its thread stops, and clears up, as soon as it can."""
        job = self._jobs[job_id]
        if job.stage.ended:
            return
        self.put(replace(job, stage=Stage.CANCELLED, progress=None))
        if job_id in self._waiting:
            self._waiting.remove(job_id)
        if worker := self._workers.get(job_id):
            worker.cancel.set()

    def forget(self, job_id: str) -> None:
        """Drops a job that has ended, with what it kept for another try."""
        if self._jobs[job_id].stage.ended:
            del self._jobs[job_id]
            if tools := self._tools.pop(job_id, None):
                tools.clear(job_id)

    def put(self, job: Job) -> None:
        """Sets a job's state from the main thread."""
        self._jobs[job.id] = job

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
            known, worker = self._jobs.get(job.id), self._workers.get(job.id)
            if known is None or worker is None or worker.cancel is not speaker:
                continue
            if known.stage is Stage.CANCELLED:
                # It stays so, whatever its thread did until it heard of it; but what it has paid for is not forgotten.
                self._jobs[job.id] = replace(job, stage=Stage.CANCELLED, progress=None)
            elif not known.stage.ended:
                self._jobs[job.id] = job
                states.append(job)
        if self._messages.empty():
            for job_id in dead:
                del self._workers[job_id]
        self._start_waiting()
        return states

    def stop(self, seconds: float) -> None:
        """Cancels all jobs and waits at most `seconds` for their threads to clear up."""
        for job in self.jobs:
            self.cancel(job.id)
        end = time.monotonic() + seconds
        for worker in self._workers.values():
            worker.thread.join(max(0.0, end - time.monotonic()))

    def _start_waiting(self) -> None:
        # The thread of a job that is tried again may still be clearing up after the first try.
        ready = [job_id for job_id in self._waiting if job_id not in self._workers]
        for job_id in ready[: max(0, WORKERS_MAX - len(self._workers))]:
            self._waiting.remove(job_id)
            cancel = threading.Event()
            publish = partial(self._say, cancel)
            pipeline = Pipeline(self._jobs[job_id], self._tools[job_id], publish, cancel, self._turns)
            # A daemon, so that closing Blender never waits for the network.
            thread = threading.Thread(target=pipeline.go, name=f"mmaudio {job_id[:8]}", daemon=True)
            self._workers[job_id] = _Worker(thread, cancel)
            thread.start()

    def _say(self, speaker: threading.Event, job: Job) -> None:
        self._messages.put((speaker, job))
