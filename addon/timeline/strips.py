# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strips can be given a sound, and which frames of them are seen."""

import uuid
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..failure import Failure, of_disk
from ..jobs.model.request import Request, Span
from . import compat, isolate, media_files

PROPERTY = "mmaudio"
"""Where a sound strip that the add-on made keeps what it was made with."""
MARK = "mmaudio_clip"
"""Where a clip keeps the mark by which it is found again, whatever its name is by then; its sounds name it too."""
SCENE_MARK = "mmaudio_scene"
"""Where a scene keeps its mark: a sound whose clip is gone is placed in its own scene alone."""

# Their content has a length of its own; of all others, stills and effects, the handles are all there is.
_PLAYED = ("MOVIE", "MOVIECLIP", "SCENE", "META", "MASK")


def has_picture(strip: Any) -> bool:
    return strip.type != "SOUND"


def selected(context: bpy.types.Context) -> Sequence[Any]:
    """The selected strips of the Sequencer's level, those without a picture too."""
    if compat.edited_scene(context) is None:
        return ()
    return context.selected_strips or ()


def find(scene_name: str, strip_name: str) -> tuple[bpy.types.Scene | None, Any]:
    """The scene and the strip as they are now, each None where it is gone. Names are what survives an undo."""
    scene = bpy.data.scenes.get(scene_name)
    if scene is None or scene.sequence_editor is None:
        return scene, None
    return scene, scene.sequence_editor.strips_all.get(strip_name)


def keeps_marks(scene: bpy.types.Scene) -> bool:
    """Whether the scene is this file's own: what is linked from another can't be written to."""
    return scene.library is None and scene.is_editable


def mark(strip: Any) -> str:
    """The strip's mark; it is given one here if it has none."""
    if not strip.get(MARK):
        strip[MARK] = uuid.uuid4().hex
    return str(strip[MARK])


def mark_scene(scene: Any) -> str:
    """The scene's mark; it is given one here if it has none."""
    if not scene.get(SCENE_MARK):
        scene[SCENE_MARK] = uuid.uuid4().hex
    return str(scene[SCENE_MARK])


def find_marked(request: Request) -> tuple[bpy.types.Scene | None, Any]:
    """The scene and the strip of a job, also where they have other names by now; each None where it is gone.

    A name alone is not enough: another file may have a scene or a strip that is called so, too. A copy carries the same
    mark: then the names decide.
    """
    scene, named = find(request.scene, request.strip)
    if named is not None and named.get(MARK, "") == request.mark:
        return scene, named
    for other in [scene, *bpy.data.scenes]:
        edit: Any = other.sequence_editor if other is not None else None
        every = edit.strips_all if edit and request.mark else ()
        marked = [strip for strip in every if has_picture(strip) and strip.get(MARK) == request.mark]
        if marked:
            return other, next((strip for strip in marked if strip.name == request.strip), marked[0])
    # An undo to before the click takes the marks away; of another strip that has the name by now more is different.
    if named is not None and MARK not in named and _shows_as_much(named, request):
        return scene, named
    is_its = (other for other in [scene, *bpy.data.scenes] if other and other.get(SCENE_MARK, "") == request.scene_mark)
    return (next(is_its, None) if request.scene_mark else None), None


def _shows_as_much(strip: Any, request: Request) -> bool:
    now = span(strip)
    trimmed_then = request.span.start - request.content_start
    return now.frames == request.span.frames and now.start - compat.content_start(strip) == trimmed_then


def pieces_of(scene: bpy.types.Scene, clip: Any) -> list[Any]:
    """The clip, and what was cut from it, wherever that is by now. A copy has its mark too, but shows what it shows."""
    pieces = [clip]
    edit: Any = scene.sequence_editor
    for strip in edit.strips_all:
        is_marked = has_picture(strip) and clip.get(MARK) and strip.get(MARK) == clip[MARK]
        if strip != clip and is_marked and not any(_content(strip).common(_content(piece)).frames for piece in pieces):
            pieces.append(strip)
    return pieces


def moved(strip: Any, span_then: Span, content_start_then: float) -> int:
    """By how many frames the strip's picture has moved: a trimmed strip has other handles, and the same picture there."""
    now = span(strip)
    as_one = now.start - span_then.start == now.end - span_then.end
    # A meta strip's content also begins elsewhere when something is added inside it.
    if _is_played(strip) and not (as_one and strip.type == "META"):
        return round(compat.content_start(strip) - content_start_then)
    return now.start - span_then.start if as_one else 0


def _content(strip: Any) -> Span:
    """Which of its content a strip shows; of a still, whose content is one picture, where it shows it."""
    start = round(compat.content_start(strip)) if _is_played(strip) else 0
    return Span(*isolate.handles(strip)).moved(-start)


def _is_played(strip: Any) -> bool:
    return strip.type in _PLAYED or (strip.type == "IMAGE" and len(strip.elements) > 1)


def takes_of(scene: bpy.types.Scene, clip: Any, at: Span | None = None) -> list[Any]:
    """The sound strips that were made for the clip where it stands now, or `at` a place, by the number of their take."""
    if not clip.get(MARK):
        return []
    shown = at or span(clip)
    sounds = [
        strip
        for strip in isolate.level(clip).strips
        if strip.type == "SOUND" and _same_place(span(strip), shown) and made_with(strip).get("clip") == clip[MARK]
    ]
    return sorted(sounds, key=lambda sound: int(made_with(sound).get("take", 1)))


def clip_of(sound: Any) -> Any:
    """The clip that a sound strip was made for, or None where it is gone."""
    clip = made_with(sound).get("clip")
    marked = [strip for strip in isolate.level(sound).strips if has_picture(strip) and clip and strip.get(MARK) == clip]
    return next((strip for strip in marked if _same_place(span(sound), span(strip))), None)


def made_with(strip: Any) -> Mapping[str, Any]:
    """What a sound strip of ours was made with, see `place.py`; empty for any other strip."""
    kept = strip.get(PROPERTY)
    return kept.to_dict() if hasattr(kept, "to_dict") else {}


def _same_place(one: Span, other: Span) -> bool:
    """Whether they have more than half of the longer one in common: a trim leaves them together, a cut parts them."""
    return one.common(other).frames * 2 > max(one.frames, other.frames)


def span(strip: Any) -> Span:
    """The frames that are seen of the strip: those between its handles that the meta strips around it show, too."""
    seen = Span(*isolate.handles(strip))
    for meta in isolate.metas(strip):
        seen = seen.common(Span(*isolate.handles(meta)))
    return seen


def fps(scene: bpy.types.Scene) -> Fraction:
    """Frames per second, exact: 29.97 is 30000/1001, which Blender keeps as 30 over a base of about 1.001."""
    # fps_base is a 32-bit float; the real bases (1, 1.001, 1.0/…) have small denominators.
    base = Fraction(scene.render.fps_base).limit_denominator(1001)
    return Fraction(scene.render.fps) / base


def check(scene: bpy.types.Scene | None, strip: Any, *, rendered: bool = True) -> None:
    """Raises Failure where the strip can't get a sound, or can't be `rendered` for it, before anything is sent."""
    if scene is None or strip is None:
        raise Failure("no_strip", "The strip is gone.", "Select a strip and generate again.")
    if not has_picture(strip):
        raise Failure("no_picture", f"“{strip.name}” has no picture.", "Select a movie, image, scene or effect strip.")
    if not keeps_marks(scene):
        text = f"The scene “{scene.name}” is linked from another file, which can't keep its sound."
        raise Failure("linked_scene", text, "Open that file, or make the scene local.")
    seen = span(strip)
    if not seen.frames:
        text = f"“{strip.name}” isn't seen: the meta strip around it shows other frames."
        raise Failure("not_seen", text, "Move the meta strip's handles, or select another strip.")
    if rendered:
        for part, first, end in isolate.made_of(strip, seen.start, seen.end):
            _check_files(strip, media_files.seen(part, first, end))
            _check_part(strip, part)


def _check_files(strip: Any, files: Sequence[Path]) -> None:
    """Raises Failure where none of the files is there that a part of the strip plays: gaps in a sequence are filled."""
    missing: list[Path] = []
    for path in files:
        try:
            if not media_files.is_there(path):
                missing.append(path)
        except OSError as fault:
            what, way_out = f"“{strip.name}”: its file {path} can't be read", "or choose another in the strip's properties"
            raise of_disk(fault, what, way_out, reading=True) from fault
    if missing and len(missing) == len(files):
        raise Failure(
            "missing_file",
            f"“{strip.name}”: its file is missing: {missing[0]}",
            "Find it with File > External Data > Find Missing Files, or choose it in the strip's properties.",
        )


def _check_part(strip: Any, part: Any) -> None:
    """Raises Failure where a datablock that the strip shows is missing."""
    if part.type == "SCENE" and part.scene is None:
        raise Failure("missing_scene", f"“{strip.name}” shows a scene that no longer exists.", "Choose another scene.")
    if part.type == "SCENE" and part.scene_input == "CAMERA" and not (part.scene_camera or part.scene.camera):
        text = f"“{strip.name}” shows the scene “{part.scene.name}”, which has no camera."
        raise Failure("no_camera", text, "Give the scene a camera, or choose one in the strip's properties.")
    if part.type == "MOVIECLIP" and part.clip is None:
        raise Failure("missing_clip", f"“{strip.name}” shows a movie clip that no longer exists.", "Choose another clip.")
