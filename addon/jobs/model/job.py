# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job is: values that never change; each step makes a new one, which is sent to whoever watches. No bpy.

A job gives one strip its sound, in one or several takes. Each take is scored by one run of the model, or, where the strip
is long, by one run for each of its windows.
"""

import enum
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ...failure import Failure, readable
from ...service.eachlabs import mmaudio
from ...service.eachlabs.mmaudio import Settings
from ...service.storage import Published
from .request import Request


class Stage(enum.StrEnum):
    """How far a job is, or one of its runs; in this order."""

    QUEUED = "queued"
    EXPORTING = "exporting"
    UPLOADING = "uploading"
    PREDICTING = "predicting"
    DOWNLOADING = "downloading"
    PLACING = "placing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (Stage.DONE, Stage.FAILED, Stage.CANCELLED)


_ORDER = list(Stage)


@dataclass(frozen=True)
class Progress:
    """How far a stage is: `done` of `total`, in frames, bytes, seconds or runs. A total of 0 is not known yet."""

    done: float
    total: float
    unit: str

    @property
    def fraction(self) -> float:
        return min(self.done / self.total, 1.0) if self.total else 0.0


@dataclass(frozen=True)
class JobError:
    """A Failure as it is kept with its job; `message` names the strip."""

    code: str
    message: str
    hint: str

    @classmethod
    def of(cls, failure: Failure, strip: str, part: str = "") -> "JobError":
        """`part` says which of several runs it befell."""
        where = f"“{readable(strip)}”"
        if part:
            where += f" ({part})"
        return cls(failure.code, f"{where}: {failure.message}", failure.hint)


@dataclass(frozen=True)
class PlacedSound:
    """The sound strip that came of it; `end` is the frame of its right handle."""

    strip: str
    channel: int
    start: int
    end: int
    file: Path


class RunIndex(NamedTuple):
    """Which of a job's runs: the numbers of its window and its take, from 0."""

    window: int
    take: int


@dataclass(frozen=True)
class Run:
    """One run of the model: a take's sound for one window.

    ordered        when its creation was first asked for, in seconds since the epoch: from then on it may exist and cost
    account        the key and service address that it was ordered with, see `limits.account_of`; empty if not recorded
    over           whether it is certain that it ended, and reads its video no more
    video          the address that it was ordered with, by which it is found until its number is known
    prediction_id  its number at the service, once that is known
    spent          numbers of earlier runs of this part that brought nothing
    cost           US dollars, None while unknown
    result         the mp4 that came of it, in the job's work folder
    """

    stage: Stage = Stage.QUEUED
    requested_at: float | None = None
    account: str = ""
    confirmed_ended: bool = False
    video: str = field(default="", repr=False)
    prediction_id: str | None = None
    superseded_ids: tuple[str, ...] = ()
    cost: float | None = None
    result: Path | None = None
    error: JobError | None = None

    @property
    def may_read_clip(self) -> bool:
        """Whether it failed on our side, and may go on at the service."""
        return self.stage is Stage.FAILED and self.requested_at is not None and not self.confirmed_ended


@dataclass(frozen=True)
class Take:
    """One version of the sound: a run for each window, joined to one file, placed as one strip."""

    settings: Settings
    runs: tuple[Run, ...]
    file: Path | None = None
    note: str = ""
    sound: PlacedSound | None = None
    error: JobError | None = None

    @property
    def cost(self) -> float | None:
        """US dollars, as far as they are known."""
        known = [run.cost for run in self.runs if run.cost is not None]
        return sum(known) if known else None

    @property
    def prediction_ids(self) -> list[str]:
        return [run.prediction_id for run in self.runs if run.prediction_id]


@dataclass(frozen=True)
class Job:
    """One strip's way to its sound.

    project  the .blend that the strip is in, or empty while it isn't saved; it changes when the file gets another name
    clips    its uploads, one a window, None where there is none just now
    litter   uploads that no run to come reads: to be deleted when the job has ended
    notes    what the artist should know of its clips, such as images that were missing
    """

    request: Request
    project: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: float = field(default_factory=time.time)
    stage: Stage = Stage.QUEUED
    progress: Progress | None = None
    clips: tuple[Published | None, ...] = ()
    stale_uploads: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    takes: tuple[Take, ...] = ()
    error: JobError | None = None

    @classmethod
    def new(cls, request: Request, project: str = "") -> "Job":
        runs = tuple(Run() for _ in request.windows)
        takes = tuple(Take(request.settings.for_take(number), runs) for number in range(request.options.takes))
        return cls(request, project, clips=(None,) * len(runs), takes=takes)

    @property
    def runs(self) -> list[Run]:
        return [run for take in self.takes for run in take.runs]

    @property
    def cost(self) -> float | None:
        """US dollars, as far as they are known."""
        known = [take.cost for take in self.takes if take.cost is not None]
        return sum(known) if known else None

    @property
    def paid(self) -> bool:
        """Whether there is a run, or may be, or a result: something that a retry must not order again."""
        return any(run.requested_at is not None or run.prediction_id or run.result for run in self.runs) or self.finished

    @property
    def finished(self) -> bool:
        """Whether any take's sound is on disk."""
        return any(take.file is not None for take in self.takes)

    @property
    def to_place(self) -> list[int]:
        """The numbers of the takes, from 0, whose sound waits for its place in the edit."""
        return [number for number, take in enumerate(self.takes) if take.file is not None and take.sound is None]

    def retry_cost(self, *, clearing_up: bool = False) -> float:
        """Expected price, in US dollars, of the runs that a retry orders or may have to order; 0 if it only fetches.

        `clearing_up` says that a thread still cancels the runs of this job: they are gone when the retry begins.
        """
        runs = [run for take in self.takes if take.file is None for run in take.runs if run.result is None]
        lost = clearing_up and self.stage is Stage.CANCELLED
        requested_at = [run for run in runs if run.prediction_id is None or (lost and run.stage is Stage.PREDICTING)]
        return len(requested_at) * mmaudio.EXPECTED_RUN_USD

    @property
    def fault(self) -> JobError | None:
        """What went wrong first with a run, where the job has others that went well."""
        return next((run.error for run in self.runs if run.error is not None), None)

    @property
    def note(self) -> str:
        """What the artist should know of a result, empty as a rule."""
        return " ".join(dict.fromkeys(take.note for take in self.takes if take.note))

    @property
    def parts(self) -> list[RunIndex]:
        """All runs' places, window by window."""
        return [RunIndex(window, take) for window in range(len(self.clips)) for take in range(len(self.takes))]

    def run(self, part: RunIndex) -> Run:
        return self.takes[part.take].runs[part.window]

    def with_run(self, part: RunIndex, **changes: Any) -> "Job":
        runs = self.takes[part.take].runs
        run = replace(runs[part.window], **changes)
        return self.with_take(part.take, runs=(*runs[: part.window], run, *runs[part.window + 1 :]))

    def with_take(self, number: int, **changes: Any) -> "Job":
        take = replace(self.takes[number], **changes)
        return replace(self, takes=(*self.takes[:number], take, *self.takes[number + 1 :]))

    def wants_clip(self, part: RunIndex) -> bool:
        """Whether the run is still to be ordered, which needs its clip."""
        run = self.run(part)
        return run.result is None and run.prediction_id is None

    def name_of(self, part: RunIndex) -> str:
        """Which run it is, in words, where the job has several; else empty."""
        words: list[str] = []
        if len(self.takes) > 1:
            words.append(f"take {part.take + 1}")
        if len(self.clips) > 1:
            window = self.request.windows[part.window]
            start = float(window.first / self.request.fps)
            words.append(f"{start:.0f} to {start + float(window.duration):.0f} s")
        return ", ".join(words)

    @property
    def uploads(self) -> tuple[Published, ...]:
        """All its uploads that have not been deleted yet."""
        return (*self.stale_uploads, *(clip for clip in self.clips if clip is not None))

    @property
    def deletable_uploads(self) -> tuple[Published, ...]:
        """Its uploads that no run reads any more, once the job has ended.

        After a failure that isn't the run's own, the run goes on and may still read its clip.
        """
        read = {part.window for part in self.parts if self.run(part).may_read_clip}
        return (
            *self.stale_uploads,
            *(clip for window, clip in enumerate(self.clips) if clip is not None and window not in read),
        )

    def with_clip(self, window: int, published: Published | None) -> "Job":
        return replace(self, clips=(*self.clips[:window], published, *self.clips[window + 1 :]))

    def least_advanced(self) -> Stage:
        """The stage of the run that is furthest from its end."""
        return min((run.stage for run in self.runs if not run.stage.ended), key=_ORDER.index, default=Stage.DOWNLOADING)

    def as_json(self) -> list[dict[str, object]]:
        """The job as `--json` prints it: an entry a take."""
        return [self._entry(take) for take in self.takes]

    def _entry(self, take: Take) -> dict[str, object]:
        state = Stage.DONE if take.sound is not None else self.stage
        error = None if take.sound is not None else take.error or self.error
        sound = take.sound
        return {
            "scene": self.request.scene,
            "strip": self.request.strip,
            "state": str(state),
            "seed": take.settings.seed,
            "prediction_ids": take.prediction_ids,
            "cost_usd": take.cost,
            "sounds": []
            if sound is None
            else [
                {
                    "strip": sound.strip,
                    "channel": sound.channel,
                    "frame_start": sound.start,
                    "frame_end": sound.end,
                    "file": str(sound.file),
                }
            ],
            "error": None if error is None else {"code": error.code, "message": error.message, "hint": error.hint},
        }
