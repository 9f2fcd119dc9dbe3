# SPDX-License-Identifier: GPL-3.0-or-later
"""Many jobs: threads, limits, cancel, and the messages that the main thread takes. No bpy.

A worker thread never touches a job that others hold: it sends whole new ones through a queue. All methods here are
for one thread, Blender's main thread.
"""

import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .job import Job, Stage
from .pipeline import Run, Tools

WORKERS_MAX = 10
"""Jobs under way at once: the service lets ten runs of a key go on at a time."""
EXPORTS_MAX = 1
"""Background renders at once; one keeps a machine busy that its artist is working on."""


@dataclass
class _Worker:
    thread: threading.Thread
    cancel: threading.Event = field(default_factory=threading.Event)


class Runner:
    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tools: dict[str, Tools] = {}
        self._waiting: list[str] = []
        self._workers: dict[str, _Worker] = {}
        self._messages: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._export_turn = threading.Semaphore(EXPORTS_MAX)

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
        """Drops a job that has ended."""
        if self._jobs[job_id].stage.ended:
            del self._jobs[job_id]
            self._tools.pop(job_id, None)

    def put(self, job: Job) -> None:
        """Sets a job's state from the main thread."""
        self._jobs[job.id] = job

    def drain(self, seconds: float = 0.005) -> list[Job]:
        """Takes the workers' messages for at most `seconds`; returns each state that a job went through, in order."""
        states: list[Job] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                job = self._messages.get_nowait()
            except queue.Empty:
                break
            known = self._jobs.get(job.id)
            # What the artist has cancelled stays so, whatever its thread did a moment before it heard of it.
            if known is not None and not known.stage.ended:
                self._jobs[job.id] = job
                states.append(job)
        for job_id in [job_id for job_id, worker in self._workers.items() if not worker.thread.is_alive()]:
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
        while self._waiting and len(self._workers) < WORKERS_MAX:
            job_id = self._waiting.pop(0)
            cancel = threading.Event()
            run = Run(self._jobs[job_id], self._tools[job_id], self._messages.put, cancel, self._export_turn)
            # A daemon, so that closing Blender never waits for the network.
            thread = threading.Thread(target=run.go, name=f"mmaudio {job_id[:8]}", daemon=True)
            self._workers[job_id] = _Worker(thread, cancel)
            thread.start()
