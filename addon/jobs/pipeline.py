# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages in order, for one job, on a worker thread. No bpy."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ..failure import Cancelled, Failure
from ..media.export import Clip, export_clip
from ..media.sound import conform
from ..service import eachlabs, mmaudio
from ..service.eachlabs import Eachlabs, Prediction
from ..service.http import Transport
from ..service.storage import Storage
from ..service.storage.eachlabs import EachlabsStorage
from .job import Job, JobError, Progress, Stage
from .names import file_name

log = logging.getLogger(__name__)

T = TypeVar("T")

_REPORT_SECONDS = 0.1
# A run takes 5 s; a cold start of the model minutes. Past that nobody waits for it any more.
_PREDICT_DEADLINE_SECONDS = 15 * 60.0
_POLL_SECONDS = 0.5
_POLL_SLOWER_SECONDS = 2.0
_POLL_FAST_FOR_SECONDS = 20.0


@dataclass(frozen=True)
class Tools:
    """What all jobs of one click work with. The key is in here and nowhere else: not in a job, not in a record.

    blender  the command that starts a background Blender with a script
    work     a folder for files that are gone when the job has ended
    """

    key: str
    base_url: str
    blender: Sequence[str]
    work: Path

    def __repr__(self) -> str:
        return f"Tools({self.base_url!r})"


class Run:
    """One job on its way. `publish` is handed each new state of it, from this thread."""

    def __init__(
        self,
        job: Job,
        tools: Tools,
        publish: Callable[[Job], None],
        cancel: threading.Event,
        export_turn: threading.Semaphore,
    ) -> None:
        self.job = job
        self._tools = tools
        self._publish = publish
        self._cancel = cancel
        self._export_turn = export_turn
        self._folder = tools.work / job.id
        self._reported = 0.0
        self._ordered: datetime | None = None

    def go(self) -> None:
        """Takes the job to PLACING, FAILED or CANCELLED; raises nothing."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._stages()
        except Cancelled:
            self._change(stage=Stage.CANCELLED, progress=None)
        except Failure as failure:
            self._fail(failure)
        except OSError as fault:
            what = f"A file could not be read or written: {fault.strerror or fault} ({fault.filename})."
            self._fail(Failure("files", what, "Check the free space and the folder's permissions, then retry."))
        except Exception as fault:
            # A fault of the add-on's own must end this job alone, and be seen.
            log.exception("job %s", self.job.id)
            self._fail(Failure("internal", f"The add-on made a mistake: {type(fault).__name__}.", "Please report it."))
        finally:
            self._leave_nothing()

    def _stages(self) -> None:
        transport = Transport(self._cancel, loopback_allowed=eachlabs.is_local(self._tools.base_url))
        try:
            service = Eachlabs(self._tools.key, self._tools.base_url, transport)
            if self.job.prediction_id is None:
                self._order(service, EachlabsStorage(service, transport))
            output_url = self._await(service, transport)
            self._fetch(transport, output_url)
        finally:
            transport.close()

    def _order(self, service: Eachlabs, storage: Storage) -> None:
        """From the edit to a run under way."""
        duration = mmaudio.grid_duration(self.job.request.seconds)
        clip = self._export(mmaudio.clip_frames(duration, self.job.request.fps))
        self._change(stage=Stage.UPLOADING, progress=Progress(0, clip.stat().st_size, "bytes"))
        published = storage.publish(
            clip,
            lambda done, total: self._progress(done, total, "bytes"),
            lambda begun: self._change(published=begun),
        )
        self._change(duration=float(duration))
        self._change(stage=Stage.PREDICTING, progress=Progress(0, mmaudio.EXPECTED_RUN_SECONDS, "seconds"))
        settings = self.job.request.settings
        self._ordered = datetime.now(UTC)
        self._change(prediction_id=service.create(mmaudio.run_input(published.url, duration, settings)))

    def _export(self, held: int) -> Path:
        request = self.job.request
        output = self._folder / "clip.mp4"
        clip = Clip(
            blend=str(request.snapshot.blend),
            scene=request.snapshot.scene,
            strip=request.strip,
            first=request.span.start,
            frames=request.span.frames,
            held=held,
            short_side_max=mmaudio.SHORT_SIDE_MAX,
            scenes_as_they_are=request.scenes_as_they_are,
            output=str(output),
        )
        while not self._export_turn.acquire(timeout=0.1):
            self._check_cancel()
        try:
            self._change(stage=Stage.EXPORTING, progress=Progress(0, held, "frames"))
            export_clip(clip, self._tools.blender, lambda done, of: self._progress(done, of, "frames"), self._cancel)
        finally:
            self._export_turn.release()
        return output

    def _await(self, service: Eachlabs, transport: Transport) -> str:
        """Polls until the run has ended; returns the address of its result."""
        assert self.job.prediction_id is not None
        self._change(stage=Stage.PREDICTING, progress=Progress(0, mmaudio.EXPECTED_RUN_SECONDS, "seconds"))
        began = time.monotonic()
        while True:
            self._check_cancel()
            prediction = service.get(self.job.prediction_id)
            elapsed = time.monotonic() - began
            self._progress(elapsed, mmaudio.EXPECTED_RUN_SECONDS, "seconds")
            if prediction.cost is not None:
                self._change(cost=prediction.cost)
            if prediction.status in eachlabs.SUCCEEDED:
                return _output(prediction)
            if prediction.status in eachlabs.FAILED | eachlabs.CANCELLED:
                # A run that has ended without a result can't be fetched by a retry: that starts a new one.
                self._change(prediction_id=None)
                raise _ended_badly(prediction)
            if elapsed > _PREDICT_DEADLINE_SECONDS:
                raise Failure(
                    "run_timeout",
                    f"The run did not end within {_PREDICT_DEADLINE_SECONDS / 60:.0f} minutes; "
                    f"Eachlabs last said “{prediction.status[:40]}”.",
                    "Retry looks for its result again, without a new run.",
                )
            transport.wait(_POLL_SECONDS if elapsed < _POLL_FAST_FOR_SECONDS else _POLL_SLOWER_SECONDS)

    def _fetch(self, transport: Transport, output_url: str) -> None:
        self._change(stage=Stage.DOWNLOADING, progress=Progress(0, 0, "bytes"))
        result = self._folder / "result.mp4"
        transport.fetch(output_url, result, lambda done, total: self._progress(done, total, "bytes"))
        target = self.job.request.folder / file_name(self.job.request.strip, self.job.id)
        conformed = conform(result, self.job.request.seconds, target, self._check_cancel)
        note = ""
        if conformed.missing:
            note = f"The result is {conformed.missing:.2f} s shorter than the strip; its end is faded out."
        self._change(stage=Stage.PLACING, progress=None, file=target, note=note)

    def _leave_nothing(self) -> None:
        """Takes the clip away from the service and from this disk, and ends a run that nobody waits for."""
        shutil.rmtree(self._folder, ignore_errors=True)
        cancelled = self.job.stage is Stage.CANCELLED
        # After a failure that isn't the run's own, the run goes on and may still read its video.
        still_read = self.job.stage is Stage.FAILED and self.job.prediction_id is not None
        if self.job.published is None or still_read:
            return
        transport = Transport(threading.Event(), loopback_allowed=eachlabs.is_local(self._tools.base_url))
        try:
            service = Eachlabs(self._tools.key, self._tools.base_url, transport)
            if cancelled:
                _attempt(self._cancel_run, service)
            _attempt(EachlabsStorage(service, transport).delete, self.job.published)
        finally:
            transport.close()

    def _cancel_run(self, service: Eachlabs) -> None:
        """Ends the run, also one whose start was still to be settled."""
        run = self.job.prediction_id
        if run is None and self._ordered is not None and self.job.published is not None:
            run = service.find_run(self.job.published.url, self._ordered)
        if run is not None:
            service.cancel(run)

    def _check_cancel(self) -> None:
        if self._cancel.is_set():
            raise Cancelled

    def _fail(self, failure: Failure) -> None:
        self._change(stage=Stage.FAILED, progress=None, error=JobError.of(failure, self.job.request.strip))

    def _progress(self, done: float, total: float, unit: str) -> None:
        """Ten times a second is often enough for a bar."""
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS or done == total:
            self._reported = now
            self._change(progress=Progress(done, total, unit))

    def _change(self, **changes: Any) -> None:
        self.job = replace(self.job, **changes)
        self._publish(self.job)


def _output(prediction: Prediction) -> str:
    if prediction.output_url is None:
        raise Failure("no_result", "The run ended well but named no result.", "Retry looks for it again.")
    return prediction.output_url


def _ended_badly(prediction: Prediction) -> Failure:
    if prediction.status in eachlabs.CANCELLED:
        return Failure("run_cancelled", "The run was cancelled at Eachlabs.", "Retry starts a new one.")
    reason = f": {prediction.reason}" if prediction.reason else ""
    return Failure("run_failed", f"The run failed at Eachlabs{reason}.", "Change the prompt or settings, or retry.")


def _attempt(clear: Callable[[T], None], what: T) -> None:
    """Clears up where possible: what stays behind ends by itself, an upload after an hour."""
    try:
        clear(what)
    except Failure as failure:
        log.warning("could not clear up: %s", failure.message)
