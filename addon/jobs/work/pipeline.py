# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages in order, for one job, on threads of its own. No bpy.

A job that has been on its way before goes on where it was: each step looks first at what is there already.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from ...failure import Cancelled, Failure
from ...media.export import ClipRange, Order, export_clips
from ...media.sound import NoSound, Piece, conform
from ...service.eachlabs import client, mmaudio
from ...service.eachlabs.webhook import Call
from ...service.storage.given_url import LENGTH_NOTE, GivenUrlConfig
from ..limits import SLOTS_MAX, Limits
from ..model.file_names import file_name
from ..model.job import Job, JobError, Progress, RunIndex, Stage
from ..model.request import Source
from ..store.database import Database
from ..store.journal import Journal
from . import run
from .context import JobContext
from .state import JobState, as_failure
from .worker_pool import Connections, WorkerPool

log = logging.getLogger(__name__)

# What is less can't be heard to be missing.
_MISSING_TOLD_SECONDS = 0.01

EXPORTS_MAX = 1
"""Background renders at once; one keeps a machine busy that its artist is working on."""


class Services:
    """What all jobs of this Blender share: the journal, the limits of the service, the turn to render."""

    def __init__(self, file: Database, exports: int = EXPORTS_MAX) -> None:
        self.journal = Journal(file)
        self.limits = Limits(file)
        self.exports = threading.Semaphore(exports)


class Stop(threading.Event):
    """Asks a job's threads to end: the artist doesn't want it any more.

    leaving      Blender closes: then nothing is cancelled, and whoever opens the file again goes on
    tried_again  a retry waits until the job's thread has cleared up
    """

    leaving = False
    tried_again = False


class Pipeline:
    """One job on its way. `publish` is handed each new state of it, from threads of the job's own."""

    def __init__(
        self, job: Job, job_context: JobContext, publish: Callable[[Job], None], stop: Stop, services: Services
    ) -> None:
        self._state = JobState(job, publish, services.journal.save)
        self._job_context = job_context
        self._stop = stop
        self._services = services
        self._folder = job_context.folder(job.id)
        self._fetched_again: set[RunIndex] = set()
        by_hand = job.request.options.clip_url
        self._connect = partial(job_context.connect, GivenUrlConfig(by_hand) if by_hand else job_context.storage)
        self._uploading = [threading.Lock() for _ in job.clips]
        self._webhook_note = ""

    @property
    def job(self) -> Job:
        return self._state.job

    def go(self) -> None:
        """Takes the job to PLACING, FAILED or CANCELLED, and clears up; raises nothing."""
        try:
            client.check_base_url(self._job_context.base_url)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._score([part for part in self.job.parts if self._is_missing(part)])
            while spoilt := self._join_takes():
                self._score(spoilt)
            self._check_cancel()
            stage = Stage.PLACING if self.job.to_place else Stage.FAILED
            self._state.change(stage=stage, progress=None, error=self.job.fault)
        except Cancelled:
            if not self._stop.leaving:
                self._state.change(stage=Stage.CANCELLED, progress=None)
        except Exception as fault:
            error = JobError.of(as_failure(fault, self.job.id), self.job.request.strip)
            self._state.change(stage=Stage.FAILED, progress=None, error=error)
        finally:
            self.clear_up()

    def _score(self, missing: Sequence[RunIndex]) -> None:
        """Renders, uploads and runs what these runs still need."""
        by_window = {window: [part for part in missing if part.window == window] for window, _ in sorted(missing)}
        unrendered = [
            window for window, parts in by_window.items() if self._wants_clip(parts) and not self._has_clip(window)
        ]
        for part in missing:
            self._state.change_run(part, stage=Stage.QUEUED, result=None, error=None)
        size = min(SLOTS_MAX, len(missing))
        with WorkerPool(size, f"mmaudio {self.job.id[:8]}", partial(self._connect, self._stop)) as pool:
            for window, parts in by_window.items():
                if window not in unrendered:
                    pool.put(partial(self._score_window, pool, parts))
            if unrendered:
                waiting = [part for part in missing if part.window in unrendered]
                with self._state.keeping_faults(waiting):
                    self._make_clips(
                        unrendered, waiting, lambda window: pool.put(partial(self._score_window, pool, by_window[window]))
                    )
        self._check_cancel()

    def _make_clips(self, windows: Sequence[int], waiting: Sequence[RunIndex], finished: Callable[[int], None]) -> None:
        """Renders what the storage wants. Settings that can't be right are told of before, not after the render."""
        with self._connect(self._stop) as connections:
            needs_clip = connections.storage.needs_clip
        if needs_clip:
            with self._render_turn():
                self._export(windows, waiting, finished)
            return
        for window in windows:
            finished(window)

    def _export(self, windows: Sequence[int], waiting: Sequence[RunIndex], finished: Callable[[int], None]) -> None:
        request = self.job.request
        plan = request.windows
        ranges = [
            ClipRange(plan[window].first, mmaudio.clip_frames(plan[window].duration, request.fps), str(self._clip(window)))
            for window in windows
        ]
        order = Order(
            blend=str(request.snapshot.blend),
            scene=request.snapshot.scene,
            whole_project=request.snapshot.whole_project,
            strip=request.shown,
            first=request.span.start,
            frames=request.span.frames,
            ranges=ranges,
            short_side_max=mmaudio.SHORT_SIDE_MAX,
            long_side_max=mmaudio.LONG_SIDE_MAX,
            whole_edit=request.options.source is Source.TIMELINE,
            scenes_as_they_are=request.options.scenes_as_they_are,
        )
        for part in waiting:
            self._state.change_run(part, stage=Stage.EXPORTING)
        self._state.change(progress=Progress(0, sum(clip_range.frames for clip_range in ranges), "frames"))
        notes = export_clips(
            order,
            self._job_context.blender,
            lambda done, of: self._state.progress(done, of, "frames"),
            lambda number: finished(windows[number]),
            self._stop,
        )
        if notes:
            self._state.change(notes=tuple(dict.fromkeys((*self.job.notes, *notes))))

    def _score_window(self, pool: WorkerPool, parts: Sequence[RunIndex], connections: Connections) -> None:
        """Has a window's clip uploaded where one of these runs of it needs it, and the runs done."""
        with self._state.keeping_faults(parts):
            if self._wants_clip(parts):
                self._upload(connections, parts)
            for part in parts:
                pool.put(partial(self._score_part, part))

    def _upload(self, connections: Connections, parts: Sequence[RunIndex]) -> None:
        """Once for all takes, whichever of them finds first that the window's clip has to be uploaded."""
        window = parts[0].window
        with self._uploading[window]:
            run.upload(self._state, connections, window, self._clip(window), parts)

    def _score_part(self, part: RunIndex, connections: Connections) -> None:
        """One run. One that fails among several is ordered once more: the others would be of no use without it.

        Unless it was ordered before: a retry that names no cost orders nothing.
        """
        ordered_now = self.job.run(part).prediction_id is None
        with self._state.keeping_faults([part]):
            try:
                self._run(part, connections)
            except Failure as failure:
                if failure.code != "run_failed" or len(self.job.runs) == 1 or not ordered_now:
                    raise
                self._run(part, connections)

    def _run(self, part: RunIndex, connections: Connections) -> None:
        under_way = self.job.run(part).prediction_id is not None
        name = f"{self.job.id}/{part.window}/{part.take}"
        slot = self._services.limits.slot(connections.account, name, connections.transport.wait, under_way=under_way)
        with slot as turn, self._expected_call(part) as call:
            run.order(self._state, connections, part, turn, lambda: self._upload(connections, [part]), call=call)
            output_url = run.output_of(self._state, connections, part, call)
        result = self._folder / f"result-{part.window:03}-{part.take + 1}.mp4"
        run.fetch(self._state, connections, part, output_url, result)

    @contextmanager
    def _expected_call(self, part: RunIndex) -> Generator[Call | None]:
        """The service's call for a run that is still to be ordered; None where none will come, and it is polled as ever."""
        if self._job_context.webhook is None or self.job.run(part).requested_at is not None:
            yield None
            return
        try:
            call = self._job_context.webhook.expect()
        except Failure as failure:
            log.warning("%s", failure.message)
            self._webhook_note = f"{failure.message} The result was asked for by polling. {failure.hint}"
            yield None
            return
        with call or nullcontext():
            yield call

    def _join_takes(self) -> list[RunIndex]:
        """Makes each take whose runs are all there one file; returns the runs whose results are to be fetched again."""
        request = self.job.request
        spoilt: list[RunIndex] = []
        for number, take in enumerate(self.job.takes):
            results = [run.result for run in take.runs if run.result is not None]
            if take.file is not None or len(results) < len(take.runs):
                continue
            windows = zip(results, request.windows, strict=True)
            pieces = [Piece(result, window.first / request.fps) for result, window in windows]
            target = request.folder / file_name(request.strip, self.job.id, number + 1)
            try:
                made = conform(pieces, request.seconds, target, self._check_cancel, offset=request.offset)
            except NoSound as failure:
                part = RunIndex(failure.piece, number)
                if part not in self._fetched_again:
                    # It may have been spoilt on its way here.
                    self._fetched_again.add(part)
                    spoilt.append(part)
                    continue
                self._state.forget_run(part)
                error = JobError.of(failure, request.strip, self.job.name_of(part))
                self._state.change_run(part, stage=Stage.FAILED, error=error)
                continue
            self._state.change_take(number, file=target, note=self._note(made.missing))
        return spoilt

    def _note(self, missing: float) -> str:
        """What the artist should know of a result that is `missing` seconds at its end."""
        short = f"The result is {missing:.2f} s shorter than the strip; it is faded out."
        by_hand = LENGTH_NOTE if self.job.request.options.clip_url else ""
        notes = (*self.job.notes, short if missing >= _MISSING_TOLD_SECONDS else "", by_hand, self._webhook_note)
        return " ".join(filter(None, notes))

    def clear_up(self, *, forgotten: bool = False) -> None:
        """Ends runs that nobody waits for, takes the clips out of storage, and removes what no retry needs.

        By now its sound is on its way to its place, which a slow storage doesn't hold up. A clip that a run may still read
        stays for it, unless the job is `forgotten`.
        """
        if self._stop.leaving:
            return
        if self.job.uploads:
            with self._connect(threading.Event()) as connections:
                if self.job.stage is Stage.CANCELLED:
                    run.cancel_runs(self._state, connections)
                deletable_uploads = (
                    run.deletable_before_retry(self.job) if self._stop.tried_again else self.job.deletable_uploads
                )
                run.delete_clips(self._state, connections, self.job.uploads if forgotten else deletable_uploads)
        complete = self.job.stage in (Stage.PLACING, Stage.DONE) and self.job.error is None
        # A retry that waits uploads the clip from there: the edit that it was rendered from may be gone.
        if complete or not (self.job.paid or self._stop.tried_again):
            self._job_context.clear(self.job.id)

    @contextmanager
    def _render_turn(self) -> Generator[None]:
        while not self._services.exports.acquire(timeout=0.1):
            self._check_cancel()
        try:
            self._check_cancel()
            yield
        finally:
            self._services.exports.release()

    def _wants_clip(self, parts: Sequence[RunIndex]) -> bool:
        return any(self.job.wants_clip(part) for part in parts)

    def _is_missing(self, part: RunIndex) -> bool:
        result = self.job.run(part).result
        return self.job.takes[part.take].file is None and (result is None or not result.is_file())

    def _clip(self, window: int) -> Path:
        return self._folder / f"clip-{window:03}.mp4"

    def _has_clip(self, window: int) -> bool:
        """Whether it need not be rendered: it is in storage, or on this disk."""
        published = self.job.clips[window]
        return (published is not None and published.is_live(time.time())) or self._clip(window).is_file()

    def _check_cancel(self) -> None:
        if self._stop.is_set():
            raise Cancelled
