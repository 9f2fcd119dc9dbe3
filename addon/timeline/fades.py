# SPDX-License-Identifier: GPL-3.0-or-later
"""Fades and volume of sound strips. Main thread; the caller pushes the undo step.

Lengths and positions are timeline frames. A function that raises Failure has changed nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import bpy

from ..failure import Failure
from . import compat, fade_plan, isolate, volume
from .errors import NoCut, NoHandles, SameSound
from .fade_plan import EXTENSION_PROPERTY, CrossFade, Move
from .strip_types import SoundStrip


def cross_fade(
    sounds: Iterable[SoundStrip], frames: int, on_skipped: Callable[[Failure], None] = lambda failure: None
) -> int:
    """Fade sounds that meet over each other with equal power. Return the number of cuts that are faded.

    A fade is centered on its cut and `frames` long. For that, both sounds are extended beyond the cut, as far as their
    content goes, and put on two channels. Volume keyframes within the fade are replaced; it starts and ends with the volume
    that the sounds have there. A repeated call replaces the earlier fade.

    A cut that can't be faded is left out, and the reason passed to `on_skipped`. If that leaves no cut, raise it. Raise
    Failure too if no sounds meet, or if a sound has no free channel.
    """
    fades = fade_plan.cross_fades(fade_plan.neighbours(list(sounds)), frames)
    if not fades:
        raise NoCut("None of the selected sounds starts where another one ends.")
    failures = {fade: failure for fade in fades if (failure := _failure(fade)) is not None}
    possible = [fade for fade in fades if fade not in failures]
    if not possible:
        raise next(iter(failures.values()))
    moves = fade_plan.moves(possible)
    # Read before anything moves.
    keys = [_Keys.of(fade) for fade in possible]
    _move(moves)
    for fade, of_fade in zip(possible, keys, strict=True):
        of_fade.insert(fade)
        _remember_cut(fade)
    for failure in failures.values():
        on_skipped(failure)
    return len(possible)


def _failure(fade: CrossFade) -> Failure | None:
    """Return why the fade is not possible, or None if it is."""
    try:
        volume.check(fade.before)
        volume.check(fade.after)
    except Failure as failure:
        return failure
    names = f"“{fade.before.name}” and “{fade.after.name}”"
    if _is_same_sound(fade.before, fade.after):
        return SameSound(f"{names} are parts of one sound, which plays on at their cut.")
    if fade.start >= fade.end:
        return NoHandles(f"{names} have no sound beyond their cut to fade with.")
    return None


def _is_same_sound(before: SoundStrip, after: SoundStrip) -> bool:
    """Return whether both play the same samples at the same time. These would add up to twice the power."""
    if before.sound is None or after.sound is None or compat.content_start(before) != compat.content_start(after):
        return False
    return bpy.path.abspath(before.sound.filepath) == bpy.path.abspath(after.sound.filepath)


def _move(moves: Sequence[Move]) -> None:
    """Set handles and channels. At no time do two strips overlap, which would make Blender shift one of them."""
    for move in moves:
        left, right = isolate.frame_range(move.sound)
        compat.set_handles(move.sound, max(left, move.span.start), min(right, move.span.end))
    for move in moves:
        if move.sound.channel != move.channel:
            move.sound.channel = move.channel
    for move in moves:
        compat.set_handles(move.sound, move.span.start, move.span.end)


def _remember_cut(fade: CrossFade) -> None:
    before, after = fade.before, fade.after
    before[EXTENSION_PROPERTY] = (before.get(EXTENSION_PROPERTY, (0, 0))[0], fade.end - fade.cut)
    after[EXTENSION_PROPERTY] = (fade.cut - fade.start, after.get(EXTENSION_PROPERTY, (0, 0))[1])


@dataclass(frozen=True)
class _Keys:
    """Volumes at the ends of a fade, and the frames in which it replaces keyframes, both ends included."""

    volume_before: float
    volume_after: float
    replaced_before: tuple[int, int]
    replaced_after: tuple[int, int]

    @classmethod
    def of(cls, fade: CrossFade) -> "_Keys":
        """Read them from sounds that are not moved yet.

        Keyframes of an earlier, longer fade are replaced too, as are those of faded edges.
        """
        start, end = compat.left_handle(fade.after), compat.right_handle(fade.before)
        first, last = min(start, end, fade.start), max(start, end, fade.end)
        before, after = (min(first, end - 1), last), (first, max(last, _fade_in_end(start)))
        return cls(volume.at(fade.before, before[0]), volume.at(fade.after, after[1]), before, after)

    def insert(self, fade: CrossFade) -> None:
        full_before, full_after = (fade.start, self.volume_before), (fade.end, self.volume_after)
        volume.fade(fade.before, fade.end, full_before, volume.EQUAL_POWER_OUT, self.replaced_before)
        volume.fade(fade.after, fade.start, full_after, volume.EQUAL_POWER_IN, self.replaced_after)


def fade_edges(sounds: Iterable[SoundStrip]) -> None:
    """Fade each sound in over its first frame, and out over its last one.

    An edge at which the sound is silent already, such as that of a cross-fade, stays as it is, and so does a sound that is
    too short for two fades. Keyframes elsewhere are kept. Raise Failure if the volume of a sound can't be changed.
    """
    longer = [sound for sound in sounds if compat.right_handle(sound) - compat.left_handle(sound) > 1 + compat.VOLUME_DELAY]
    for sound in longer:
        volume.check(sound)
    for sound in longer:
        left, right = isolate.frame_range(sound)
        if not volume.is_silent_at(sound, left):
            inside = _fade_in_end(left)
            volume.fade(sound, inside - 1, (inside, volume.at(sound, inside)), volume.LINEAR)
        if not volume.is_silent_at(sound, right):
            volume.fade(sound, right, (right - 1, volume.at(sound, right - 1)), volume.LINEAR)


def _fade_in_end(left: int) -> int:
    """Return where the fade of an edge at the left handle ends.

    With delayed keyframes it is a frame later than it could be: the first samples would have the volume of its end.
    """
    return left + 1 + compat.VOLUME_DELAY


def change_volume(sound: SoundStrip, decibels: float) -> None:
    """Change the sound's volume, and its volume keyframes if it has any. Raise Failure if it can't be changed."""
    volume.check(sound)
    volume.scale(sound, 10 ** (decibels / 20))
