# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement of finished sounds in the edit, next to the picture they were generated for. Main thread."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import bpy

from ..failure import disk_failure
from ..jobs.model.job import Job, PlacedSound, Take
from ..jobs.model.request import Request, Span
from . import compat, isolate, media_files, project, strips
from .errors import NoChannel, NoFile, NoScene
from .strip_types import SoundStrip, Strip

_CHANNELS = range(1, 129)


@dataclass(frozen=True)
class _Placement:
    """Position in the edit for the sounds of a clip."""

    container: isolate.Container
    """The edit, or the meta strip around the clip."""
    clip: Strip | None
    """The strip whose picture the sounds belong to, or None if it is gone."""
    span: Span
    """Span of the whole sound."""
    visible: Span
    """Part of the span that the clip shows. The clip may have been trimmed or cut."""


def place(job: Job, *, anywhere: bool = False) -> tuple[dict[int, PlacedSound], str]:
    """Add sound strips for the job's takes that are ready to be placed, the first of them unmuted.

    Return them by take number, from 0, and a note for the user, usually empty. If a clip was cut, each part that was moved
    away gets the sounds too. With `anywhere`, they go into the open edit if neither their clip nor their scene exists.
    Raise Failure if they can't be placed, with the edit unchanged. The caller pushes the undo step.
    """
    request = job.request
    scene, clip = strips.find_marked(request)
    if scene is None and anywhere:
        scene = compat.edited_scene(bpy.context) or compat.scene_without_window(bpy.context)
    if scene is None:
        text = f"Neither its clip nor the scene “{request.scene}” is in this file."
        hint = f"The sound is kept in {request.folder}. Insert Result adds it to the edit that is open."
        raise NoScene(text, hint)
    takes = {number: job.takes[number] for number in job.to_place}
    for take in takes.values():
        if not _has_file(take):
            raise NoFile("The finished sound is no longer on disk.")
    placements = _placements(request, scene, clip)
    channels = _free_channels(placements, request, len(takes))
    added = [_add_takes(job, placement, free) for placement, free in zip(placements, channels, strict=True)]
    placed = {
        number: PlacedSound(sound.name, sound.channel, compat.left_handle(sound), compat.right_handle(sound), file)
        for number, sound in added[0].items()
        if (file := takes[number].file) is not None
    }
    return placed, "" if clip is not None else "The clip no longer exists; its sound was placed where the clip was."


def _has_file(take: Take) -> bool:
    try:
        return take.file is not None and media_files.exists(take.file)
    except OSError as fault:
        raise disk_failure(fault, f"The finished sound {take.file} can't be read", reading=True) from fault


def _add_takes(job: Job, placement: _Placement, channels: Sequence[int]) -> dict[int, SoundStrip]:
    """Add the takes at one placement, and return their strips by take number, from 0."""
    earlier = strips.takes_of(placement.clip, placement.visible) if placement.clip is not None else []
    first_number = max((int(strips.metadata(sound).get("take", 0)) for sound in earlier), default=0) + 1
    sounds: dict[int, SoundStrip] = {}
    for take_number, (number, channel) in enumerate(zip(job.to_place, channels, strict=True), first_number):
        take = job.takes[number]
        sounds[number] = _add(placement, channel, take, _name(job.request, take_number))
        sounds[number][strips.METADATA_PROPERTY] = _metadata(job, take, take_number)
    activate_take([*earlier, *sounds.values()], next(iter(sounds.values())))
    if job.request.options.mute_own_sound and placement.clip is not None:
        for sound in own_sounds(placement.container, placement.clip):
            sound.mute = True
    return sounds


def activate_take(takes: Sequence[Strip], active: Strip) -> None:
    """Mute all takes except the active one."""
    for sound in takes:
        sound.mute = sound != active


def activate_next_take(takes: Sequence[Strip]) -> None:
    """Activate the take after the first unmuted one. The first take follows the last."""
    current = next((number for number, sound in enumerate(takes) if not sound.mute), -1)
    activate_take(takes, takes[(current + 1) % len(takes)])


def own_sounds(container: isolate.Container, clip: Strip) -> list[SoundStrip]:
    """Return the sound strips that were added with the clip: those of its own file that overlap it.

    If any of them are connected to the clip, return these alone.
    """
    if clip.type != "MOVIE":
        return []
    file, shown = bpy.path.abspath(clip.filepath), strips.span(clip)
    own = [
        strip
        for strip in container.strips
        if strip.type == "SOUND"
        and not strips.metadata(strip)
        and strips.span(strip).common(shown).frames
        and strip.sound
        and _is_same_file(bpy.path.abspath(strip.sound.filepath), file)
    ]
    connected = list(compat.connected_strips(clip))
    return [strip for strip in own if strip in connected] or own


def _name(request: Request, number: int) -> str:
    return f"{request.strip} (MMAudio)" if number == 1 else f"{request.strip} (MMAudio {number})"


def _add(placement: _Placement, channel: int, take: Take, name: str) -> SoundStrip:
    """Add the sound strip of one take."""
    new_sound = placement.container.strips.new_sound
    sound = new_sound(name=name, filepath=str(take.file), channel=channel, frame_start=placement.span.start)
    # Blender derives the length from the file and may round it by a frame.
    compat.set_right_handle(sound, placement.span.end)
    # Trimmed rather than shortened: the rest of the sound remains available beyond the handles.
    compat.set_handles(sound, placement.visible.start, placement.visible.end)
    if sound.channel != channel:
        # Before it was trimmed, it may have overlapped another strip, and Blender has moved it away.
        sound.channel = channel
    sound.show_waveform = True
    # Keeps the user's selection.
    sound.select = False
    if sound.sound and project.saved_as() and bpy.context.preferences.filepaths.use_relative_paths:
        sound.sound.filepath = _relative(str(take.file))
    return sound


def _free_channels(placements: Sequence[_Placement], request: Request, count: int) -> list[list[int]]:
    """Return `count` channels for each placement that are free there, unlocked and unmuted.

    The nearest ones below the clip come first, or above it if so requested, then those on the other side.
    """
    above = request.options.above
    chosen: list[list[int]] = []
    for placement in placements:
        channels = placement.container.channels
        others = [(strip.channel, strips.span(strip)) for strip in placement.container.strips]
        for other, numbers in zip(placements, chosen, strict=False):
            others += [(number, other.visible) for number in numbers if other.container == placement.container]
        beside = placement.clip.channel if placement.clip is not None else request.channel
        occupied = {beside, *(channel for channel, span in others if span.common(placement.visible).frames)}
        nearest = sorted(_CHANNELS, key=lambda number: ((number > beside) != above, abs(number - beside)))
        usable = [number for number in nearest if not channels[number].lock and not channels[number].mute]
        free = [number for number in usable if number not in occupied][:count]
        if len(free) < count:
            raise NoChannel("No channel is free and unlocked there.")
        chosen.append(free)
    return chosen


def _placements(request: Request, scene: bpy.types.Scene, clip: Strip | None) -> list[_Placement]:
    """Return where the picture that the sounds were generated for is now, the clip's own position first.

    The clip may have been moved, trimmed or cut since, and its parts may have been moved: the sound follows the picture.
    """
    if clip is None:
        return [_Placement(compat.ensure_edit(scene), None, request.span, request.span)]

    def frames_moved(part: Strip) -> int:
        return strips.frames_moved(part, request.span, request.content_start)

    placements: list[_Placement] = []
    parts = strips.cut_parts(scene, clip)
    for part in sorted(parts, key=lambda part: (frames_moved(part), compat.left_handle(part))):
        span = request.span.moved(frames_moved(part))
        visible = span.common(strips.span(part))
        container, last = isolate.container(part), placements[-1] if placements else None
        if last is not None and (last.container, last.span, last.visible.end) == (container, span, visible.start):
            # Parts that still adjoin share a sound.
            both = Span(last.visible.start, visible.end)
            placements[-1] = _Placement(container, clip if part == clip else last.clip, span, both)
        elif visible.frames:
            placements.append(_Placement(container, part, span, visible))
    span = request.span.moved(frames_moved(clip))
    own_first = sorted(placements, key=lambda placement: placement.clip != clip)
    return own_first or [_Placement(isolate.container(clip), clip, span, span)]


def _is_same_file(one: str, other: str) -> bool:
    if Path(one).name != Path(other).name:
        # Without a look at the disk, which may be on a network drive.
        return False
    try:
        # Not Path.resolve, which raises RuntimeError on circular links in Python 3.11.
        return Path(os.path.realpath(one)) == Path(os.path.realpath(other))
    except OSError:
        # Windows: a disconnected network drive.
        return Path(one) == Path(other)


def _relative(path: str) -> str:
    try:
        return bpy.path.relpath(path)
    except ValueError:
        # Windows: a drive other than the project's.
        return path


def _metadata(job: Job, take: Take, number: int) -> dict[str, str | int | float | list[str]]:
    """Return the metadata of a sound strip. `number` is the take's number among all takes of the clip, from 1."""
    cost = {} if take.cost is None else {"cost_usd": take.cost}
    return {
        **cost,
        "job": job.id,
        "clip": job.request.mark,
        "prediction_ids": take.prediction_ids,
        "source": str(job.request.options.source),
        **asdict(take.settings),
        "take": number,
        "duration": float(job.request.windows[0].duration),
    }
