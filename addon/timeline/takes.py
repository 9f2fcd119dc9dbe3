# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes of a generated sound strip: the files that it can play, kept in its metadata. Main thread.

`strip["mmaudio"]` has `clip`, the mark of its clip, or `clips` for a sound over several; `take`, the number of the take that
is heard; and `takes`, a mapping for each. Its `lead` is the number of frames of the file before the clip's left handle, as
that was when the strip was added, so that each take is in time wherever its file begins. Its `shown` has the frames that the
clip showed when the take was placed, counted from there.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..failure import disk_failure
from ..jobs.model.request import Span
from . import compat, isolate, media_files, project, strips, track
from .errors import NoFile, Retimed
from .strip_types import SoundStrip, Strip

Entry = Mapping[str, Any]
"""What a strip knows of one take."""


def of(sound: Strip) -> list[Entry]:
    """Return the takes of a generated sound, ordered by number. A strip of version 0.1 has one."""
    kept = strips.metadata(sound)
    return list(kept.get(strips.TAKES, [kept] if kept else []))


def current(sound: Strip) -> Entry:
    """Return the take that is heard; empty if the strip is no generated sound."""
    number = strips.metadata(sound).get("take")
    takes = of(sound)
    return next((take for take in takes if take.get("take") == number), takes[0] if takes else {})


def is_in_file(job_id: str) -> bool:
    """Return whether any sound of the open file has a take of this job."""
    return any(take.get("job") == job_id for sound in generated_sounds() for take in of(sound))


def next_number(sound: Strip, step: int) -> int:
    """Return the number of the take after the current one, or before it if `step` is -1. The first follows the last."""
    numbers = [int(take["take"]) for take in of(sound)]
    return numbers[(numbers.index(int(current(sound)["take"])) + step) % len(numbers)]


def origin(sound: SoundStrip) -> float:
    """Return the timeline frame that leads are counted from."""
    return compat.content_start(sound) + current(sound).get("lead", 0)


def set_takes(sound: SoundStrip, entries: Iterable[Entry], number: int) -> None:
    """Let the strip know exactly these takes; `number` is the one that it plays."""
    kept = strips.metadata(sound)
    clips = {name: kept[name] for name in ("clip", "clips") if name in kept}
    sound[strips.METADATA_PROPERTY] = {**clips, "take": number, strips.TAKES: [dict(entry) for entry in entries]}


def play(sound: SoundStrip, number: int) -> None:
    """Let the strip play another of its takes, in time with the clip, and leave all else as it is.

    Raises Failure, with the edit unchanged, if the take's file is missing, or can't be in time in a retimed strip.
    """
    take = next(take for take in of(sound) if take["take"] == number)
    if len(sound.retiming_keys) and take["lead"] != current(sound)["lead"]:
        raise Retimed(f"“{sound.name}” is retimed, and the file of take {number} begins elsewhere.")
    file = _existing_file(sound, take)
    content_start, channel = origin(sound) - take["lead"], sound.channel
    handles = isolate.frame_range(sound)
    # Away from its neighbors, onto which its content may reach for a moment: Blender would move it to another channel.
    sound.channel = isolate.empty_channel(isolate.container(sound))
    with compat.keyframes_kept(sound.id_data):
        sound.sound = load(file)
        compat.update_content(sound)
        compat.move_content(sound, content_start - compat.content_start(sound))
        compat.set_handles(sound, *handles)
    sound.channel = channel
    set_takes(sound, of(sound), number)


def follow_clip(sound: SoundStrip, visible: Span) -> None:
    """Move handles that are where the clip's edges were, at the latest take, to where these are now.

    Handles that the artist has moved stay, and so do all if another strip is in the way.
    """
    shown = of(sound)[-1].get("shown")
    if shown is None:
        return
    now, start = Span(*isolate.frame_range(sound)), round(origin(sound))
    left = visible.start if now.start == start + shown[0] else now.start
    right = visible.end if now.end == start + shown[1] else now.end
    others = [other for other in isolate.container(sound).strips if other != sound and other.channel == sound.channel]
    wanted = Span(left, right)
    if wanted.frames > 0 and not any(Span(*isolate.frame_range(other)).common(wanted).frames for other in others):
        compat.set_handles(sound, left, right)


def add(sound: SoundStrip, entries: Sequence[Entry]) -> None:
    """Add takes to the strip and play the first of them. Raises Failure, with the edit unchanged, if its file is missing."""
    _existing_file(sound, entries[0])
    set_takes(sound, [*of(sound), *entries], int(current(sound)["take"]))
    play(sound, entries[0]["take"])


def keep_current(sound: SoundStrip) -> None:
    """Forget all takes but the one that is heard. The files stay on disk."""
    take = current(sound)
    set_takes(sound, [take], take["take"])


def unpack(sound: SoundStrip) -> list[SoundStrip]:
    """Put each take but the current one on a channel of its own, muted, and return their strips.

    Raises Failure, with the edit unchanged, if a file is missing or no channel is free.
    """
    container, heard = isolate.container(sound), current(sound)
    others = [take for take in of(sound) if take["take"] != heard["take"]]
    files = [_existing_file(sound, take) for take in others]
    span = Span(*isolate.frame_range(sound))
    channels = track.nearest(container, span, sound.channel, len(others))
    added: list[SoundStrip] = []
    for take, file, channel in zip(others, files, channels, strict=True):
        start = round(origin(sound) - take["lead"])
        strip = new_strip(container, f"{sound.name}, Take {take['take']}", file, channel=channel, start=start, visible=span)
        # A volume that is animated is that of the current frame only.
        strip.mute, strip.pan, strip.volume = True, sound.pan, 1.0 if compat.is_animated(sound, "volume") else sound.volume
        strip[strips.METADATA_PROPERTY] = strips.metadata(sound)
        set_takes(strip, [take], take["take"])
        added.append(strip)
    keep_current(sound)
    return added


def new_strip(container: isolate.Container, name: str, file: Path, *, channel: int, start: int, visible: Span) -> SoundStrip:
    """Add a sound strip whose file begins at the frame `start`, with its handles at the ends of `visible`."""
    path = project.blender_path(file)
    sound = container.strips.new_sound(name=name, filepath=path, channel=channel, frame_start=start)
    # Trimmed rather than shortened: the rest of the sound remains available beyond the handles.
    compat.set_handles(sound, visible.start, visible.end)
    if sound.channel != channel:
        # Before it was trimmed, it may have overlapped another strip, and Blender has moved it away.
        sound.channel = channel
    sound.show_waveform = True
    # Keeps the user's selection.
    sound.select = False
    return sound


def load(file: Path) -> bpy.types.Sound:
    """Return the datablock of a sound file, loading it if necessary."""
    return bpy.data.sounds.load(project.blender_path(file), check_existing=True)


def copy_files(temporary: Collection[Path], results: Path) -> None:
    """Copy the files of all takes in the open file from temporary folders to `results`, and let their strips use the copies.

    The original files are kept for the steps of the undo history, which play them.
    """
    for sound in generated_sounds():
        if sound.sound is not None and (copy := _copy(sound.sound.filepath, temporary, results)):
            sound.sound.filepath = str(copy)
        copies = [_copy(str(take.get("file", "")), temporary, results) for take in of(sound)]
        if any(copies):
            files = [{"file": str(copy)} if copy else {} for copy in copies]
            changed = [{**take, **file} for take, file in zip(of(sound), files, strict=True)]
            set_takes(sound, changed, current(sound)["take"])


def _copy(path: str, temporary: Collection[Path], results: Path) -> Path | None:
    """Return the copy of a file in a temporary folder, or None if it is elsewhere or can't be copied."""
    file = Path(bpy.path.abspath(path))
    copy = project.copy_to(file, results) if file.parent in temporary else file
    return None if copy == file else copy


def generated_sounds() -> Iterator[SoundStrip]:
    """Yield the generated sounds of all edits in the file."""
    for scene in bpy.data.scenes:
        edit = compat.edit_of(scene)
        for strip in edit.strips_all if edit else ():
            if strip.type == "SOUND" and strips.metadata(strip):
                yield strip


def _existing_file(sound: SoundStrip, take: Entry) -> Path:
    """Return the absolute path of the take's file. Raise Failure if it doesn't exist."""
    file = Path(bpy.path.abspath(str(take["file"])))
    # When a project was moved, Blender knows where its sounds are, but the metadata doesn't. They are in one folder.
    name = re.split(r"[\\/]", str(take["file"]))[-1]
    beside = Path(bpy.path.abspath(sound.sound.filepath)).with_name(name) if sound.sound else file
    try:
        found = next((path for path in (file, beside) if media_files.exists(path)), None)
    except OSError as fault:
        raise disk_failure(fault, f"Take {take['take']} of “{sound.name}”, {file}, can't be read", reading=True) from fault
    if found is None:
        raise NoFile(f"The file of take {take['take']} of “{sound.name}” is missing: {file}.")
    return found
