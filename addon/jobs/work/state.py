# SPDX-License-Identifier: GPL-3.0-or-later
"""The current state of one job, which several threads change. No bpy."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ...failure import Cancelled, Failure, RunFailure, as_failure
from ...media import folder
from ...service.storage import Published
from ..model.job import Job
from ..model.run import JobError, Progress, Run, RunIndex, Stage

log = logging.getLogger(__name__)

_REPORT_SECONDS = 0.1


class JobState:
    """Holds the only current version of a job. Each change is published, and saved before the next step begins.

    While a worker is active, it decides on the job's stage; what it does after the job was cancelled changes runs and
    uploads alone.
    """

    def __init__(self, job: Job, publish: Callable[[Job], None], save: Callable[[Job], None]) -> None:
        """`publish` gets each version in order. `save` writes one to disk, and may raise Failure."""
        self.job = job
        self.placed_unsaved = False
        """Whether sounds were placed in the edit since its file was saved. On disk they are then still to be placed."""
        self._publish = publish
        self._save = save
        # Two locks, so that whoever changes the job without saving it never waits for the disk.
        self._lock = threading.Lock()
        self._save_lock = threading.Lock()
        self._active = False
        self._save_failure: Failure | None = None
        self._stopped_by: Failure | None = None
        self._reported = 0.0

    def begin(self, stop: threading.Event) -> None:
        """Start a worker's activity, with no failure from before. It has none if it is stopped or the job has ended."""
        with self._lock:
            self._active = not stop.is_set() and not self.job.stage.ended
            self._save_failure = self._stopped_by = None

    def end(self, stage: Stage, error: JobError | None = None) -> None:
        """End the worker's activity at `stage`, unless the job was cancelled in the meantime."""
        with self._lock:
            if not self._active:
                return
            self._active = False
            self._set(replace(self.job, stage=stage, progress=None, error=error))
        self.save()

    def cancel(self) -> None:
        """End the job at once for everyone who watches it. The caller saves it."""
        with self._lock:
            self._active = False
            self._set(replace(self.job, stage=Stage.CANCELLED, progress=None))

    def update(self, change: Callable[[Job], Job], *, save: bool = True, placed_unsaved: bool | None = None) -> Job:
        """Replace the job by what `change` makes of its current version, and return that."""
        with self._lock:
            if placed_unsaved is not None:
                self.placed_unsaved = placed_unsaved
            job = self._set(change(self.job))
        if save:
            self.save()
        return job

    def change(self, **changes: Any) -> None:
        self.update(lambda job: replace(job, **changes))

    def save(self) -> None:
        """Save the current version. A failure is logged, and raised by the next `check_saved`."""
        with self._save_lock:
            with self._lock:
                job = _without_placed(self.job) if self.placed_unsaved else self.job
            try:
                self._save(job)
                self._save_failure = None
            except Failure as failure:
                # What is under way continues: only what costs waits for the disk.
                log.warning("job %s is not on disk: %s", job.id, failure.message)
                self._save_failure = failure

    def _set(self, job: Job) -> Job:
        self.job = job
        self._publish(job)
        return job

    def run(self, index: RunIndex) -> Run:
        return self.job.run(index)

    def change_run(self, index: RunIndex, **changes: Any) -> None:
        """Change one run. The job's stage follows that of its least advanced run."""

        def changed(job: Job) -> Job:
            job = job.with_run(index, **changes)
            if not self._active:
                return job
            stage, runs = job.least_advanced(), job.runs
            progress = job.progress if stage is job.stage else None
            if len(runs) > 1 and stage is not Stage.EXPORTING:
                progress = Progress(sum(run.stage.ended for run in runs), len(runs), "runs")
            return replace(job, stage=stage, progress=progress)

        self.update(changed)

    def give_up_run(self, index: RunIndex) -> None:
        """Forget the run, since nothing more can be fetched of it. The next attempt creates a new one."""

        def without(job: Job) -> Job:
            run = job.run(index)
            ids = (*run.superseded_ids, run.prediction_id) if run.prediction_id else run.superseded_ids
            return job.with_run(
                index,
                requested_at=None,
                account="",
                confirmed_ended=False,
                video="",
                prediction_id=None,
                superseded_ids=ids,
                result=None,
            )

        self.update(without)

    def change_take(self, number: int, **changes: Any) -> None:
        self.update(lambda job: job.with_take(number, **changes))

    def set_upload(self, window: int, upload: Published) -> None:
        self.update(lambda job: job.with_clip(window, upload))

    def give_up_upload(self, window: int) -> None:
        """Keep the window's upload for later deletion: no further run reads it, but one created before still may."""

        def without(job: Job) -> Job:
            upload = job.clips[window]
            stale = job.stale_uploads if upload is None else (*job.stale_uploads, upload)
            return replace(job.with_clip(window, None), stale_uploads=stale)

        self.update(without)

    def remove_upload(self, upload: Published) -> None:
        """Forget an upload that was deleted."""

        def without(job: Job) -> Job:
            clips = tuple(None if clip == upload else clip for clip in job.clips)
            return replace(job, clips=clips, stale_uploads=tuple(kept for kept in job.stale_uploads if kept != upload))

        self.update(without)

    def report(self, done: float, total: float, unit: str) -> None:
        """Show the progress of the stage, at most ten times a second."""
        now = time.monotonic()
        if now - self._reported < _REPORT_SECONDS and done not in (0, total):
            return
        self._reported = now
        with self._lock:
            if self._active:
                self._set(replace(self.job, progress=Progress(done, total, unit)))

    def report_run(self, done: float, total: float, unit: str) -> None:
        """Show the progress of a run, if it is the job's only one. Of several, their number is shown."""
        if len(self.job.runs) == 1:
            self.report(done, total, unit)

    @contextmanager
    def keeping_failures(self, indexes: Sequence[RunIndex]) -> Generator[None]:
        """Record a failure with the runs that it concerns, so that others go on. A cancel just ends the block."""
        try:
            yield
        except Cancelled:
            return
        except Exception as fault:
            failure = as_failure(fault, f"job {self.job.id}")
            if not isinstance(failure, RunFailure):
                self._stopped_by = self._stopped_by or failure
            for index in indexes:
                if not self.run(index).stage.ended:
                    error = JobError.of(failure, self.job.request.strip, self.job.run_name(index))
                    self.change_run(index, stage=Stage.FAILED, error=error)

    def check_may_create(self) -> None:
        """Raise what keeps a new run from being created: a failure that it would meet too, or a disk that is full."""
        self.check_not_stopped()
        self.check_saved()
        folder.check_results(self.job.request.folder, self.job.request.sound_seconds)

    def check_not_stopped(self) -> None:
        """Raise the failure of one run that each other run would meet too."""
        if self._stopped_by is not None:
            raise self._stopped_by

    def check_saved(self) -> None:
        """Raise the failure of the latest save, which is never a TemporaryFailure."""
        if self._save_failure is not None:
            raise self._save_failure


def _without_placed(job: Job) -> Job:
    """Return the job as it is on disk until the .blend is saved: a crash would take its sound strips away."""
    takes = tuple(replace(take, sound=None) for take in job.takes)
    ended = job.stage in (Stage.DONE, Stage.FAILED)
    return replace(job, stage=Stage.PLACING if ended else job.stage, takes=takes)


def save_in_background(states: Sequence[JobState]) -> None:
    """Save the current versions in a thread of their own, since each save waits for the disk."""

    def save() -> None:
        for state in states:
            state.save()

    threading.Thread(target=save, name="mmaudio journal", daemon=True).start()
