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
from ...media.export import Order, Stretch, export_clips
from ...media.sound import NoSound, Piece, conform
from ...service.eachlabs import client, mmaudio
from ...service.eachlabs.webhook import Call
from ...service.storage.given_url import LENGTH_NOTE, GivenUrlConfig
from ..limits import FLIGHTS_MAX, Limits
from ..model.file_names import file_name
from ..model.job import Job, JobError, Part, Progress, Stage
from ..model.request import Source
from ..store.database import JournalFile
from ..store.journal import Journal
from . import run
from .context import Tools
from .state import Record, as_failure
from .worker_pool import Crew, Line

log = logging.getLogger(__name__)

# What is less can't be heard to be missing.
_MISSING_TOLD_SECONDS = 0.01

EXPORTS_MAX = 1
"""Background renders at once; one keeps a machine busy that its artist is working on."""


class Shared:
    """What all jobs of this Blender share: the journal, the limits of the service, the turn to render."""

    def __init__(self, file: JournalFile, exports: int = EXPORTS_MAX) -> None:
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

    def __init__(self, job: Job, tools: Tools, publish: Callable[[Job], None], stop: Stop, shared: Shared) -> None:
        self._record = Record(job, publish, shared.journal.save)
        self._tools = tools
        self._stop = stop
        self._shared = shared
        self._folder = tools.folder(job.id)
        self._fetched_again: set[Part] = set()
        by_hand = job.request.options.clip_url
        self._line = partial(tools.line, GivenUrlConfig(by_hand) if by_hand else tools.storage)
        self._uploading = [threading.Lock() for _ in job.clips]
        self._webhook_note = ""

    @property
    def job(self) -> Job:
        return self._record.job

    def go(self) -> None:
        """Takes the job to PLACING, FAILED or CANCELLED, and clears up; raises nothing."""
        try:
            client.check_base_url(self._tools.base_url)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._score([part for part in self.job.parts if self._is_missing(part)])
            while spoilt := self._join_takes():
                self._score(spoilt)
            self._check_cancel()
            stage = Stage.PLACING if self.job.to_place else Stage.FAILED
            self._record.change(stage=stage, progress=None, error=self.job.fault)
        except Cancelled:
            if not self._stop.leaving:
                self._record.change(stage=Stage.CANCELLED, progress=None)
        except Exception as fault:
            error = JobError.of(as_failure(fault, self.job.id), self.job.request.strip)
            self._record.change(stage=Stage.FAILED, progress=None, error=error)
        finally:
            self.clear_up()

    def _score(self, missing: Sequence[Part]) -> None:
        """Renders, uploads and runs what these runs still need."""
        by_window = {window: [part for part in missing if part.window == window] for window, _ in sorted(missing)}
        unrendered = [
            window for window, parts in by_window.items() if self._wants_clip(parts) and not self._has_clip(window)
        ]
        for part in missing:
            self._record.change_run(part, stage=Stage.QUEUED, result=None, error=None)
        size = min(FLIGHTS_MAX, len(missing))
        with Crew(size, f"mmaudio {self.job.id[:8]}", partial(self._line, self._stop)) as crew:
            for window, parts in by_window.items():
                if window not in unrendered:
                    crew.put(partial(self._score_window, crew, parts))
            if unrendered:
                waiting = [part for part in missing if part.window in unrendered]
                with self._record.keeping_faults(waiting):
                    self._make_clips(
                        unrendered, waiting, lambda window: crew.put(partial(self._score_window, crew, by_window[window]))
                    )
        self._check_cancel()

    def _make_clips(self, windows: Sequence[int], waiting: Sequence[Part], finished: Callable[[int], None]) -> None:
        """Renders what the storage wants. Settings that can't be right are told of before, not after the render."""
        with self._line(self._stop) as line:
            needs_clip = line.storage.needs_clip
        if needs_clip:
            with self._render_turn():
                self._export(windows, waiting, finished)
            return
        for window in windows:
            finished(window)

    def _export(self, windows: Sequence[int], waiting: Sequence[Part], finished: Callable[[int], None]) -> None:
        request = self.job.request
        plan = request.windows
        stretches = [
            Stretch(plan[window].first, mmaudio.clip_frames(plan[window].duration, request.fps), str(self._clip(window)))
            for window in windows
        ]
        order = Order(
            blend=str(request.snapshot.blend),
            scene=request.snapshot.scene,
            whole_project=request.snapshot.whole,
            strip=request.shown,
            first=request.span.start,
            frames=request.span.frames,
            stretches=stretches,
            short_side_max=mmaudio.SHORT_SIDE_MAX,
            long_side_max=mmaudio.LONG_SIDE_MAX,
            whole_edit=request.options.source is Source.TIMELINE,
            scenes_as_they_are=request.options.scenes_as_they_are,
        )
        for part in waiting:
            self._record.change_run(part, stage=Stage.EXPORTING)
        self._record.change(progress=Progress(0, sum(stretch.frames for stretch in stretches), "frames"))
        notes = export_clips(
            order,
            self._tools.blender,
            lambda done, of: self._record.progress(done, of, "frames"),
            lambda number: finished(windows[number]),
            self._stop,
        )
        if notes:
            self._record.change(notes=tuple(dict.fromkeys((*self.job.notes, *notes))))

    def _score_window(self, crew: Crew, parts: Sequence[Part], line: Line) -> None:
        """Has a window's clip uploaded where one of these runs of it needs it, and the runs done."""
        with self._record.keeping_faults(parts):
            if self._wants_clip(parts):
                self._upload(line, parts)
            for part in parts:
                crew.put(partial(self._score_part, part))

    def _upload(self, line: Line, parts: Sequence[Part]) -> None:
        """Once for all takes, whichever of them finds first that the window's clip has to be uploaded."""
        window = parts[0].window
        with self._uploading[window]:
            run.upload(self._record, line, window, self._clip(window), parts)

    def _score_part(self, part: Part, line: Line) -> None:
        """One run. One that fails among several is ordered once more: the others would be of no use without it.

        Unless it was ordered before: a retry that names no cost orders nothing.
        """
        ordered_now = self.job.run(part).prediction_id is None
        with self._record.keeping_faults([part]):
            try:
                self._run(part, line)
            except Failure as failure:
                if failure.code != "run_failed" or len(self.job.runs) == 1 or not ordered_now:
                    raise
                self._run(part, line)

    def _run(self, part: Part, line: Line) -> None:
        under_way = self.job.run(part).prediction_id is not None
        name = f"{self.job.id}/{part.window}/{part.take}"
        flight = self._shared.limits.flight(line.account, name, line.transport.wait, under_way=under_way)
        with flight as turn, self._expected_call(part) as call:
            run.order(self._record, line, part, turn, lambda: self._upload(line, [part]), call=call)
            output_url = run.output_of(self._record, line, part, call)
        result = self._folder / f"result-{part.window:03}-{part.take + 1}.mp4"
        run.fetch(self._record, line, part, output_url, result)

    @contextmanager
    def _expected_call(self, part: Part) -> Generator[Call | None]:
        """The service's call for a run that is still to be ordered; None where none will come, and it is polled as ever."""
        if self._tools.webhook is None or self.job.run(part).ordered is not None:
            yield None
            return
        try:
            call = self._tools.webhook.expect()
        except Failure as failure:
            log.warning("%s", failure.message)
            self._webhook_note = f"{failure.message} The result was asked for by polling. {failure.hint}"
            yield None
            return
        with call or nullcontext():
            yield call

    def _join_takes(self) -> list[Part]:
        """Makes each take whose runs are all there one file; returns the runs whose results are to be fetched again."""
        request = self.job.request
        spoilt: list[Part] = []
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
                part = Part(failure.piece, number)
                if part not in self._fetched_again:
                    # It may have been spoilt on its way here.
                    self._fetched_again.add(part)
                    spoilt.append(part)
                    continue
                self._record.forget_run(part)
                error = JobError.of(failure, request.strip, self.job.name_of(part))
                self._record.change_run(part, stage=Stage.FAILED, error=error)
                continue
            self._record.change_take(number, file=target, note=self._note(made.missing))
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
        if self.job.in_storage:
            with self._line(threading.Event()) as line:
                if self.job.stage is Stage.CANCELLED:
                    run.cancel_runs(self._record, line)
                unread = run.unread_by_retry(self.job) if self._stop.tried_again else self.job.unread
                run.delete_clips(self._record, line, self.job.in_storage if forgotten else unread)
        complete = self.job.stage in (Stage.PLACING, Stage.DONE) and self.job.error is None
        # A retry that waits uploads the clip from there: the edit that it was rendered from may be gone.
        if complete or not (self.job.paid or self._stop.tried_again):
            self._tools.clear(self.job.id)

    @contextmanager
    def _render_turn(self) -> Generator[None]:
        while not self._shared.exports.acquire(timeout=0.1):
            self._check_cancel()
        try:
            self._check_cancel()
            yield
        finally:
            self._shared.exports.release()

    def _wants_clip(self, parts: Sequence[Part]) -> bool:
        return any(self.job.wants_clip(part) for part in parts)

    def _is_missing(self, part: Part) -> bool:
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
