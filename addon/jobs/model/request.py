# SPDX-License-Identifier: GPL-3.0-or-later
"""Request: what the artist asks for with one click. No bpy."""

import enum
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ...service.eachlabs import mmaudio
from ...service.eachlabs.mmaudio import Settings, Window

TAKES_MAX = 8


class Source(enum.StrEnum):
    """What the model looks at: the strip alone, or the whole edit in the strip's range."""

    STRIP = "strip"
    TIMELINE = "timeline"


@dataclass(frozen=True)
class Span:
    """A range of timeline frames, such as that of a strip: from its left handle up to, not including, its right handle."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        return self.end - self.start

    def moved(self, frames: int) -> "Span":
        return Span(self.start + frames, self.end + frames)

    def common(self, other: "Span") -> "Span":
        """Return the frames in both spans; without frames if they don't overlap."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.end, other.end)))

    def without(self, other: "Span") -> list["Span"]:
        """Return the parts of this span outside the other: none, one or two."""
        taken = self.common(other)
        rest = (Span(self.start, taken.start), Span(taken.end, self.end)) if taken.frames else (self,)
        return [part for part in rest if part.frames]


@dataclass(frozen=True)
class Snapshot:
    """A copy of an edit as a .blend of its own, for the background render. Shared by the jobs of one click."""

    blend: Path
    scene: str
    """Name of the scene with the edit; empty until the copy is written."""
    whole_project: bool = False
    """Whether the .blend is a copy of the whole project, of which only that scene is needed."""


@dataclass(frozen=True)
class Options:
    """Options of a request other than the model's settings."""

    takes: int = 1
    """Number of versions, each with the next seed."""
    source: Source = Source.STRIP
    split: bool = True
    """Whether a strip of more than 8 s is split into windows instead of one run."""
    above: bool = False
    """Whether sounds are placed on channels above the clip instead of below."""
    mute_own_sound: bool = False
    """Whether the sound that the clip came with is muted."""
    scenes_as_they_are: bool = False
    """Whether 3D scenes are rendered with their own engine instead of Workbench."""
    clip_url: str = field(default="", repr=False)
    """Public URL of a clip that the artist has published; then nothing is rendered or uploaded."""


@dataclass(frozen=True)
class Request:
    """What the artist asks for of one strip, as the edit is at the time of the click."""

    scene: str
    strip: str
    shown: str
    """Name of the strip that is rendered: an effect on the strip, such as a Speed effect, or the strip itself."""
    span: Span
    """Frames in which the strip is visible."""
    content_start: float
    """Start frame of the strip's content. Sounds are moved as far as the content has been moved since."""
    fps: Fraction
    settings: Settings
    """Settings of the first take; each further one has the next seed."""
    snapshot: Snapshot
    folder: Path
    """Results folder."""
    channel: int = 2
    mark: str = ""
    """Mark on the strip, by which it is found under another name."""
    scene_mark: str = ""
    """Mark on its scene."""
    offset: Fraction = Fraction(0)
    """Delay of the sound relative to the picture, in seconds, from -0.2 to 0.2."""
    options: Options = Options()

    @property
    def seconds(self) -> Fraction:
        return self.span.frames / self.fps

    @property
    def windows(self) -> tuple[Window, ...]:
        # A clip URL is that of one clip.
        split = self.options.split and not self.options.clip_url
        return mmaudio.windows(self.span.frames, self.fps, split=split)
