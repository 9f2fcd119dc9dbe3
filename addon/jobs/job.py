# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job is: values that never change; each step makes a new one, which is sent to whoever watches. No bpy."""

import enum
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ..failure import Failure
from ..service.mmaudio import Settings
from ..service.storage import Published


class Stage(enum.StrEnum):
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
class Span:
    """The frames that a strip shows: from its left handle up to, not including, its right handle."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Snapshot:
    """A copy of an edit as a small .blend of its own, rendered in the background. Shared by the jobs of one click."""

    blend: Path
    scene: str


@dataclass(frozen=True)
class Request:
    """What was asked for when the button was pressed; nothing about it changes afterwards.

    content_start  where the strip's content began, in frames: by how far it has moved since, the sound follows
    folder         where the finished sound goes
    project        the .blend that the strip is in, or empty while it isn't saved
    scenes_as_they_are  render 3D scenes with their own engine instead of Workbench
    """

    scene: str
    strip: str
    span: Span
    content_start: float
    fps: Fraction
    settings: Settings
    snapshot: Snapshot
    folder: Path
    project: str = ""
    scenes_as_they_are: bool = False

    @property
    def seconds(self) -> Fraction:
        return self.span.frames / self.fps


@dataclass(frozen=True)
class Progress:
    """How far a stage is: `done` of `total`, in frames, bytes or seconds. A total of 0 is not known yet."""

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
    def of(cls, failure: Failure, strip: str) -> "JobError":
        return cls(failure.code, f"“{strip}”: {failure.message}", failure.hint)


@dataclass(frozen=True)
class PlacedSound:
    """The sound strip that came of it; `end` is the frame of its right handle."""

    strip: str
    channel: int
    start: int
    end: int
    file: Path


@dataclass(frozen=True)
class Job:
    """One strip's way to its sound. `cost` in US dollars, None while unknown; `duration` in seconds, as it was run."""

    request: Request
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: float = field(default_factory=time.time)
    stage: Stage = Stage.QUEUED
    progress: Progress | None = None
    published: Published | None = None
    prediction_id: str | None = None
    duration: float | None = None
    cost: float | None = None
    file: Path | None = None
    note: str = ""
    sound: PlacedSound | None = None
    error: JobError | None = None

    def as_json(self) -> Mapping[str, object]:
        """The job as `--json` prints it."""
        sound, error = self.sound, self.error
        return {
            "scene": self.request.scene,
            "strip": self.request.strip,
            "state": str(self.stage),
            "seed": self.request.settings.seed,
            "prediction_ids": [self.prediction_id] if self.prediction_id else [],
            "cost_usd": self.cost,
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
