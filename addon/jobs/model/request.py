# SPDX-License-Identifier: GPL-3.0-or-later
"""Request: what the artist asks for with one click. No bpy."""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from ...service.eachlabs import mmaudio
from ...service.eachlabs.mmaudio import Settings, Window

TAKES_MAX = 8
CHANNELS_MAX = 128
"""Number of channels of an edit in Blender."""
HANDLE_SECONDS = 0.5
HANDLE_SECONDS_MAX = 2.0


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

    @classmethod
    def over(cls, spans: Sequence["Span"]) -> "Span":
        """Return the span from the first start to the last end."""
        return cls(min(span.start for span in spans), max(span.end for span in spans))

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
    as_one: bool = False
    """Whether all strips get one sound over their whole range, scored from the timeline."""
    handle_seconds: float = HANDLE_SECONDS
    """How far the sound goes on beyond both ends of its clip at most, hidden behind the handles of its strip."""
    above: bool = False
    """Whether sounds are placed above the pictures instead of below."""
    sound_channel: int = 0
    """Channel for the sounds; 0 for the one where the edit's generated sounds are, or else the nearest free one."""
    mute_own_sound: bool = False
    """Whether the sound that the clip came with is muted."""
    own_sound_db: float = 0.0
    """Decibels by which the sound that the clip came with is changed; negative to lower it."""
    lufs: float | None = None
    """Integrated loudness of each take in LUFS, None to leave it as the model made it."""
    scenes_as_they_are: bool = False
    """Whether 3D scenes are rendered with their own engine instead of Workbench."""
    clip_url: str = field(default="", repr=False)
    """Public URL of a clip that the artist has published; then nothing is rendered or uploaded."""

    @property
    def splits(self) -> bool:
        """Whether long strips are split. A clip URL is that of one clip."""
        return self.split and not self.clip_url


@dataclass(frozen=True)
class ClipPosition:
    """A strip as it is at the time of the click, by which it is found again, and its movement since then."""

    strip: str
    mark: str
    """Mark on the strip, by which it is found under another name."""
    span: Span
    """Frames in which the strip is visible."""
    content_start: float
    """Start frame of the strip's content. Sounds are moved as far as the content has been moved since."""


@dataclass(frozen=True)
class Track:
    """Channels for the sounds of one click."""

    channel: int = 0
    """Free for all of them, 0 if there is none."""
    lowest: int = 0
    """Lowest channel of the click's pictures. No sound is placed between them."""
    highest: int = 0
    """Highest channel of the click's pictures."""


@dataclass(frozen=True)
class Request:
    """What the artist asks for of one strip, or of several as one, as the edit is at the time of the click."""

    scene: str
    strip: str
    shown: str
    """Name of the strip that is rendered: an effect on the strip, such as a Speed effect, or the strip itself."""
    span: Span
    """Frames in which the strip is visible, or the range of all strips that get one sound."""
    content_start: float
    """Start frame of the strip's content. Sounds are moved as far as the content has been moved since."""
    fps: Fraction
    settings: Settings
    """Settings of the first take; each further one has the next seed."""
    snapshot: Snapshot
    folder: Path
    """Results folder."""
    mark: str = ""
    """Mark on the strip, by which it is found under another name."""
    scene_mark: str = ""
    """Mark on its scene."""
    offset: Fraction = Fraction(0)
    """Delay of the sound relative to the picture, in seconds, from -0.2 to 0.2."""
    options: Options = Options()
    lead: int = 0
    """Frames of the clip's picture before its span that are rendered and scored with it."""
    tail: int = 0
    """Frames of the clip's picture after its span that are rendered and scored with it."""
    track: Track = Track()
    together: tuple[ClipPosition, ...] = ()
    """The strips that get one sound, from left to right; empty if `strip` gets a sound of its own."""

    @property
    def name(self) -> str:
        """Return what the artist calls it: the strip, or the first one of several."""
        others = len(self.together) - 1
        return f"{self.strip} and {others} more" if others > 0 else self.strip

    @property
    def scored(self) -> Span:
        """Frames that are rendered and scored."""
        return Span(self.span.start - self.lead, self.span.end + self.tail)

    @property
    def sound_frames(self) -> int:
        """Frames of the sound's file. It begins with the first frame that is scored.

        Its end is up to the handle's length beyond the span, as far as the last run goes on over a frame that is held.
        """
        if self.options.clip_url:
            return self.span.frames
        last = self.windows[-1]
        surplus = math.floor(last.first + last.duration * self.fps)
        wanted = self.lead + self.span.frames + self._handle_frames
        return max(self.scored.frames, min(surplus, wanted))

    @property
    def sound_seconds(self) -> Fraction:
        """Duration of the sound's file."""
        return self.sound_frames / self.fps

    @property
    def windows(self) -> tuple[Window, ...]:
        return mmaudio.windows(self.scored.frames, self.fps, split=self.options.splits)

    @property
    def _handle_frames(self) -> int:
        return math.floor(Fraction(self.options.handle_seconds).limit_denominator(1000) * self.fps)

    def with_handles(self, before: int, after: int) -> "Request":
        """Return the request with as much of the picture beyond its span as the handles have, and no run more.

        `before` and `after` are the numbers of frames that the clip has there.
        """
        before, after = min(before, self._handle_frames), min(after, self._handle_frames)
        spare = mmaudio.frames_max(self.span.frames, self.fps, split=self.options.splits) - self.span.frames
        lead = min(before, max(spare // 2, spare - after))
        return replace(self, lead=lead, tail=min(after, spare - lead))

    def with_seed(self, seed: int) -> "Request":
        return replace(self, settings=replace(self.settings, seed=seed))

    @property
    def whole_edit(self) -> bool:
        """Whether the edit is rendered as shown, instead of the strip alone."""
        return self.options.source is Source.TIMELINE or bool(self.together)

    @property
    def positions(self) -> tuple[ClipPosition, ...]:
        """The strips that get the sound."""
        return self.together or (ClipPosition(self.strip, self.mark, self.span, self.content_start),)
