# SPDX-License-Identifier: GPL-3.0-or-later
"""Placement of finished sounds in the edit, in time with the picture they were generated for. Main thread."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bpy

from ..failure import Failure, disk_failure
from ..jobs.model.job import Job, PlacedSound, Take
from ..jobs.model.request import Options, Request, Source, Span
from . import compat, fades, isolate, media_files, strips, takes, track
from .errors import NoFile, NoScene
from .strip_types import SoundStrip, Strip

_LOWERED_PROPERTY = "mmaudio_lowered"
"""Custom property of a clip's own sound: by how many decibels it was changed."""


@dataclass(frozen=True)
class _Placement:
    """Position in the edit for the sound of a clip, or of several clips."""

    container: isolate.Container
    """The edit, or the meta strip around the clips."""
    clips: Sequence[Strip]
    """The strips whose picture the sound belongs to, without those that are gone."""
    span: Span
    """Span of the request, where its picture is now."""
    visible: Span
    """Part of the span that the clip shows. The clip may have been trimmed or cut."""
    sounds: Sequence[SoundStrip]
    """The sound strip that is there already, and gets the takes. Several if it was cut, none if the sound is the first."""


def place(job: Job, *, anywhere: bool = False) -> tuple[dict[int, PlacedSound], str]:
    """Add the job's takes that are ready to be placed to the clip's sound strip, which is added if there is none.

    The strip plays the first of them. Return the sounds by take number, from 0, and a note for the user, usually empty. If a
    clip was cut, each part that was moved away gets a sound too. With `anywhere`, the sound goes into the open edit if
    neither its clip nor its scene exists. Raise Failure if it can't be placed, with the edit unchanged. The caller pushes
    the undo step.
    """
    request = job.request
    scene, clips = strips.find_marked(request)
    if scene is None and anywhere:
        scene = compat.edited_scene(bpy.context) or compat.scene_without_window(bpy.context)
    if scene is None:
        text = f"Neither its clip nor the scene “{request.scene}” is in this file."
        hint = f"The sound is kept in {request.folder}. Insert Result adds it to the edit that is open."
        raise NoScene(text, hint)
    for number in job.to_place:
        _check_file(job.takes[number])
    for clip, position in zip(clips, request.positions, strict=True):
        if clip is not None and position.mark and not clip.get(strips.MARK):
            # An undo has removed it, see `strips.find_marked`.
            clip[strips.MARK] = position.mark
    placements, note = _placements(request, scene, clips)
    channels = _channels(placements, request)
    sounds = [_add(job, placement, channel) for placement, channel in zip(placements, channels, strict=True)]
    placed = {number: _placed(sounds[0], job.takes[number]) for number in job.to_place}
    _mute_own_sounds(placements, request.options)
    notes = [note, *_lower_own_sounds(placements, request.options)]
    return placed, " ".join(filter(None, notes))


def _check_file(take: Take) -> None:
    """Raise Failure if the take's file is gone or can't be read."""
    try:
        if take.file is None or not media_files.exists(take.file):
            raise NoFile("The finished sound is no longer on disk.")
    except OSError as fault:
        raise disk_failure(fault, f"The finished sound {take.file} can't be read", reading=True) from fault


def _placed(sound: SoundStrip, take: Take) -> PlacedSound:
    assert take.file is not None  # checked before it was placed
    return PlacedSound(sound.name, sound.channel, *isolate.frame_range(sound), take.file)


def _channels(placements: Sequence[_Placement], request: Request) -> list[int]:
    """Return the channel of each placement's sound, which is new unless there is one already."""
    channels: list[int] = []
    for placement in placements:
        beside = [
            channel
            for other, channel in zip(placements, channels, strict=False)
            if other.container == placement.container and other.visible.common(placement.visible).frames
        ]
        if placement.sounds:
            channels.append(placement.sounds[0].channel)
        else:
            channels.append(
                track.channel(placement.container, placement.visible, request.track, request.options, taken=beside)
            )
    return channels


def _add(job: Job, placement: _Placement, channel: int) -> SoundStrip:
    """Add the takes at one placement and return their strip."""
    if not placement.sounds:
        return _add_sound(job, placement, channel)
    sounds = [_add_takes(job, placement, sound) for sound in placement.sounds]
    return sounds[0]


def _add_sound(job: Job, placement: _Placement, channel: int) -> SoundStrip:
    request, file = job.request, job.takes[job.to_place[0]].file
    assert file is not None  # checked before it was placed
    for clip in placement.clips:
        _mute_old_sounds(clip)
    name, start = f"{request.name} (MMAudio)", placement.span.start - request.lead
    sound = takes.new_strip(placement.container, name, file, channel=channel, start=start, visible=placement.visible)
    marks = [position.mark for position in request.positions]
    sound[strips.METADATA_PROPERTY] = {"clips": marks} if request.together else {"clip": marks[0]}
    entries = _entries(job, job.to_place, 1, request.lead, placement.visible.moved(-placement.span.start))
    takes.set_takes(sound, entries, 1)
    return sound


def _add_takes(job: Job, placement: _Placement, sound: SoundStrip) -> SoundStrip:
    """Add the takes to a sound that is there already, or to the piece of it at this part of the clip, and play the first."""
    known = {(take.get("job"), take.get("seed")): int(take["take"]) for take in takes.of(sound)}
    new = [number for number in job.to_place if (job.id, job.takes[number].settings.seed) not in known]
    sound = _piece(sound, placement)
    if new:
        origin = round(takes.origin(sound))
        lead = origin - placement.span.start + job.request.lead
        entries = _entries(job, new, max(known.values()) + 1, lead, placement.visible.moved(-origin))
        takes.follow_clip(sound, placement.visible)
        takes.add(sound, entries)
    else:
        # Insert Result, while its sound is still there.
        takes.play(sound, known[job.id, job.takes[job.to_place[0]].settings.seed])
    sound.mute = False
    return sound


def _piece(sound: SoundStrip, placement: _Placement) -> SoundStrip:
    """Return the sound, or its piece at this part of a clip that was cut since: the other parts keep theirs."""
    marks, whole = strips.marks_of(sound), strips.span(sound)
    spans = [strips.span(other) for other in placement.container.strips if other.get(strips.MARK) in marks]
    parts = [part for part in spans if strips.belongs(whole, part)]
    for frame, keeps_right in ((placement.visible.start, True), (placement.visible.end, False)):
        span = Span(*isolate.frame_range(sound))
        beyond = Span(span.start, frame) if keeps_right else Span(frame, span.end)
        if span.start < frame < span.end and any(beyond.common(part).frames for part in parts):
            right = sound.split(frame=frame, split_method="SOFT")
            sound.select = right.select = False
            sound = right if keeps_right else sound
    return sound


def _entries(job: Job, numbers: Sequence[int], first: int, lead: int, shown: Span) -> list[dict[str, Any]]:
    """Return what a strip keeps of these takes of the job, see `takes.py`. `first` is the number of the first one there."""
    return [
        {
            **({} if take.cost is None else {"cost_usd": take.cost}),
            "take": number,
            "job": job.id,
            "source": str(Source.TIMELINE if job.request.whole_edit else Source.STRIP),
            "file": str(take.file),
            "length": job.request.sound_frames,
            "lead": lead,
            "shown": [shown.start, shown.end],
            "gain_db": take.gain_db,
            "prediction_ids": take.prediction_ids,
            **asdict(take.settings),
            "duration": float(job.request.windows[0].duration),
        }
        for number, take in enumerate((job.takes[number] for number in numbers), first)
    ]


def _mute_old_sounds(clip: Strip) -> None:
    """Mute the clip's sounds of version 0.1, which had a strip for each take."""
    for sound in strips.sounds_over(clip):
        if strips.TAKES not in strips.metadata(sound):
            sound.mute = True


def _mute_own_sounds(placements: Iterable[_Placement], options: Options) -> None:
    """Mute the sounds that the clips came with, if that was asked for."""
    if options.mute_own_sound:
        for sound in _own_sounds_at(placements):
            sound.mute = True


def _lower_own_sounds(placements: Iterable[_Placement], options: Options) -> list[str]:
    """Lower the sounds that the clips came with, if that was asked for. Return notes on those that can't be changed."""
    notes: list[str] = []
    wanted = options.own_sound_db and not options.mute_own_sound
    for sound in _own_sounds_at(placements) if wanted else ():
        if _LOWERED_PROPERTY in sound:
            # With an earlier take, or with another part of its clip.
            continue
        try:
            fades.change_volume(sound, options.own_sound_db)
            sound[_LOWERED_PROPERTY] = options.own_sound_db
        except Failure as failure:
            notes.append(f"The clip's own sound was not lowered. {failure.message}")
    return notes


def _own_sounds_at(placements: Iterable[_Placement]) -> list[SoundStrip]:
    found = [sound for place in placements for clip in place.clips for sound in own_sounds(place.container, clip)]
    return list(dict.fromkeys(found))


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
        and strips.belongs(strips.span(strip), shown)
        and strip.sound
        and _is_same_file(bpy.path.abspath(strip.sound.filepath), file)
    ]
    connected = list(compat.connected_strips(clip))
    return [strip for strip in own if strip in connected] or own


def _placements(request: Request, scene: bpy.types.Scene, clips: Sequence[Strip | None]) -> tuple[list[_Placement], str]:
    """Return where the picture that the sound was generated for is now, and a note for the user, usually empty."""
    existing = [clip for clip in clips if clip is not None]
    if not existing:
        placement = _Placement(compat.ensure_edit(scene), [], request.span, request.span, [])
        return [placement], "The clip no longer exists; its sound was placed where the clip was."
    if request.together:
        return _placement_over(request, existing)
    return _placements_of_parts(request, scene, existing[0]), ""


def _placement_over(request: Request, clips: Sequence[Strip]) -> tuple[list[_Placement], str]:
    """Return the place of a sound over several clips: with them if all have moved together, else where they were."""
    positions = request.positions
    moved = {
        strips.frames_moved(clip, position.span, position.content_start)
        for clip, position in zip(clips, positions, strict=False)
    }
    is_together = len(clips) == len(positions) and len(moved) == 1
    span = request.span.moved(moved.pop()) if is_together else request.span
    sounds = strips.sounds_of(clips, span) if len(clips) == len(positions) else []
    note = "" if is_together else "The clips were moved apart or deleted; the sound was placed where they were."
    return [_Placement(isolate.container(clips[0]), clips, span, span, sounds)], note


def _placements_of_parts(request: Request, scene: bpy.types.Scene, clip: Strip) -> list[_Placement]:
    """Return where the clip's picture is now, the clip's own position first.

    The clip may have been moved, trimmed or cut since, and its parts may have been moved: the sound follows the picture.
    """

    def frames_moved(part: Strip) -> int:
        return strips.frames_moved(part, request.span, request.content_start)

    def placement(container: isolate.Container, part: Strip, span: Span, visible: Span) -> _Placement:
        return _Placement(container, [part], span, visible, strips.sounds_of([part], visible))

    placements: list[_Placement] = []
    parts = strips.cut_parts(scene, clip)
    for part in sorted(parts, key=lambda part: (frames_moved(part), compat.left_handle(part))):
        span = request.span.moved(frames_moved(part))
        visible = span.common(strips.span(part))
        container, last = isolate.container(part), placements[-1] if placements else None
        if last is not None and (last.container, last.span, last.visible.end) == (container, span, visible.start):
            # Parts that still adjoin share a sound.
            both = Span(last.visible.start, visible.end)
            placements[-1] = placement(container, clip if part == clip else last.clips[0], span, both)
        elif visible.frames:
            placements.append(placement(container, part, span, visible))
    span = request.span.moved(frames_moved(clip))
    own_first = sorted(placements, key=lambda placement: clip not in placement.clips)
    return own_first or [placement(isolate.container(clip), clip, span, span)]


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
