# SPDX-License-Identifier: GPL-3.0-or-later
"""Volume of sound strips and its keyframes. A volume is a factor, 1.0 for the file as it is. Main thread.

Frames are those at which a volume is heard. Blender before 5.1 needs its keyframe one frame earlier (`compat.VOLUME_DELAY`).
"""

from typing import Any

from . import compat, strips
from .errors import DrivenVolume, LinkedScene, LockedSound
from .isolate import container
from .strip_types import SoundStrip

Key = tuple[int, float]
"""Frame and volume."""
Shape = tuple[str, str]
"""Interpolation from a keyframe to the next one, and its easing."""

LINEAR: Shape = ("LINEAR", "AUTO")
EQUAL_POWER_IN: Shape = ("SINE", "EASE_OUT")
"""The sine of an angle that grows steadily from 0 to 90 degrees."""
EQUAL_POWER_OUT: Shape = ("SINE", "EASE_IN")
"""The cosine of that angle: the powers of both fades add up to that of one sound."""

_BLENDER_DEFAULT: Shape = ("BEZIER", "AUTO")
_AUDIBLE = 0.002
"""-54 dB. Fades don't end in exactly 0 in all versions of Blender."""


def check(sound: SoundStrip) -> None:
    """Raise Failure if the sound's volume can't be changed."""
    scene = sound.id_data
    if not strips.is_local(scene):
        text = f"The scene “{scene.name}” is linked from another file, so its sounds can't be changed."
        raise LinkedScene(text)
    # fake-bpy-module doesn't know that a scene may have none.
    animation: Any = scene.animation_data
    if animation is not None and animation.action is not None and not animation.action.is_editable:
        text = f"The animation of the scene “{scene.name}” is linked from another file, so its sounds can't be changed."
        raise LinkedScene(text, "Make the action local.")
    if compat.is_volume_driven(sound):
        text = f"A driver controls the volume of “{sound.name}”."
        raise DrivenVolume(text)
    if sound.lock or container(sound).channels[sound.channel].lock:
        text = f"“{sound.name}” is locked."
        raise LockedSound(text)


def at(sound: SoundStrip, frame: float) -> float:
    """Return the sound's volume at the frame."""
    curve = compat.volume_curve(sound)
    # A curve that has lost its keyframes evaluates to 0, but doesn't animate.
    return curve.evaluate(frame - compat.VOLUME_DELAY) if curve is not None and len(curve.keyframe_points) else sound.volume


def is_silent_at(sound: SoundStrip, frame: int) -> bool:
    return abs(at(sound, frame)) < _AUDIBLE


def scale(sound: SoundStrip, factor: float) -> None:
    """Multiply the sound's volume, or all of its volume keyframes."""
    sound.volume *= factor
    curve: Any = compat.volume_curve(sound)
    if curve is None:
        return
    for key in curve.keyframe_points:
        left, right = key.handle_left[1], key.handle_right[1]
        key.co[1] *= factor
        key.handle_left[1], key.handle_right[1] = left * factor, right * factor
    curve.update()


def fade(sound: SoundStrip, silent: int, full: Key, shape: Shape, replaced: tuple[int, int] | None = None) -> None:
    """Insert volume keyframes for a fade between silence at the frame `silent` and the volume at `full`.

    Other keyframes in the fade, or in the frames `replaced`, both ends included, are removed. Beyond `full`, the curve keeps
    its shape.
    """
    curve: Any = compat.ensure_volume_curve(sound)
    points = curve.keyframe_points
    start, end = sorted((silent, full[0]))
    first, last = (frame - compat.VOLUME_DELAY for frame in replaced or (start, end))
    earlier: list[Shape] = [(key.interpolation, key.easing) for key in points if key.co[0] <= last]
    _insert(points, *full)
    for index in reversed(range(len(points))):
        if first <= points[index].co[0] <= last and points[index] != _at(points, full[0]):
            points.remove(points[index], fast=True)
    _insert(points, silent, compat.SILENT_VOLUME if silent == end else 0.0)
    for frame, of_key in ((start, shape), (end, earlier[-1] if earlier else _BLENDER_DEFAULT)):
        if (key := _at(points, frame)) is not None:
            key.interpolation, key.easing = of_key
    curve.update()


def _insert(points: Any, frame: int, volume: float) -> None:
    """Insert a keyframe. Where it is on the curve already, the curve keeps its shape."""
    if (key := _at(points, frame)) is not None:
        key.co[1] = volume
        return
    before = [key for key in points if key.co[0] < frame - compat.VOLUME_DELAY]
    after = points[len(before) :]
    splits = bool(before and after)
    for key in (before[-1], after[0]) if splits else ():
        # Blender would adjust automatic handles to the new neighbour.
        key.handle_left_type = key.handle_right_type = "FREE"
    key = points.insert(frame - compat.VOLUME_DELAY, volume)
    key.handle_left_type = key.handle_right_type = "FREE" if splits else "AUTO_CLAMPED"


def _at(points: Any, frame: int) -> Any | None:
    """Return the keyframe that is heard at the frame, or None."""
    return next((key for key in points if key.co[0] == frame - compat.VOLUME_DELAY), None)
