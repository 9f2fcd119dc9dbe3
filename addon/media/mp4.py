# SPDX-License-Identifier: GPL-3.0-or-later
"""Delay of an mp4's sound that Blender's decoder doesn't correct, read from the file's boxes. No bpy.

Box layout after ISO/IEC 14496-12. The box readers on PyPI need a `construct` of 2016 or a compiled module.

Measured with `aud` of Blender 4.5.15 and 5.2.3, which behave alike: it drops the samples before the media time of the edit
list, whatever the codec, and Opus' own pre-skip. It ignores an empty edit, by which a file states that its sound begins
later than its picture.
"""

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from ..failure import RunFailure

AAC_DELAY = 1024
"""Number of silent samples that an AAC encoder inserts before the sound."""
MP3_DELAY = 1105
"""Number of samples before the sound in an mp3 by LAME, the encoder of nearly every mp3, in the output of any decoder."""

_ROUNDING_MAX_SECONDS = Fraction(5, 1000)
"""Delays below this come from rounding to a coarse time scale. A signaled encoder delay is longer: 21 ms at 48 kHz."""
_HEADER_MAX = 64 * 1024**2
_DEPTH_MAX = 8
"""Limit of nested boxes. A track has five levels."""
_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}
_OBJECT_TYPE = re.compile(rb"esds.{4}\x03[\x80-\xff]{0,3}.{4}\x04[\x80-\xff]{0,3}.(.)", re.DOTALL)
"""ISO/IEC 14496-1: the ES descriptor (tag 3) holds a decoder descriptor (tag 4), whose first byte is the object type."""
_OBJECT_TYPES_AAC = (0x40, 0x66, 0x67, 0x68)
_OBJECT_TYPES_MP3 = (0x69, 0x6B)

_Boxes = dict[bytes, bytes]
"""Contents of boxes by type."""


class NoSoundTrack(RunFailure):
    code = "no_sound"
    default_hint = "Generate the sound again, or with another prompt."


def unsignaled_delay(path: Path) -> int:
    """Return the number of samples by which the decoded sound lags behind the picture. A negative number means it is early.

    If the file signals no delay and its sound is AAC or mp3, assume the encoder's usual delay. Return 0 for files that are
    not mp4. Raise NoSoundTrack for an mp4 without sound.
    """
    movie = list(_boxes(_movie_header(path)))
    tracks = [_track(content) for kind, content in movie if kind == b"trak"]
    if not tracks:
        return 0
    sound = next((track for track in tracks if _handler(track) == b"soun"), None)
    if sound is None:
        raise NoSoundTrack("The result has no audio track.")
    picture = next((track for track in tracks if _handler(track) == b"vide"), {})
    ticks = _time_scale(dict(movie).get(b"mvhd", b""))
    empty, skipped = _first_edit(sound)
    start_offset = Fraction(empty - _first_edit(picture)[0], ticks) if ticks else Fraction(0)
    rate = _time_scale(sound.get(b"mdhd", b"")) or 1
    if max(abs(start_offset), Fraction(skipped, rate)) < _ROUNDING_MAX_SECONDS:
        return max(_encoder_delay(sound.get(b"stsd", b"")) - skipped, 0)
    return -round(start_offset * rate)


def _encoder_delay(stsd: bytes) -> int:
    """Return the usual delay of the encoder in samples, by the codec of the track's first sample description."""
    entry = stsd[12:16]
    match = _OBJECT_TYPE.search(stsd)
    object_type = match[1][0] if match else None
    if entry == b".mp3" or (entry == b"mp4a" and object_type in _OBJECT_TYPES_MP3):
        return MP3_DELAY
    return AAC_DELAY if entry == b"mp4a" and object_type in (None, *_OBJECT_TYPES_AAC) else 0


def _first_edit(track: _Boxes) -> tuple[int, int]:
    """Return the duration of the empty edits at the track's start, in ticks of the movie, and the media time of the first
    other edit, in ticks of the media.
    """
    edits = track.get(b"elst", b"")
    if len(edits) < 8:
        return 0, 0
    version, count = edits[0], struct.unpack(">I", edits[4:8])[0]
    layout = struct.Struct(">QqI" if version else ">IiI")
    entries = edits[8 : 8 + min(count, 1000) * layout.size]
    usable = len(entries) // layout.size * layout.size
    empty = 0
    for duration, media_time, _ in layout.iter_unpack(entries[:usable]):
        if media_time >= 0:
            return empty, media_time
        empty += duration
    return empty, 0


def _time_scale(header: bytes) -> int:
    """Return the ticks per second given by a movie or media header, or 0 if absent. Those of a sound are its sample rate."""
    start = 20 if header[:1] == b"\x01" else 12
    return int.from_bytes(header[start : start + 4])


def _handler(track: _Boxes) -> bytes:
    return track.get(b"hdlr", b"")[8:12]


def _track(content: bytes) -> _Boxes:
    """Return the boxes of a track, the first one of each type."""
    return dict(reversed(list(_leaves(content))))


def _movie_header(path: Path) -> bytes:
    """Return the content of the `moov` box, or nothing if there is none. The media data is never read."""
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
    """Yield (type, content) of the boxes that contain no others, at any depth."""
    for kind, content in _boxes(data):
        if kind in _CONTAINERS and depth < _DEPTH_MAX:
            yield from _leaves(content, depth + 1)
        else:
            yield kind, content


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) of each box, stopping at an invalid one."""
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8:
            return
        yield kind, data[position + 8 : position + size]
        position += size
