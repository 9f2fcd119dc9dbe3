# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds media that Blender can't decode, in whose place it shows a color. Runs inside the background Blender, see
`render_clip.py`, so it imports nothing of other rooms.

Found by decoding: real footage may have the placeholder's color. Measured with Blender 4.5.15 and 5.2.3, whose other signs
are of no use: a strip keeps the size and length of a file that has changed since, and a movie that fails prints nothing.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bpy
import imbuf

from . import compat, isolate

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_MATROSKA_START, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
_HEADER_BYTES = 4096


class Undecodable(Exception):
    """What a strip shows can't be decoded. Its text names the strip and the file."""


def check(parts: Iterable[isolate.Part], *, textures: bool) -> None:
    """Raises Undecodable for the first of the parts whose file can't be decoded where it is seen.

    textures  whether the image textures of 3D scenes are seen
    """
    for strip, first, end in parts:
        for path, problem in _problems(strip, first, end, textures):
            raise Undecodable(f"“{strip.name}” {problem}: {path}")


def _problems(strip: Any, first: int, end: int, textures: bool) -> Iterator[tuple[str, str]]:
    library = strip.id_data.library
    match strip.type:
        case "MOVIE":
            yield from _movie_problems(strip, bpy.path.abspath(strip.filepath, library=library))
        case "IMAGE":
            folder = Path(bpy.path.abspath(strip.directory, library=library))
            elements = (strip.strip_elem_from_frame(frame) for frame in range(first, end))
            for name in dict.fromkeys(element.filename for element in elements if element is not None):
                if not _is_image(str(folder / name)):
                    yield str(folder / name), "shows an image that can't be decoded"
        case "MOVIECLIP" if strip.clip is not None:
            path = bpy.path.abspath(strip.clip.filepath, library=strip.clip.library)
            if not _movie_frames(path):
                yield path, "shows a movie clip that can't be decoded"
        case "SCENE" if textures and strip.scene is not None and strip.scene_input == "CAMERA":
            for path in _textures(strip.scene):
                if not _is_image(path):
                    yield path, "shows a texture that can't be decoded"
        case _:
            pass


def _movie_problems(strip: Any, path: str) -> Iterator[tuple[str, str]]:
    frames = _movie_frames(path)
    if not frames:
        yield path, "plays a movie that can't be decoded"
    elif is_cut_short(Path(path)):
        # Blender goes on showing the last frame that it could decode, or whatever is in its memory.
        yield path, "plays a movie whose file ends too early"
    elif _shows_beyond(strip, frames):
        yield path, "plays a movie that is shorter than it was when the strip was added"


@cache
def _movie_frames(path: str) -> int:
    """How many frames a movie has, 0 for what can't be opened or decoded: as a new strip finds it, read from the file."""
    scratch: Any = bpy.data.scenes.new("mmaudio")
    try:
        strip = scratch.sequence_editor_create().strips.new_movie(name="", filepath=path, channel=1, frame_start=1)
        return compat.content_length(strip) if strip.elements[0].orig_width else 0
    except RuntimeError:
        return 0
    finally:
        bpy.data.scenes.remove(scratch)


def _shows_beyond(strip: Any, frames: int) -> bool:
    """Whether the strip shows frames that its file of so many frames hasn't got: not those that it holds at its ends.

    A movie of another rate is played at its own rate or frame by frame, and the strip doesn't tell which: it has to be
    too short either way.
    """
    if strip.use_reverse_frames or len(strip.retiming_keys):
        return False
    render = strip.id_data.render
    faster = render.fps / render.fps_base / strip.fps if strip.fps else 1.0
    trimmed = compat.trimmed_start(strip)
    there = (frames - trimmed) * max(1.0, faster) + (faster != 1)
    until = compat.right_handle(strip) - compat.content_start(strip) - trimmed
    return there < min(compat.content_length(strip), until)


@cache
def _is_image(path: str) -> bool:
    file = Path(path)
    try:
        if _is_whole_png(file):
            # To decode each image of a sequence takes as long as to render it.
            return True
        imbuf.load(path).free()
    except (ValueError, OSError):
        return False
    return True


def _is_whole_png(file: Path) -> bool:
    with file.open("rb") as data:
        start = data.read(len(_PNG_START))
        data.seek(max(file.stat().st_size - len(_PNG_END), 0))
        return start == _PNG_START and data.read() == _PNG_END


def is_cut_short(file: Path) -> bool:
    """Whether an mp4, mov or Matroska file is shorter than its own headers say."""
    size = file.stat().st_size
    with file.open("rb") as data:
        header = data.read(_HEADER_BYTES)
        if header.startswith(_MATROSKA_START):
            return _matroska_size(header) > size
        position = 0
        while position + 8 <= size:
            data.seek(position)
            box = data.read(16)
            length, kind = int.from_bytes(box[:4], "big"), box[4:8]
            if length == 1:
                length = int.from_bytes(box[8:16], "big")
            if (not position and kind not in _MP4_BOXES) or length < 8:
                return False
            if position + length > size:
                # What follows the last box may be anything, but these are the movie.
                return kind in (b"mdat", b"moov")
            position += length
    return False


def _matroska_size(header: bytes) -> int:
    """How large the file should be, by the length of its segment; 0 where that isn't told, as in a recording."""
    start = header.find(_SEGMENT)
    if start < 0 or start + 12 > len(header):
        return 0
    start += len(_SEGMENT)
    length = 9 - header[start].bit_length()
    told = int.from_bytes(header[start : start + length], "big") & ((1 << 7 * length) - 1)
    return start + length + told if told < (1 << 7 * length) - 1 else 0


def _textures(scene: Any) -> Iterator[str]:
    """The files of the image textures that the scene's objects and its world wear."""
    trees = [slot.material.node_tree for item in scene.objects for slot in item.material_slots if slot.material]
    trees += [scene.world.node_tree] if scene.world else []
    done: list[Any] = []
    while trees:
        tree = trees.pop()
        if tree is None or tree in done:
            continue
        done.append(tree)
        for node in tree.nodes:
            trees.append(getattr(node, "node_tree", None))
            image = getattr(node, "image", None)
            if image is not None and image.source == "FILE" and not image.packed_file:
                yield bpy.path.abspath(image.filepath, library=image.library)
