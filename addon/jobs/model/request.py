# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for when the button is pressed. No bpy."""

import enum
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ...service.eachlabs import mmaudio
from ...service.eachlabs.mmaudio import Settings, Window

TAKES_MAX = 8


class Source(enum.StrEnum):
    """What is scored: the strip alone, or the whole edit as it is seen in the strip's range."""

    STRIP = "strip"
    TIMELINE = "timeline"


@dataclass(frozen=True)
class Span:
    """The frames that a strip shows: from its left handle up to, not including, its right handle."""

    start: int
    end: int

    @property
    def frames(self) -> int:
        return self.end - self.start

    def moved(self, frames: int) -> "Span":
        return Span(self.start + frames, self.end + frames)

    def common(self, other: "Span") -> "Span":
        """What lies in both; of no frames where nothing does."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.end, other.end)))

    def without(self, other: "Span") -> list["Span"]:
        """What is left where the other takes its frames away: none, one or two."""
        taken = self.common(other)
        rest = (Span(self.start, taken.start), Span(taken.end, self.end)) if taken.frames else (self,)
        return [part for part in rest if part.frames]


@dataclass(frozen=True)
class Snapshot:
    """A copy of an edit as a .blend of its own, rendered in the background. Shared by the jobs of one click.

    whole  the .blend is a copy of the whole project, of which only that scene is needed
    """

    blend: Path
    scene: str
    whole_project: bool = False


@dataclass(frozen=True)
class Options:
    """What the artist chose beside the model's settings.

    takes           how many versions, each with the next seed
    split           score a strip of more than 8 s in windows instead of one run
    above           put the sounds on channels above the clip instead of below
    mute_own_sound  mute the sound that the clip came with
    scenes_as_they_are  render 3D scenes with their own engine instead of Workbench
    clip_url        where the artist has published the strip's clip by hand: nothing is rendered then, and nothing uploaded
    """

    takes: int = 1
    source: Source = Source.STRIP
    split: bool = True
    above: bool = False
    mute_own_sound: bool = False
    scenes_as_they_are: bool = False
    clip_url: str = field(default="", repr=False)


@dataclass(frozen=True)
class Request:
    """What was asked for when the button was pressed; nothing about it changes afterwards.

    shown          the strip that is rendered: an effect on it, such as a Speed effect, or itself
    span           the frames that are seen of it
    content_start  where the strip's content began, in frames: by how far it has moved since, the sounds follow
    settings       those of the first take; each further one has the next seed
    folder         where the finished sounds go
    channel        where the strip lay
    mark           what the strip carries so that it is found again under another name
    scene_mark     what its scene carries
    offset         seconds by which the sounds come later than their picture, from -0.2 to 0.2
    """

    scene: str
    strip: str
    shown: str
    span: Span
    content_start: float
    fps: Fraction
    settings: Settings
    snapshot: Snapshot
    folder: Path
    channel: int = 2
    mark: str = ""
    scene_mark: str = ""
    offset: Fraction = Fraction(0)
    options: Options = Options()

    @property
    def seconds(self) -> Fraction:
        return self.span.frames / self.fps

    @property
    def windows(self) -> tuple[Window, ...]:
        # What lies at one address is one clip.
        split = self.options.split and not self.options.clip_url
        return mmaudio.windows(self.span.frames, self.fps, split=split)
