# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection of media that Blender can't decode, in whose place it renders a color.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.

Files are decoded for this, since real footage may have the placeholder's color. Measured with Blender 4.5.15 and 5.2.3,
which give no other sign: a strip keeps the size and length of a file that has changed since, and a movie that fails prints
nothing.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bpy
import imbuf

from . import compat, isolate, media_files
from .strip_types import MovieStrip, PictureStrip

_PNG_START = b"\x89PNG\r\n\x1a\n"
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_MATROSKA_START, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
_HEADER_BYTES = 4096
_SAFE_SHARE = 0.8
"""Share of the frames expected in a truncated file that counts as present, since frames differ in size."""
_NUMBER = re.compile(r"\d+")


class Undecodable(Exception):
    """A file that a strip plays can't be decoded. The message names the strip and the file."""


def check(dependencies: Iterable[isolate.StripRange], *, textures: bool) -> None:
    """Raise Undecodable for the first strip with a file that can't be decoded in the strip's frame range.

    `textures` states whether 3D scenes are rendered with their image textures.
    """
    for strip, first, end in dependencies:
        for path, problem in _problems(strip, first, end, textures):
            raise Undecodable(f"“{strip.name}” {problem}: {path}")


def _problems(strip: PictureStrip, first: int, end: int, textures: bool) -> Iterator[tuple[str, str]]:
    """Yield (path, problem) for each file that can't be decoded."""
    library = strip.id_data.library
    match strip.type:
        case "MOVIE":
            path = bpy.path.abspath(strip.filepath, library=library)
            yield from _movie_problems(path, _frames_needed(strip, end))
            if _exceeds_movie(strip, _movie_frames(path)):
                yield path, "plays a movie that is shorter than it was when the strip was added"
        case "IMAGE":
            yield from _image_problems(map(str, media_files.of_strip(strip, first, end)))
        case "MOVIECLIP" if strip.clip is not None:
            path = bpy.path.abspath(strip.clip.filepath, library=strip.clip.library)
            if strip.clip.source == "MOVIE":
                yield from _movie_problems(path, None)
            else:
                start = int(compat.content_start(strip))
                yield from _image_problems(_numbered(path, frame - start) for frame in range(first, end))
        case "SCENE" if strip.scene is not None and strip.scene_input == "CAMERA":
            scene: Any = strip.scene
            if textures or scene.display.shading.color_type == "TEXTURE":
                yield from _texture_problems(scene)
        case _:
            pass


def _movie_problems(path: str, needed: int | None) -> Iterator[tuple[str, str]]:
    """Yield problems of a movie. `needed` is the number of frames needed from its start, or None for all."""
    frames = _movie_frames(path)
    if not frames:
        yield path, "plays a movie that can't be decoded"
        return
    share = available_share(Path(path))
    # In the place of missing frames Blender shows the last one that it could decode, or arbitrary memory.
    if share < 1 and (needed is None or needed > frames * share * _SAFE_SHARE):
        yield path, "plays a movie whose file ends too early"


def _image_problems(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if not _is_image(path):
            yield path, "shows an image that can't be decoded"


def _texture_problems(scene: Any) -> Iterator[tuple[str, str]]:
    for image in _textures(scene):
        path = bpy.path.abspath(image.filepath, library=image.library)
        if not (_movie_frames(path) if image.source == "MOVIE" else _is_image(path)):
            yield path, "shows a texture that can't be decoded"


def _frames_needed(strip: MovieStrip, end: int) -> int | None:
    """Return the number of frames from the movie's start that the strip needs up to the frame `end`.

    None if it plays them in another order.
    """
    if strip.use_reverse_frames or len(strip.retiming_keys):
        return None
    return int(end - compat.content_start(strip))


def _numbered(path: str, offset: int) -> str:
    """Return the path of the image that is `offset` frames later in the sequence."""
    numbers = list(_NUMBER.finditer(Path(path).stem))
    if not numbers:
        return path
    stem, (start, end) = Path(path).stem, numbers[-1].span()
    number = str(int(stem[start:end]) + offset).zfill(end - start)
    return str(Path(path).with_stem(stem[:start] + number + stem[end:]))


def _movie_frames(path: str) -> int:
    """Return the number of frames of a movie, or 0 if it can't be opened or decoded."""
    return _frames_of_version(path, _version(path))


@cache
def _frames_of_version(path: str, _: object) -> int:
    """A new strip reads it from the file."""
    scratch: Any = bpy.data.scenes.new("mmaudio")
    try:
        strip = scratch.sequence_editor_create().strips.new_movie(name="", filepath=path, channel=1, frame_start=1)
        return compat.content_duration(strip) if strip.elements[0].orig_width else 0
    except RuntimeError:
        return 0
    finally:
        bpy.data.scenes.remove(scratch)


def _version(path: str) -> tuple[int, int] | None:
    """Return what changes when the file is written again, since this process may outlive the file."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


def _exceeds_movie(strip: MovieStrip, frames: int) -> bool:
    """Return whether the strip plays frames beyond the `frames` that its file has. Held frames at its ends don't count.

    A movie of another frame rate is played either at its own rate or frame by frame, and no property tells which: the file
    must be too short in both cases.
    """
    if strip.use_reverse_frames or len(strip.retiming_keys):
        return False
    render = strip.id_data.render
    rate_ratio = render.fps / render.fps_base / strip.fps if strip.fps else 1.0
    trimmed = compat.content_trim_start(strip)
    available = (frames - trimmed) * max(1.0, rate_ratio) + (rate_ratio != 1)
    needed = compat.right_handle(strip) - compat.content_start(strip) - trimmed
    return available < min(compat.content_duration(strip), needed)


def _is_image(path: str) -> bool:
    return _is_image_of_version(path, _version(path))


@cache
def _is_image_of_version(path: str, _: object) -> bool:
    file = Path(path)
    try:
        if _is_complete_png(file):
            # Decoding every image of a sequence would take as long as rendering it.
            return True
        imbuf.load(path).free()
    except (ValueError, OSError):
        return False
    return True


def _is_complete_png(file: Path) -> bool:
    """Return whether the file has all chunks of a PNG up to the last one, each with a correct checksum."""
    with file.open("rb") as data:
        if data.read(len(_PNG_START)) != _PNG_START:
            return False
        while head := data.read(8):
            body, checksum = data.read(int.from_bytes(head[:4], "big")), data.read(4)
            if zlib.crc32(body, zlib.crc32(head[4:])) != int.from_bytes(checksum, "big") or len(checksum) < 4:
                return False
            if head[4:] == b"IEND":
                return True
    return False


def available_share(file: Path) -> float:
    """Return which share of an mp4, mov or Matroska file is present by its own headers, from 0 to 1. 1 for other files."""
    size = file.stat().st_size
    with file.open("rb") as data:
        header = data.read(_HEADER_BYTES)
        if header.startswith(_MATROSKA_START):
            return min(size / max(_matroska_size(header), 1), 1.0)
        position = 0
        while position + 8 <= size:
            data.seek(position)
            box = data.read(16)
            length, kind = int.from_bytes(box[:4], "big"), box[4:8]
            if length == 1:
                length = int.from_bytes(box[8:16], "big")
            if (not position and kind not in _MP4_BOXES) or length < 8:
                return 1.0
            if position + length > size:
                # Other boxes that exceed the file contain nothing of the movie.
                return (size - position) / length if kind in (b"mdat", b"moov") else 1.0
            position += length
    return 1.0


def _matroska_size(header: bytes) -> int:
    """Return the file size implied by the length of its segment, or 0 if that is unknown, as in a live recording."""
    start = header.find(_SEGMENT)
    if start < 0 or start + 12 > len(header):
        return 0
    start += len(_SEGMENT)
    length = 9 - header[start].bit_length()
    size = int.from_bytes(header[start : start + length], "big") & ((1 << 7 * length) - 1)
    return start + length + size if size < (1 << 7 * length) - 1 else 0


def _textures(scene: Any) -> Iterator[Any]:
    """Yield the unpacked images in the materials of the scene's visible objects, also of instances, and in its world."""
    collections, items = [scene.collection], dict[Any, None]()
    while collections:
        for item in collections.pop().all_objects:
            if item not in items and not item.hide_render:
                items[item] = None
                collections += [item.instance_collection] if item.instance_collection else []
    trees = [slot.material.node_tree for item in items for slot in item.material_slots if slot.material]
    trees += [scene.world.node_tree] if scene.world else []
    visited: list[Any] = []
    while trees:
        tree = trees.pop()
        if tree is None or tree in visited:
            continue
        visited.append(tree)
        for node in tree.nodes:
            if any(socket.is_linked for socket in node.outputs):
                trees.append(getattr(node, "node_tree", None))
                image = getattr(node, "image", None)
                if image is not None and image.source in ("FILE", "MOVIE") and not image.packed_file:
                    yield image
