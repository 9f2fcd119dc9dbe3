# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips to generate sound for, their visible frames, and the marks by which clips and their sounds are found again."""

import functools
import uuid
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeGuard

import bpy

from ..jobs.model.request import ClipPosition, Request, Span
from . import compat, isolate
from .errors import LinkedScene, MissingClip, MissingScene, NoCamera, NoPicture, NoStrip, NotSeen
from .strip_types import PictureStrip, SoundStrip, Strip

METADATA_PROPERTY = "mmaudio"
"""Custom property of a generated sound strip that holds its metadata."""
TAKES = "takes"
"""Item of the metadata: the takes that the strip can play, see `takes.py`."""
MARK = "mmaudio_clip"
"""Custom property of a clip that holds its mark, by which it is found after it was renamed. Its sounds refer to the mark."""
SCENE_MARK = "mmaudio_scene"
"""Custom property of a scene that holds its mark. A sound whose clip is gone is placed only in its own scene."""

_TYPES_WITH_DURATION = ("MOVIE", "MOVIECLIP", "SCENE", "META", "MASK")
"""Types of strips whose content has a duration of its own. Stills and effects have nothing but their handles."""


def has_picture(strip: Strip) -> TypeGuard[PictureStrip]:
    return strip.type != "SOUND"


def selected(context: bpy.types.Context) -> Sequence[Strip]:
    """Return the selected strips on the level that the Sequencer shows, including those without a picture."""
    if compat.edited_scene(context) is None:
        return ()
    return compat.selected_strips(context)


def find(scene_name: str, strip_name: str) -> tuple[bpy.types.Scene | None, Strip | None]:
    """Return the scene and the strip, each None if it is gone. Names are used, since an undo invalidates references."""
    scene = bpy.data.scenes.get(scene_name)
    edit = compat.edit_of(scene) if scene is not None else None
    return scene, edit.strips_all.get(strip_name) if edit is not None else None


def is_local(scene: bpy.types.Scene) -> bool:
    """Return whether the scene is local to this file. Custom properties of a linked one can't be written."""
    return scene.library is None and scene.is_editable


def mark(strip: Strip) -> str:
    """Return the strip's mark, or an empty string if it has none."""
    return str(strip.get(MARK, ""))


def ensure_mark(strip: Strip) -> None:
    """Mark the strip, unless it has a mark."""
    if not strip.get(MARK):
        strip[MARK] = uuid.uuid4().hex


def ensure_scene_mark(scene: bpy.types.Scene) -> None:
    """Mark the scene, unless it has a mark."""
    if not scene.get(SCENE_MARK):
        scene[SCENE_MARK] = uuid.uuid4().hex


class MarkIndex:
    """The marked clips of all edits, for several searches in an edit that doesn't change meanwhile."""

    @functools.cached_property
    def _clips(self) -> dict[str, list[tuple[bpy.types.Scene, Strip]]]:
        found: dict[str, list[tuple[bpy.types.Scene, Strip]]] = {}
        for scene in bpy.data.scenes:
            edit = compat.edit_of(scene)
            for strip in edit.strips_all if edit else ():
                if has_picture(strip) and (marked := mark(strip)):
                    found.setdefault(marked, []).append((scene, strip))
        return found

    def find(self, mark: str, scene: bpy.types.Scene | None) -> list[tuple[bpy.types.Scene, Strip]]:
        """Return the clips with this mark; if there are some in `scene`, only those."""
        clips = self._clips.get(mark, []) if mark else []
        return [found for found in clips if found[0] == scene] or clips


def find_marked(request: Request, index: MarkIndex | None = None) -> tuple[bpy.types.Scene | None, list[Strip | None]]:
    """Return the scene of a job, and its strips in the order of `Request.positions`, even if they were renamed.

    Each is None if it is gone.
    """
    index = index or MarkIndex()
    found = [_find_marked(request, position, index) for position in request.positions]
    return next((scene for scene, clip in found if clip is not None), found[0][0]), [clip for _, clip in found]


def _find_marked(request: Request, clip: ClipPosition, index: MarkIndex) -> tuple[bpy.types.Scene | None, Strip | None]:
    """Return the scene and a strip of a job.

    Names alone are not enough, since another file may use the same ones. A mark alone is not enough, since copies share it.
    """
    scene, named = find(request.scene, clip.strip)
    if named is not None and mark(named) == clip.mark:
        return scene, named
    if marked := index.find(clip.mark, scene):
        return next((found for found in marked if found[1].name == clip.strip), marked[0])
    # An undo to before the job's start removes the marks. The strip is still the same if its range and trim are.
    if named is not None and MARK not in named and _has_same_range(named, clip):
        return scene, named
    is_its = (other for other in [scene, *bpy.data.scenes] if other and other.get(SCENE_MARK, "") == request.scene_mark)
    return (next(is_its, None) if request.scene_mark else None), None


def _has_same_range(strip: Strip, clip: ClipPosition) -> bool:
    """Return whether the strip has the length and the trimmed start that the clip had."""
    now = span(strip)
    trimmed = clip.span.start - clip.content_start
    return now.frames == clip.span.frames and now.start - compat.content_start(strip) == trimmed


def cut_parts(scene: bpy.types.Scene, clip: Strip) -> list[Strip]:
    """Return the clip and the strips cut from it, wherever they are. Copies, which share its mark, repeat its content."""
    parts = [clip]
    edit = compat.edit_of(scene)
    for strip in edit.strips_all if edit else ():
        is_marked = has_picture(strip) and clip.get(MARK) and strip.get(MARK) == clip[MARK]
        if strip != clip and is_marked and not any(_shares_content(strip, part) for part in parts):
            parts.append(strip)
    return parts


def _shares_content(one: Strip, other: Strip) -> bool:
    return _content_span(one).common(_content_span(other)).frames > 0


def frames_moved(strip: Strip, old_span: Span, old_content_start: float) -> int:
    """Return by how many frames the strip's picture has moved. A trim changes handles, but moves no picture."""
    now = span(strip)
    moved_whole = now.start - old_span.start == now.end - old_span.end
    # The content start of a meta strip also changes when strips inside it are added.
    if _has_duration(strip) and not (moved_whole and strip.type == "META"):
        return round(compat.content_start(strip) - old_content_start)
    return now.start - old_span.start if moved_whole else 0


def _content_span(strip: Strip) -> Span:
    """Return which frames of its content a strip shows. For a still, which has a single one, return timeline frames."""
    start = round(compat.content_start(strip)) if _has_duration(strip) else 0
    return Span(*isolate.frame_range(strip)).moved(-start)


def _has_duration(strip: Strip) -> bool:
    return strip.type in _TYPES_WITH_DURATION or (strip.type == "IMAGE" and len(strip.elements) > 1)


def sounds_of(
    clips: Sequence[Strip], at: Span | None = None, sounds: Mapping[str, Sequence[SoundStrip]] | None = None
) -> list[SoundStrip]:
    """Return the sound strips that were generated for exactly these clips, where the first is now, or at the span `at`.

    There are several if the sound was cut. Of strips on top of each other, such as unpacked takes, the one that is heard is
    returned. Left out are strips of version 0.1, which had one for each take, and those that must not or can't be changed:
    locked or retimed ones, and those on a locked or muted channel. `sounds` may pass the `sounds_by_mark` of the container.
    """
    marks = {mark(clip) for clip in clips}
    place, container = at or span(clips[0]), isolate.container(clips[0])
    sounds = sounds_by_mark(container) if sounds is None else sounds
    found = [
        strip
        for strip in sounds.get(mark(clips[0]), ())
        if marks_of(strip) == marks
        and ("clips" in strip[METADATA_PROPERTY]) is (len(clips) > 1)
        and TAKES in strip[METADATA_PROPERTY]
        and _is_changeable(strip, container)
        and belongs(span(strip), place)
    ]
    chosen: list[SoundStrip] = []
    for sound in sorted(found, key=lambda sound: (sound.mute, -span(sound).common(place).frames)):
        if not any(belongs(span(sound), span(other)) for other in chosen):
            chosen.append(sound)
    return chosen


def _is_changeable(sound: SoundStrip, container: isolate.Container) -> bool:
    channel = container.channels[sound.channel]
    return not (sound.lock or channel.lock or channel.mute or len(sound.retiming_keys))


def sounds_by_mark(container: isolate.Container) -> dict[str, list[SoundStrip]]:
    """Return the generated sounds in an edit or a meta strip by the marks of their clips."""
    found: dict[str, list[SoundStrip]] = {}
    for strip in container.strips:
        if strip.type == "SOUND":
            for mark in marks_of(strip):
                found.setdefault(mark, []).append(strip)
    return found


def sounds_over(clip: Strip, sounds: Mapping[str, Sequence[SoundStrip]] | None = None) -> list[SoundStrip]:
    """Return the generated sounds of a clip that are where it is: its own, and those over several clips.

    `sounds` may pass the `sounds_by_mark` of the clip's container, if known.
    """
    sounds = sounds_by_mark(isolate.container(clip)) if sounds is None else sounds
    return [sound for sound in sounds.get(mark(clip), ()) if span(sound).common(span(clip)).frames]


def clips_by_mark(container: isolate.Container) -> dict[str, list[PictureStrip]]:
    """Return the marked clips in an edit or a meta strip by their marks, which parts of a cut clip and copies share."""
    found: dict[str, list[PictureStrip]] = {}
    for strip in container.strips:
        if has_picture(strip) and strip.get(MARK):
            found.setdefault(str(strip[MARK]), []).append(strip)
    return found


def clips_of(sound: Strip, clips: Mapping[str, Sequence[PictureStrip]] | None = None) -> list[PictureStrip]:
    """Return the clips that a sound strip was generated for, without those that are gone.

    `clips` may pass the `clips_by_mark` of the sound's container, if known.
    """
    marks = marks_of(sound)
    if not marks:
        return []
    clips = clips_by_mark(isolate.container(sound)) if clips is None else clips
    return [clip for mark in sorted(marks) for clip in clips.get(mark, ()) if belongs(span(sound), span(clip))]


def marks_of(sound: Strip) -> set[str]:
    """Return the marks of the clips that a sound strip was generated for; none for other strips."""
    # Not `metadata`, which copies everything: panels ask this of each strip.
    kept = sound.get(METADATA_PROPERTY)
    if not hasattr(kept, "to_dict"):
        return set()
    return {str(mark) for mark in kept.get("clips") or [kept.get("clip")] if mark}


def metadata(strip: Strip) -> Mapping[str, Any]:
    """Return the metadata of a generated sound strip (see `takes.py`), or an empty mapping for other strips."""
    stored = strip.get(METADATA_PROPERTY)
    return stored.to_dict() if hasattr(stored, "to_dict") else {}


def belongs(sound: Span, clip: Span) -> bool:
    """Return whether a sound at one span belongs to a clip at the other: they share more than half of the shorter one.

    So it still does after a trim, a cut of either, and an L or J cut. A copy of the clip, somewhere else, has its own.
    """
    return sound.common(clip).frames * 2 > min(sound.frames, clip.frames)


def span(strip: Strip) -> Span:
    """Return the visible frames of the strip: those between its handles that the meta strips around it show."""
    visible = Span(*isolate.frame_range(strip))
    for meta in isolate.enclosing_metas(strip):
        visible = visible.common(Span(*isolate.frame_range(meta)))
    return visible


def fps(scene: bpy.types.Scene) -> Fraction:
    """Return the exact frame rate. Blender stores 30000/1001 (29.97) as 30 and a base of about 1.001."""
    # fps_base is a 32-bit float. The bases in use (1, 1.001, 1.0/…) have small denominators.
    base = Fraction(scene.render.fps_base).limit_denominator(1001)
    return Fraction(scene.render.fps) / base


def check(scene: bpy.types.Scene | None, strip: Strip | None, *, rendered: bool = True) -> None:
    """Raise Failure if no sound can be generated for the strip, or, with `rendered`, if the strip can't be rendered.

    Its files are checked by the background Blender, since they may be on a network drive that doesn't respond.
    """
    if scene is None or strip is None:
        raise NoStrip("The strip no longer exists.")
    if not has_picture(strip):
        raise NoPicture(f"“{strip.name}” has no picture.")
    if not is_local(scene):
        text = f"The scene “{scene.name}” is linked from another file, so its sound can't be saved in it."
        raise LinkedScene(text)
    visible = span(strip)
    if not visible.frames:
        text = f"“{strip.name}” isn't visible: its meta strip shows other frames."
        raise NotSeen(text)
    if rendered:
        for part, _, _ in isolate.dependencies(strip, visible.start, visible.end):
            _check_part(strip, part)


def _check_part(strip: PictureStrip, part: PictureStrip) -> None:
    """Raise Failure if a datablock that the strip shows is missing."""
    if part.type == "SCENE":
        if part.scene is None:
            raise MissingScene(f"“{strip.name}” shows a scene that no longer exists.")
        if part.scene_input == "CAMERA" and not (part.scene_camera or part.scene.camera):
            text = f"“{strip.name}” shows the scene “{part.scene.name}”, which has no camera."
            raise NoCamera(text)
    if part.type == "MOVIECLIP" and part.clip is None:
        raise MissingClip(f"“{strip.name}” shows a movie clip that no longer exists.")
