# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of one run of the model, and of the progress of a job. No bpy."""

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...failure import Failure, readable


class Stage(enum.StrEnum):
    """Stage of a job, or of one of its runs. The order is that in which they are reached."""

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


@dataclass(frozen=True)
class Progress:
    """Progress within a stage."""

    done: float
    total: float
    """0 if unknown."""
    unit: str
    """Unit of both: "frames", "bytes", "seconds" or "runs"."""

    @property
    def fraction(self) -> float:
        return min(self.done / self.total, 1.0) if self.total else 0.0


@dataclass(frozen=True)
class JobError:
    """A Failure as it is kept with its job or run."""

    code: str
    message: str
    """Names the strip."""
    hint: str

    @classmethod
    def of(cls, failure: Failure, strip: str, run: str = "") -> "JobError":
        """Return the error with the strip's name before the message; `run` names one of several runs, see `Job.run_name`."""
        where = f"“{readable(strip)}”"
        if run:
            where += f" ({run})"
        return cls(failure.code, f"{where}: {failure.message}", failure.hint)


class RunIndex(NamedTuple):
    """Which of a job's runs, by the numbers of its window and its take, from 0."""

    window: int
    take: int


@dataclass(frozen=True)
class Run:
    """One run of the model: the sound of a take for one window."""

    stage: Stage = Stage.QUEUED
    requested_at: float | None = None
    """Time of the create request, in seconds since the epoch. From then on the run may exist, and may be billed."""
    account: str = ""
    """Account that it was requested with, see `connections.account_of`; empty if not recorded."""
    confirmed_ended: bool = False
    """Whether it is certain that the run has ended and no longer reads its clip."""
    video: str = field(default="", repr=False)
    """URL of the clip that it was requested with. The run is found by it until its id is known."""
    prediction_id: str | None = None
    superseded_ids: tuple[str, ...] = ()
    """Ids of earlier runs for this window and take that gave no result."""
    cost: float | None = None
    """In US dollars, None if unknown."""
    result: Path | None = None
    """The downloaded mp4, in the job's work folder."""
    error: JobError | None = None

    @property
    def may_be_under_way(self) -> bool:
        """Whether the run may exist at the service and still read its clip."""
        return self.requested_at is not None and not self.confirmed_ended

    @property
    def may_read_clip(self) -> bool:
        """Whether the run failed here, but may continue at the service."""
        return self.stage is Stage.FAILED and self.may_be_under_way
