# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts finished sounds into the edit, beside the picture that they were made for. Main thread."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..failure import Failure, of_disk
from ..jobs.model.job import Job, PlacedSound, Take
from ..jobs.model.request import Request, Span
from . import compat, isolate, media_files, project, strips

_CHANNELS = range(1, 129)


@dataclass(frozen=True)
class _Place:
    """One place for sounds.

    level  what the sounds go into: the edit, or the meta strip around the clip
    clip   the strip whose picture is heard there, None where that is gone
    at     where the whole sound belongs
    heard  what of it is heard: its clip may have been trimmed, or cut in two
    """

    level: Any
    clip: Any
    at: Span
    heard: Span


def place(job: Job, *, anywhere: bool = False) -> tuple[dict[int, PlacedSound], str]:
    """Adds the job's waiting takes as sound strips, the first of them heard.

    Returns them by the take's number from 0, and what the artist should know of it, as a rule nothing. A clip that was cut
    has its sounds under each part that was moved away, too. With `anywhere` they go into the edit that is open if neither
    their clip nor their scene is there. Changes nothing where it raises Failure. The caller pushes the undo step.
    """
    request = job.request
    scene, clip = strips.find_marked(request)
    if scene is None and anywhere:
        scene = compat.edited_scene(bpy.context) or compat.scene_without_window(bpy.context)
    if scene is None:
        text = f"Neither its clip nor the scene “{request.scene}” is in this file."
        hint = f"The sound is kept in {request.folder}. Insert Result puts it into the edit that is open."
        raise Failure("no_scene", text, hint)
    takes = {number: job.takes[number] for number in job.to_place}
    for take in takes.values():
        if not _is_there(take):
            raise Failure("no_file", "The finished sound is no longer on disk.", "Generate the sound again.")
    places = _places(request, scene, clip)
    channels = _channels(places, request, len(takes))
    added = [_add_takes(job, scene, spot, chosen) for spot, chosen in zip(places, channels, strict=True)]
    placed = {
        number: PlacedSound(sound.name, sound.channel, compat.left_handle(sound), compat.right_handle(sound), file)
        for number, sound in added[0].items()
        if (file := takes[number].file) is not None
    }
    return placed, "" if clip is not None else "The clip is gone; its sound is where it was."


def _is_there(take: Take) -> bool:
    try:
        return take.file is not None and media_files.is_there(take.file)
    except OSError as fault:
        raise of_disk(fault, f"The finished sound {take.file} can't be read", reading=True) from fault


def _add_takes(job: Job, scene: bpy.types.Scene, spot: _Place, channels: Sequence[int]) -> dict[int, Any]:
    """Adds the waiting takes at one place; returns their strips by the take's number from 0."""
    before = strips.takes_of(scene, spot.clip, spot.heard) if spot.clip is not None else []
    first_number = max((int(strips.made_with(sound).get("take", 0)) for sound in before), default=0) + 1
    sounds: dict[int, Any] = {}
    for count, (number, channel) in enumerate(zip(job.to_place, channels, strict=True), first_number):
        take = job.takes[number]
        sounds[number] = _add(spot, channel, take, _name(job.request, count))
        sounds[number][strips.PROPERTY] = _made_with(job, take, count)
    hear([*before, *sounds.values()], next(iter(sounds.values())))
    if job.request.options.mute_own_sound and spot.clip is not None:
        for sound in own_sounds(spot.level, spot.clip):
            sound.mute = True
    return sounds


def hear(takes: Sequence[Any], heard: Any) -> None:
    """Mutes all the takes but one."""
    for sound in takes:
        sound.mute = sound != heard


def hear_next(takes: Sequence[Any]) -> None:
    """Hears the take after the first one that is heard now; after the last comes the first."""
    now = next((number for number, sound in enumerate(takes) if not sound.mute), -1)
    hear(takes, takes[(now + 1) % len(takes)])


def own_sounds(level: Any, clip: Any) -> list[Any]:
    """The sound strips that the clip came with: those of its own file at the same place, or, if any of them are connected
    to it, these alone.
    """
    if clip.type != "MOVIE":
        return []
    file, shown = bpy.path.abspath(clip.filepath), strips.span(clip)
    own = [
        strip
        for strip in level.strips
        if strip.type == "SOUND"
        and not strips.made_with(strip)
        and strips.span(strip).common(shown).frames
        and strip.sound
        and _same_file(bpy.path.abspath(strip.sound.filepath), file)
    ]
    connected = list(compat.connected(clip))
    return [strip for strip in own if strip in connected] or own


def _name(request: Request, number: int) -> str:
    return f"{request.strip} (MMAudio)" if number == 1 else f"{request.strip} (MMAudio {number})"


def _add(spot: _Place, channel: int, take: Take, name: str) -> Any:
    sound = spot.level.strips.new_sound(name=name, filepath=str(take.file), channel=channel, frame_start=spot.at.start)
    # Blender derives the length from the file and may round by a frame.
    compat.set_right_handle(sound, spot.at.end)
    # The rest is still there, behind the sound's own handles.
    compat.set_handles(sound, spot.heard.start, spot.heard.end)
    if sound.channel != channel:
        # Where it was longer for a moment, another strip was in its way.
        sound.channel = channel
    sound.show_waveform = True
    # The artist's selection stays what it was.
    sound.select = False
    if project.saved_as() and bpy.context.preferences.filepaths.use_relative_paths:
        sound.sound.filepath = _relative(str(take.file))
    return sound


def _channels(places: Sequence[_Place], request: Request, count: int) -> list[list[int]]:
    """For each place, `count` channels that are free there, unlocked and heard: below the clip first, or above it, the
    nearest ones, and on its other side when there are no more.
    """
    above = request.options.above
    chosen: list[list[int]] = []
    for spot in places:
        channels = spot.level.channels
        others = [(strip.channel, strips.span(strip)) for strip in spot.level.strips]
        for other, numbers in zip(places, chosen, strict=False):
            others += [(number, other.heard) for number in numbers if other.level == spot.level]
        beside = spot.clip.channel if spot.clip is not None else request.channel
        here = {beside, *(channel for channel, span in others if span.common(spot.heard).frames)}
        nearest = sorted(_CHANNELS, key=lambda number: ((number > beside) != above, abs(number - beside)))
        usable = [number for number in nearest if not channels[number].lock and not channels[number].mute]
        free = [number for number in usable if number not in here][:count]
        if len(free) < count:
            raise Failure("no_channel", "All channels are taken or locked there.", "Free or unlock a channel, then Retry.")
        chosen.append(free)
    return chosen


def _places(request: Request, scene: bpy.types.Scene, clip: Any) -> list[_Place]:
    """Where the picture that was scored is now, the clip's own place first.

    It may have been moved since, and its sound goes with it; it may have been trimmed, or cut, and its parts moved.
    """
    if clip is None:
        return [_Place(scene.sequence_editor_create(), None, request.span, request.span)]

    def moved(piece: Any) -> int:
        return strips.moved(piece, request.span, request.content_start)

    places: list[_Place] = []
    pieces = strips.pieces_of(scene, clip)
    for piece in sorted(pieces, key=lambda piece: (moved(piece), compat.left_handle(piece))):
        at = request.span.moved(moved(piece))
        heard = at.common(strips.span(piece))
        level, last = isolate.level(piece), places[-1] if places else None
        if last is not None and (last.level, last.at, last.heard.end) == (level, at, heard.start):
            both = Span(last.heard.start, heard.end)
            places[-1] = _Place(level, clip if piece == clip else last.clip, at, both)
        elif heard.frames:
            places.append(_Place(level, piece, at, heard))
    at = request.span.moved(moved(clip))
    return sorted(places, key=lambda spot: spot.clip != clip) or [_Place(isolate.level(clip), clip, at, at)]


def _same_file(one: str, other: str) -> bool:
    try:
        # Path.resolve raises on links that lead in a circle in Python 3.11.
        return Path(os.path.realpath(one)) == Path(os.path.realpath(other))
    except OSError:
        # Windows: a network drive that is gone.
        return Path(one) == Path(other)


def _relative(path: str) -> str:
    try:
        return bpy.path.relpath(path)
    except ValueError:
        # Windows: another drive than the project's.
        return path


def _made_with(job: Job, take: Take, number: int) -> dict[str, str | int | float | list[str]]:
    settings = take.settings
    cost = {} if take.cost is None else {"cost_usd": take.cost}
    return {
        **cost,
        "job": job.id,
        "clip": job.request.mark,
        "prediction_ids": take.prediction_ids,
        "source": str(job.request.options.source),
        "prompt": settings.prompt,
        "negative_prompt": settings.negative_prompt,
        "seed": settings.seed,
        "take": number,
        "num_steps": settings.num_steps,
        "cfg_strength": settings.cfg_strength,
        "duration": float(job.request.windows[0].duration),
    }
