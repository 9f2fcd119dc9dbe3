# SPDX-License-Identifier: GPL-3.0-or-later
"""The one thing that has to be read from an mp4 itself: how late its sound comes, without its decoder seeing to it. No bpy.

Box layout after ISO/IEC 14496-12. PyPI's readers of these boxes need a `construct` of 2016 or a compiled module.

Measured with `aud` of Blender 4.5.15 and 5.2.3, which behave alike: it drops what lies before the media time of the edit
list, whatever the codec, and Opus' own pre-skip; it does not heed an edit that is empty, by which a file says that its
sound begins later than its picture.
"""

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from ..failure import Failure

AAC_DELAY = 1024
"""Samples of silence that an AAC encoder puts before the sound."""
MP3_DELAY = 1105
"""Samples that come before the sound when LAME, which all but every mp3 is from, encodes it and any decoder decodes it."""

# A delay that a file tells of is longer: 21 ms at 48 kHz. What is shorter comes from rounding to a coarse time scale.
_UNTOLD_SECONDS = Fraction(5, 1000)
_HEADER_MAX = 64 * 1024**2
_DEPTH_MAX = 8
"""Boxes within boxes; a track has five."""
_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts"}
# ISO/IEC 14496-1: an elementary stream's descriptor (3) holds a decoder's (4), which begins with the coding's number.
_CODING = re.compile(rb"esds.{4}\x03[\x80-\xff]{0,3}.{4}\x04[\x80-\xff]{0,3}.(.)", re.DOTALL)
_CODING_AAC = (0x40, 0x66, 0x67, 0x68)
_CODING_MP3 = (0x69, 0x6B)

_Boxes = dict[bytes, bytes]


def unsignalled_delay(path: Path) -> int:
    """How many samples late the sound of the file at `path` is decoded, against its picture; below 0, too early.

    Where the file doesn't tell, and its sound is AAC or mp3, the encoder's delay is taken for unsignalled.
    0 for files that are no mp4. Raises Failure for an mp4 without sound.
    """
    movie = list(_boxes(_movie_header(path)))
    tracks = [_track(content) for kind, content in movie if kind == b"trak"]
    if not tracks:
        return 0
    sound = next((track for track in tracks if _handler(track) == b"soun"), None)
    if sound is None:
        raise Failure("no_sound", "The result has no sound in it.", "Generate it again, or with another prompt.")
    picture = next((track for track in tracks if _handler(track) == b"vide"), {})
    ticks = _time_scale(dict(movie).get(b"mvhd", b""))
    empty, skipped = _edit(sound)
    later = Fraction(empty - _edit(picture)[0], ticks) if ticks else Fraction(0)
    rate = _time_scale(sound.get(b"mdhd", b"")) or 1
    if max(abs(later), Fraction(skipped, rate)) < _UNTOLD_SECONDS:
        return max(_encoder_delay(sound.get(b"stsd", b"")) - skipped, 0)
    return -round(later * rate)


def _encoder_delay(stsd: bytes) -> int:
    """In samples, by the coding of the track's first sample description."""
    entry = stsd[12:16]
    coding = _CODING.search(stsd)
    if entry == b".mp3" or (entry == b"mp4a" and coding and coding[1][0] in _CODING_MP3):
        return MP3_DELAY
    return AAC_DELAY if entry == b"mp4a" and (coding is None or coding[1][0] in _CODING_AAC) else 0


def _edit(track: _Boxes) -> tuple[int, int]:
    """How long the track waits before it begins, in the movie's ticks, and from where in its media, in the media's."""
    edits = track.get(b"elst", b"")
    if len(edits) < 8:
        return 0, 0
    version, count = edits[0], struct.unpack(">I", edits[4:8])[0]
    layout = struct.Struct(">QqI" if version else ">IiI")
    entries = edits[8 : 8 + min(count, 1000) * layout.size]
    usable = len(entries) // layout.size * layout.size
    wait = 0
    for duration, media_time, _ in layout.iter_unpack(entries[:usable]):
        if media_time >= 0:
            return wait, media_time
        wait += duration
    return wait, 0


def _time_scale(header: bytes) -> int:
    """Ticks a second, of a movie's or a media's header; 0 where it doesn't say. A sound's is its sample rate."""
    start = 20 if header[:1] == b"\x01" else 12
    return int.from_bytes(header[start : start + 4])


def _handler(track: _Boxes) -> bytes:
    return track.get(b"hdlr", b"")[8:12]


def _track(content: bytes) -> _Boxes:
    """The boxes within a track, by type, the first of each."""
    return dict(reversed(list(_leaves(content))))


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
