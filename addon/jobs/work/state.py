# SPDX-License-Identifier: GPL-3.0-or-later
"""One job's state while several threads work on it: each change makes a new value and is told at once. No bpy."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ...failure import Cancelled, Failure, of_disk
from ...media import folder
from ...service.storage import Published
from ..model.job import Job, JobError, Progress, Run, RunIndex, Stage

log = logging.getLogger(__name__)

_REPORT_SECONDS = 0.1
# What went wrong with one run alone: the others are worth going on with.
_OF_ONE_RUN = (
    *("run_failed", "run_cancelled", "run_timeout", "run_forgotten", "other_account"),
    *("no_result", "result_gone", "no_sound"),
)


class JobState:
    """Holds the newest state in `job`, from whichever thread has made it.

    publish  is handed each state, in order
    keep     puts it on disk, before whatever comes next begins; may raise Failure
    """

    def __init__(self, job: Job, publish: Callable[[Job], None], keep: Callable[[Job], None]) -> None:
        self.job = job
        self.lock = threading.RLock()
        self._publish = publish
        self._keep = keep
        self._unkept: Failure | None = None
        self._reported = 0.0
        self._stopped: Failure | None = None

    def run(self, part: RunIndex) -> Run:
        return self.job.run(part)

    def change(self, **changes: Any) -> None:
        with self.lock:
            self._set(replace(self.job, **changes))

    def _set(self, job: Job) -> None:
        self.job = job
        self._publish(job)
        try:
            self._keep(job)
            self._unkept = None
        except Failure as failure:
            # What is under way goes on: only what costs waits for the disk.
            log.warning("job %s is not on disk: %s", job.id, failure.message)
            self._unkept = failure

    def change_run(self, part: RunIndex, **changes: Any) -> None:
        """Changes one run; the job is as far as the last of them, until it has ended itself."""
        with self.lock:
            job = self.job.with_run(part, **changes)
            if not job.stage.ended:
                stage, runs = job.least_advanced(), job.runs
                progress = job.progress if stage is job.stage else None
                if len(runs) > 1 and stage is not Stage.EXPORTING:
                    progress = Progress(sum(run.stage.ended for run in runs), len(runs), "runs")
                job = replace(job, stage=stage, progress=progress)
            self._set(job)

    def forget_run(self, part: RunIndex) -> None:
        """Nothing can be fetched of it any more: the next time, a new one is ordered."""
        with self.lock:
            run = self.run(part)
            superseded_ids = (*run.superseded_ids, run.prediction_id) if run.prediction_id else run.superseded_ids
            self.change_run(
                part,
                requested_at=None,
                account="",
                confirmed_ended=False,
                video="",
                prediction_id=None,
                result=None,
                superseded_ids=superseded_ids,
            )

    def change_take(self, number: int, **changes: Any) -> None:
        with self.lock:
            self.change(takes=self.job.with_take(number, **changes).takes)

    def set_clip(self, window: int, clip: Published) -> None:
        with self.lock:
            self.change(clips=self.job.with_clip(window, clip).clips)

    def give_up_clip(self, window: int) -> None:
        """No run to come reads it; one that was ordered with it still may, so it is deleted later."""
        with self.lock:
            clip = self.job.clips[window]
            assert clip is not None
            self.change(clips=self.job.with_clip(window, None).clips, stale_uploads=(*self.job.stale_uploads, clip))

    def deleted(self, clip: Published) -> None:
        with self.lock:
            clips = tuple(None if kept == clip else kept for kept in self.job.clips)
            self.change(clips=clips, stale_uploads=tuple(kept for kept in self.job.stale_uploads if kept != clip))

    def detail(self, done: float, total: float, unit: str) -> None:
        """How far the one run is; of several, only their number is told."""
        if len(self.job.runs) == 1:
            self.progress(done, total, unit)

    def progress(self, done: float, total: float, unit: str) -> None:
        """Ten times a second is often enough for a bar."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS or done in (0, total):
            self._reported = now
            self.change(progress=Progress(done, total, unit))

    @contextmanager
    def keeping_faults(self, parts: Sequence[RunIndex]) -> Generator[None]:
        """Keeps a fault with the runs that it befell, so that others go on; a cancel just ends what is within."""
        try:
            yield
        except Cancelled:
            return
        except Exception as fault:
            failure = as_failure(fault, self.job.id)
            if failure.code not in _OF_ONE_RUN:
                self._stopped = self._stopped or failure
            for part in parts:
                if not self.run(part).stage.ended:
                    error = JobError.of(failure, self.job.request.strip, self.job.name_of(part))
                    self.change_run(part, stage=Stage.FAILED, error=error)

    def check_may_order(self) -> None:
        """Raises what keeps a new run from being ordered: see `check_kept`, or a disk that has no place for the sound."""
        self.check_kept()
        folder.check_results(self.job.request.folder, self.job.request.seconds)

    def check_kept(self) -> None:
        """Raises a fault that a new run would meet too, and that of a disk which keeps no record."""
        fault = self._stopped or self._unkept
        if fault is not None:
            raise fault


def as_failure(fault: Exception, job_id: str) -> Failure:
    """What went wrong, in words for the artist; a fault of the add-on's own is logged as well."""
    if isinstance(fault, Failure):
        return fault
    if isinstance(fault, OSError):
        return of_disk(fault)
    log.error("job %s", job_id, exc_info=fault)
    return Failure("internal", f"The add-on made a mistake: {type(fault).__name__}.", "Please report it.")
