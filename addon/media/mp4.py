# SPDX-License-Identifier: GPL-3.0-or-later
"""The one thing that has to be read from an mp4 itself: whether its sound tells of the encoder's delay. No bpy.

Box layout after ISO/IEC 14496-12. PyPI's readers of these boxes need a `construct` of 2016 or a compiled module.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from ..failure import Failure

AAC_DELAY = 1024
"""Samples of silence that an AAC encoder puts before the sound."""

_HEADER_MAX = 64 * 1024**2
_DEPTH_MAX = 8
"""Boxes within boxes; a track has five."""
_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}


def unsignalled_delay(path: Path) -> int:
    """How many samples late the sound of the file at `path` comes, though its edit list doesn't say so.

    0 for files that are no mp4. Raises Failure for an mp4 without sound.
    """
    tracks = list(_tracks(path))
    if not tracks:
        return 0
    for boxes in tracks:
        if boxes.get(b"hdlr", b"")[8:12] == b"soun":
            is_aac = boxes.get(b"stsd", b"")[12:16] == b"mp4a"
            return AAC_DELAY if is_aac and not _skips_start(boxes.get(b"elst", b"")) else 0
    raise Failure("no_sound", "The result has no sound in it.", "Generate it again, or with another prompt.")


def _skips_start(edit_list: bytes) -> bool:
    """Whether an entry of the edit list begins after the media's own start."""
    if len(edit_list) < 8:
        return False
    version, count = edit_list[0], struct.unpack(">I", edit_list[4:8])[0]
    layout = struct.Struct(">QqI" if version else ">IiI")
    entries = edit_list[8 : 8 + min(count, 1000) * layout.size]
    usable = len(entries) // layout.size * layout.size
    return any(media_time > 0 for _, media_time, _ in layout.iter_unpack(entries[:usable]))


def _tracks(path: Path) -> Iterator[dict[bytes, bytes]]:
    """The boxes within each track of the file, by type, the first of each."""
    for kind, content in _boxes(_movie_header(path)):
        if kind == b"trak":
            yield dict(reversed(list(_leaves(content))))


def _movie_header(path: Path) -> bytes:
    """The content of the `moov` box; the media data around it is never read."""
    end = path.stat().st_size
    start = 0
    with path.open("rb") as file:
        while start + 8 <= end:
            file.seek(start)
            size, kind = struct.unpack(">I4s", file.read(8))
            if size == 1:
                size = int.from_bytes(file.read(8), "big")
            size = min(size or end, end - start)
            if size < file.tell() - start:
                break
            if kind == b"moov":
                return file.read(min(size - (file.tell() - start), _HEADER_MAX))
            start += size
    return b""


def _leaves(data: bytes, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
    for kind, content in _boxes(data):
        if kind in _CONTAINERS and depth < _DEPTH_MAX:
            yield from _leaves(content, depth + 1)
        else:
            yield kind, content


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8:
            return
        yield kind, data[position + 8 : position + size]
        position += size
