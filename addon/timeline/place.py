# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a finished sound into the edit, under the picture that it was made for. Main thread."""

from typing import Any

import bpy

from ..failure import Failure
from ..jobs.job import Job, PlacedSound, Span
from . import compat, isolate, strips

_CHANNELS = range(1, 129)


def place(job: Job) -> PlacedSound:
    """Adds the job's file as a sound strip. Changes nothing where it raises Failure. The caller pushes the undo step."""
    request = job.request
    scene, clip = strips.find(request.scene, request.strip)
    if scene is None:
        raise Failure("no_scene", f"The scene “{request.scene}” is gone.", f"The sound is kept at {job.file}.")
    if job.file is None or not job.file.is_file():
        raise Failure("no_file", "The finished sound is no longer on disk.", "Generate the sound again.")
    at = _where(job, clip)
    level: Any = isolate.level(scene, clip) if clip is not None else scene.sequence_editor_create()
    channel = free_channel(level, at, clip.channel if clip is not None else 1)
    sound = level.strips.new_sound(
        name=f"{request.strip} (MMAudio)", filepath=str(job.file), channel=channel, frame_start=at.start
    )
    # Blender derives the length from the file and may round by a frame.
    compat.set_right_handle(sound, at.end)
    sound.show_waveform = True
    # The artist's selection stays what it was.
    sound.select = False
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        sound.sound.filepath = _relative(str(job.file))
    sound[strips.PROPERTY] = _made_with(job)
    return PlacedSound(sound.name, sound.channel, compat.left_handle(sound), compat.right_handle(sound), job.file)


def free_channel(level: Any, span: Span, beside: int) -> int:
    """The channel nearest to `beside` that is free over `span`, unlocked and heard; the lower one of two as near."""
    taken = {
        strip.channel
        for strip in level.strips
        if compat.left_handle(strip) < span.end and compat.right_handle(strip) > span.start
    }
    for number in sorted(_CHANNELS, key=lambda number: (abs(number - beside), number)):
        channel = level.channels[number]
        if number not in taken and number != beside and not channel.lock and not channel.mute:
            return number
    raise Failure("no_channel", "All channels are taken or locked there.", "Free or unlock a channel, then Insert Result.")


def _where(job: Job, clip: Any) -> Span:
    """Where the picture is now: it may have been moved since, and its sound goes with it."""
    span = job.request.span
    moved = round(compat.content_start(clip) - job.request.content_start) if clip is not None else 0
    return Span(span.start + moved, span.end + moved)


def _relative(path: str) -> str:
    try:
        return bpy.path.relpath(path)
    except ValueError:
        # Windows: another drive than the project's.
        return path


def _made_with(job: Job) -> dict[str, str | int | float | list[str]]:
    settings = job.request.settings
    return {
        "job": job.id,
        "prediction_ids": [job.prediction_id or ""],
        "source": "strip",
        "prompt": settings.prompt,
        "negative_prompt": settings.negative_prompt,
        "seed": settings.seed,
        "take": 1,
        "num_steps": settings.num_steps,
        "cfg_strength": settings.cfg_strength,
        "duration": job.duration or 0.0,
    }
