# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that each click is within a millisecond of its flash, for each kind of strip and frame rate; one edit per rate."""

import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests import footage
from tests.standin.client import StandIn

from . import edits

pytestmark = pytest.mark.version_dependent

LIMIT_MS = 1.0
SIZE = (320, 180)
CHANNEL = 3
GAP_SECONDS = 0.4
"""Gap between two strips, so that no click can be mistaken for one of the next strip."""
FLASH_FRAMES = 5
"""Long enough to be visible when footage at 60 fps is shown at 23.976 fps and 1.7 times its speed."""
LONG_SECONDS = 7.5
SHORT_SECONDS = 1.5
SHORT_FLASHES = (0.15, 0.5, 0.8)
SLOWED, SPED = 60.0, 170.0


@dataclass(frozen=True)
class Rate:
    """Frame rate of a scene, as Blender stores it, and the variations of the edit with this rate."""

    name: str
    fps: int
    base: float
    other: str
    """Rate of the footage with another frame rate."""
    first: int
    """The scene's first frame; below eight minutes, since later Blender's times in a mixdown are too coarse."""
    retimed: str
    """Rate of the footage of the retimed strips and the reversed strip: the "same" or the "other"."""
    nested: str
    """Name of the case whose strip is put into a meta strip."""

    @property
    def exact(self) -> Fraction:
        return Fraction(self.fps * 1000, round(self.base * 1000))


RATES = [
    Rate("23.976", 24, 1.001, "25", 1, "same", "other rate"),
    Rate("24", 24, 1.0, "60000/1001", 1001, "other", "slowed"),
    Rate("25", 25, 1.0, "24000/1001", 0, "same", "sped"),
    Rate("29.97", 30, 1.001, "30", 14000, "other", "reversed"),
    Rate("30", 30, 1.0, "30000/1001", 101, "other", "other rate"),
    Rate("50", 50, 1.0, "60", 20000, "same", "slowed"),
    Rate("59.94", 60, 1.001, "24", 2, "other", "sped"),
    Rate("60", 60, 1.0, "50", 3600, "same", "reversed"),
]


@dataclass
class Cut:
    """Edit to which one case after another is appended."""

    addon: Any
    folder: Path
    rate: Rate
    end: int
    cases: dict[str, Any] = field(default_factory=dict)
    """The strip of each case."""
    shown: dict[str, range] = field(default_factory=dict)
    """The frames of each case."""

    def flashing(self, which: str) -> Path:
        """Return short footage with flashes, at the "same" or the "other" rate."""
        target = self.folder / f"{which}.mp4"
        if not target.exists():
            fps = str(self.rate.exact) if which == "same" else self.rate.other
            frames = round(SHORT_SECONDS * Fraction(fps))
            starts = [int(frames * part) for part in SHORT_FLASHES]
            footage.flashes(target, fps=fps, frames=frames, at=_flashes(starts), size=SIZE)
        return target

    def movie(self, file: Path, *, adjusted: bool = False) -> Any:
        """Append the movie; `adjusted`, it plays at its own speed, otherwise one frame of it per frame of the scene."""
        if adjusted:
            return self._append(edits.add_movie(file, channel=CHANNEL, start=self.end))
        new: Any = edits.edit().strips.new_movie
        return self._append(new(name="clip", filepath=str(file), channel=CHANNEL, frame_start=self.end))

    def retimed(self, which: str, percent: float) -> Any:
        strip = self.movie(self.flashing(which), adjusted=which == "other")
        edits.retime(self.addon, strip, percent=percent)
        return self._append(strip)

    def case(self, name: str, strip: Any) -> None:
        """Register the strip as a case, and append a gap."""
        span = range(self.addon.compat.left_handle(strip), self.addon.compat.right_handle(strip))
        self.cases[name], self.shown[name] = strip, span
        self.end += round(GAP_SECONDS * self.rate.exact)

    def _append(self, strip: Any) -> Any:
        self.end = max(self.end, self.addon.compat.right_handle(strip))
        return strip


def _flashes(starts: list[int]) -> list[int]:
    return [start + frame for start in starts for frame in range(FLASH_FRAMES)]


def trimmed(cut: Cut) -> Any:
    """Append seven seconds, trimmed so that the second frame, after the sound's fade, and the last frame flash."""
    fps = cut.rate.exact
    starts = [round(seconds * fps) for seconds in (0.3, 1.1, 2.3, 3.7, 5.2, 6.6, 7.2)]
    file = cut.folder / "long.mp4"
    footage.flashes(file, fps=str(fps), frames=round(LONG_SECONDS * fps), at=_flashes(starts), size=SIZE)
    strip = cut.movie(file)
    left = cut.addon.compat.left_handle(strip)
    cut.addon.compat.set_handles(strip, left + starts[0] - 1, left + starts[-1] + 1)
    return strip


def reversed_movie(cut: Cut) -> Any:
    strip = cut.movie(cut.flashing(cut.rate.retimed))
    strip.use_reverse_frames = True
    return strip


def meta(cut: Cut) -> Any:
    """Append a trimmed meta strip of combinations that the other cases lack, mainly with footage at the other rate."""
    which = "same" if cut.rate.retimed == "other" else "other"
    parts = [
        cut.retimed(which, SLOWED),
        cut.retimed(which, SPED),
        cut.movie(cut.flashing("other")),
        cut.movie(cut.flashing(which), adjusted=True),
    ]
    parts[-1].use_reverse_frames = True
    strip = edits.make_meta(*parts)
    compat = cut.addon.compat
    compat.set_handles(strip, compat.left_handle(strip) + 3, compat.right_handle(strip) - 2)
    return strip


# The retimed ones first, as `edits.retime` requires.
CASES: dict[str, Callable[[Cut], Any]] = {
    "slowed": lambda cut: cut.retimed(cut.rate.retimed, SLOWED),
    "sped": lambda cut: cut.retimed(cut.rate.retimed, SPED),
    "meta": meta,
    "reversed": reversed_movie,
    "other rate": lambda cut: cut.movie(cut.flashing("other"), adjusted=True),
    "trimmed": trimmed,
}
FLASHES = {"trimmed": 7, "other rate": 3, "slowed": 3, "sped": 3, "reversed": 3, "meta": 12}


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.name)
def test_each_click_is_in_sync_with_its_flash(
    *, rate: Rate, addon: Any, standin: StandIn, project: Path, record_property: Callable[[str, object], None]
) -> None:
    render = bpy.context.scene.render
    render.fps, render.fps_base = rate.fps, rate.base
    render.resolution_x, render.resolution_y = SIZE
    cut = Cut(addon, project, rate, rate.first + 5)
    for name, case in CASES.items():
        cut.case(name, case(cut))
    edits.make_meta(cut.cases[rate.nested])

    jobs = edits.generate(addon, *cut.cases.values())

    assert [job.error for job in jobs] == [None] * len(jobs)
    for name, job in zip(cut.cases, jobs, strict=True):
        check_handles_and_samples(cut, name, job)
    worst = worst_offsets(cut)
    offsets = ", ".join(f"{name} {offset:+.3f}" for name, offset in worst.items())
    record_property(f"{rate.name}, other footage {rate.other}, worst offsets in ms", offsets)
    assert max(map(abs, worst.values())) <= LIMIT_MS


def check_handles_and_samples(cut: Cut, name: str, job: Any) -> None:
    sound = edits.edit().strips_all[job.takes[0].sound.strip]
    span = cut.shown[name]
    assert (cut.addon.compat.left_handle(sound), cut.addon.compat.right_handle(sound)) == (span.start, span.stop), name
    assert (sound.parent_meta() is not None) == (name == cut.rate.nested), name
    with wave.open(str(job.takes[0].file)) as file:
        assert file.getnframes() == round(job.request.sound_seconds * file.getframerate()), name
    assert job.request.sound_frames >= job.request.lead + len(span), name
    if name == "trimmed":
        # All that the clip has there, less than half a second. The other strips show all that they have.
        before, after = (
            round(0.3 * cut.rate.exact) - 1,
            round(LONG_SECONDS * cut.rate.exact) - round(7.2 * cut.rate.exact) - 1,
        )
        assert (job.request.lead, job.request.tail) == (before, after)


def worst_offsets(cut: Cut) -> dict[str, float]:
    """Return the largest delay of a click in each case, in milliseconds; assert that each flash has one click."""
    first, fps = cut.rate.first, cut.rate.exact
    flashes = edits.flash_frames(cut.folder, first, cut.end)
    clicks = edits.click_times(cut.folder)
    worst: dict[str, float] = {}
    for name, span in cut.shown.items():
        seen = [float((frame - first) / fps) for frame in flashes if frame in span]
        start, end = (float((frame - first) / fps) for frame in (span.start, span.stop))
        heard = [time for time in clicks if start - GAP_SECONDS / 2 < time < end + GAP_SECONDS / 2]
        assert len(heard) == len(seen) == FLASHES[name], (name, heard, seen)
        offsets = [(click - flash) * 1000 for click, flash in zip(heard, seen, strict=True)]
        worst[name] = max(offsets, key=abs)
    assert len(clicks) == len(flashes) == sum(FLASHES.values())
    return worst
