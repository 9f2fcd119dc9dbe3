# SPDX-License-Identifier: GPL-3.0-or-later
"""What a click would order: strips, runs and price, and which strips are left out. Main thread; changes nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import bpy

from . import costs, session
from .jobs.model.request import Options, Span
from .service.eachlabs import mmaudio
from .timeline import isolate, shots, strips
from .timeline.shots import ExcludedStrip
from .timeline.strip_types import SoundStrip, Strip

_AT_WORK = "is at work"
DONE = "has its sound"


@dataclass(frozen=True)
class Skipped:
    """A strip that a click leaves out."""

    strip: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a click would order."""

    strips: int
    windows: int
    takes: int
    seconds: float
    """Duration of the strips that get a sound."""
    as_one: bool
    """Whether the strips get one sound together."""
    skipped: Sequence[Skipped]
    run_usd: float
    """Expected price of a run, in US dollars."""

    @property
    def runs(self) -> int:
        return self.windows * self.takes

    @property
    def cost_usd(self) -> float:
        return self.runs * self.run_usd

    @property
    def text(self) -> str:
        """The plan in a line, such as "12 strips · 14 runs · about $0.08 · 3 skipped"."""
        return self.texts[0]

    @property
    def texts(self) -> Sequence[str]:
        """The plan in a line, and shorter forms of it for a narrow panel."""
        skipped, price = f"{len(self.skipped)} skipped", mmaudio.price_text(self.cost_usd)
        if not self.strips:
            return f"Nothing to generate · {skipped}", skipped
        strips, runs = _counted(self.strips, "strip"), _counted(self.runs, "run")
        tail = f" · {skipped}" if self.skipped else ""
        costs = f"{runs} · about {price}{tail}"
        return f"{strips} · {costs}", costs, f"{runs} · {price}{tail}"

    @property
    def skipped_text(self) -> str:
        """A line for each strip that is left out, with the reason."""
        return "\n".join(f"“{skipped.strip}” {skipped.reason}" for skipped in self.skipped)

    def as_json(self) -> dict[str, object]:
        """Return what `--dry-run --json` prints."""
        return {
            "strips": self.strips,
            "seconds": round(self.seconds, 3),
            "windows": self.windows,
            "runs": self.runs,
            "cost_usd": round(self.cost_usd, 6),
            "skipped": [vars(skipped) for skipped in self.skipped],
        }


def make(
    scene: bpy.types.Scene,
    chosen: Sequence[Strip],
    options: Options,
    *,
    skip_done: bool,
    excluded: Iterable[ExcludedStrip] = (),
) -> Plan:
    """Return the plan for the chosen strips. `excluded` are others in the same scope, for which no sound is generated.

    It takes no requests: handles never need another run, so the spans of the strips alone decide on the runs.
    """
    clips, skipped = to_order(chosen, options, skip_done=skip_done)
    skipped += [Skipped(other.strip, f"is {other.reason}") for other in excluded]
    as_one, fps = options.as_one and len(clips) > 1, strips.fps(scene)
    spans = [strips.span(clip) for clip in clips]
    if as_one:
        spans = [Span.over(spans)]
    windows = sum(len(mmaudio.windows(span.frames, fps, split=options.splits)) for span in spans)
    seconds = float(sum(span.frames for span in spans) / fps)
    return Plan(len(clips), windows, options.takes, seconds, as_one, skipped, costs.run_usd())


def to_order(chosen: Iterable[Strip], options: Options, *, skip_done: bool) -> tuple[list[Strip], list[Skipped]]:
    """Return the clips that get a sound, and those left out: at work, or with `skip_done` because they have their sound."""
    clips = shots.clips(chosen)
    if options.as_one and len(clips) > 1:
        is_at_work = any(set(clips) == set(together) for together in _at_work(together=True))
        whole = Span.over([strips.span(clip) for clip in clips])
        reason = _AT_WORK if is_at_work else DONE if skip_done and strips.sounds_of(clips, whole) else ""
        return ([], [Skipped(clip.name, reason) for clip in clips]) if reason else (clips, [])
    at_work = {clip for together in _at_work(together=False) for clip in together}
    done = _with_sound(clip for clip in clips if clip not in at_work) if skip_done else set[Strip]()
    skipped = [Skipped(clip.name, _AT_WORK if clip in at_work else DONE) for clip in clips if clip in at_work | done]
    return [clip for clip in clips if clip not in at_work | done], skipped


def _with_sound(clips: Iterable[Strip]) -> set[Strip]:
    """Return those of the clips that have a sound of their own."""
    known: dict[isolate.Container, dict[str, list[SoundStrip]]] = {}
    found: set[Strip] = set()
    for clip in clips:
        container = isolate.container(clip)
        if container not in known:
            known[container] = strips.sounds_by_mark(container)
        if strips.sounds_of([clip], sounds=known[container]):
            found.add(clip)
    return found


def _at_work(*, together: bool) -> list[list[Strip]]:
    """Return the clips of each job that has not ended: of those with one sound for several clips, or of the others."""
    current = session.current
    jobs = [job for job in current.runner.jobs if not job.stage.ended and current.belongs_to_open_file(job)]
    index = strips.MarkIndex()
    found = [strips.find_marked(job.request, index)[1] for job in jobs if bool(job.request.together) is together]
    return [[clip for clip in clips if clip is not None] for clips in found]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
