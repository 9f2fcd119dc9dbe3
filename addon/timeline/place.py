# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts finished sounds into the edit, beside the picture that they were made for. Main thread."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ..failure import Failure
from ..jobs.job import Job, PlacedSound, Take
from ..jobs.request import Request, Span
from . import compat, isolate, strips

_CHANNELS = range(1, 129)


def place(job: Job) -> dict[int, PlacedSound]:
    """Adds the job's waiting takes as sound strips, the first of them heard; returns them by the take's number from 0.

    Changes nothing where it raises Failure. The caller pushes the undo step.
    """
    request = job.request
    scene, clip = strips.find_marked(request.scene, request.strip, request.mark)
    if scene is None:
        raise Failure("no_scene", f"The scene “{request.scene}” is gone.", f"The sound is kept in {request.folder}.")
    takes = {number: job.takes[number] for number in job.to_place}
    for take in takes.values():
        if take.file is None or not take.file.is_file():
            raise Failure("no_file", "The finished sound is no longer on disk.", "Generate the sound again.")
    at, shown = _where(request, scene, clip)
    level: Any = isolate.level(scene, clip) if clip is not None else scene.sequence_editor_create()
    channel = clip.channel if clip is not None else request.channel
    channels = _free_channels(level, shown, channel, len(takes), above=request.options.above)
    before = strips.takes_of(scene, clip) if clip is not None else []
    first_number = max((int(strips.made_with(sound).get("take", 0)) for sound in before), default=0) + 1
    sounds: dict[int, Any] = {}
    for count, (number, channel) in enumerate(zip(takes, channels, strict=True), first_number):
        sounds[number] = _add(level, at, channel, takes[number], _name(request, count))
        # Trimmed since, the clip shows less than was scored: the rest is still there, behind the sound's own handles.
        compat.set_handles(sounds[number], shown.start, shown.end)
        sounds[number][strips.PROPERTY] = _made_with(job, takes[number], count)
    hear([*before, *sounds.values()], next(iter(sounds.values())))
    if request.options.mute_own_sound and clip is not None:
        for sound in own_sounds(level, clip):
            sound.mute = True
    return {
        number: PlacedSound(sound.name, sound.channel, compat.left_handle(sound), compat.right_handle(sound), file)
        for number, sound in sounds.items()
        if (file := takes[number].file) is not None
    }


def hear(takes: Sequence[Any], heard: Any) -> None:
    """Mutes all the takes but one."""
    for sound in takes:
        sound.mute = sound != heard


def hear_next(takes: Sequence[Any]) -> None:
    """Hears the take after the first one that is heard now; after the last comes the first."""
    now = next((number for number, sound in enumerate(takes) if not sound.mute), -1)
    hear(takes, takes[(now + 1) % len(takes)])


def own_sounds(level: Any, clip: Any) -> list[Any]:
    """The sound strips that the clip came with: those of the same file, or connected to it, at the same place."""
    file = bpy.path.abspath(clip.filepath) if clip.type == "MOVIE" else ""
    connected = list(compat.connected(clip))
    shown = strips.span(clip)
    return [
        strip
        for strip in level.strips
        if strip.type == "SOUND"
        and not strips.made_with(strip)
        and compat.left_handle(strip) < shown.end
        and compat.right_handle(strip) > shown.start
        and (strip in connected or (file and strip.sound and _same_file(bpy.path.abspath(strip.sound.filepath), file)))
    ]


def _name(request: Request, number: int) -> str:
    return f"{request.strip} (MMAudio)" if number == 1 else f"{request.strip} (MMAudio {number})"


def _add(level: Any, at: Span, channel: int, take: Take, name: str) -> Any:
    sound = level.strips.new_sound(name=name, filepath=str(take.file), channel=channel, frame_start=at.start)
    # Blender derives the length from the file and may round by a frame.
    compat.set_right_handle(sound, at.end)
    sound.show_waveform = True
    # The artist's selection stays what it was.
    sound.select = False
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        sound.sound.filepath = _relative(str(take.file))
    return sound


def _free_channels(level: Any, span: Span, beside: int, count: int, *, above: bool) -> list[int]:
    """The `count` channels that are free over `span`, unlocked and heard: below `beside` first, or above it, the nearest
    ones, and on its other side when there are no more.
    """
    taken = {
        strip.channel
        for strip in level.strips
        if compat.left_handle(strip) < span.end and compat.right_handle(strip) > span.start
    }
    free = [
        number
        for number in sorted(_CHANNELS, key=lambda number: ((number > beside) != above, abs(number - beside)))
        if number not in taken and number != beside and not level.channels[number].lock and not level.channels[number].mute
    ]
    if len(free) < count:
        raise Failure("no_channel", "All channels are taken or locked there.", "Free or unlock a channel, then Retry.")
    return free[:count]


def _where(request: Request, scene: bpy.types.Scene, clip: Any) -> tuple[Span, Span]:
    """Where the whole sound belongs, and which frames of it are to be heard.

    The picture may have been moved since, and its sound goes with it; it may have been trimmed, or cut in two.
    """
    if clip is None:
        return request.span, request.span
    moved = strips.moved(clip, request.span, request.content_start)
    at = Span(request.span.start + moved, request.span.end + moved)
    seen = [strips.span(piece) for piece in strips.pieces_of(scene, clip)]
    start = max(at.start, min(piece.start for piece in seen))
    end = min(at.end, max(piece.end for piece in seen))
    return (at, Span(start, end)) if start < end else (at, at)


def _same_file(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()


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
