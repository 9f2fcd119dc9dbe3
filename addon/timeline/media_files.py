# SPDX-License-Identifier: GPL-3.0-or-later
"""Which media files a strip plays where it is seen, and whether they are there. Also used in the background Blender, so it
imports nothing of the other rooms.
"""

import errno
import os
from bisect import bisect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy

from . import isolate

# Windows: the drive is empty, the name or the link is not valid. Python makes other errors of them.
_MISSING_WINDOWS_ERRORS = (21, 123, 1921)


def seen(strip: Any, first: int, end: int) -> list[Path]:
    """The media files that the strip plays from one frame to another, as absolute paths, each once."""
    library = strip.id_data.library
    match strip.type:
        case "MOVIE":
            return [Path(bpy.path.abspath(strip.filepath, library=library))]
        case "MOVIECLIP" if strip.clip is not None:
            return [Path(bpy.path.abspath(strip.clip.filepath, library=strip.clip.library))]
        case "IMAGE":
            # Before and after its images a strip holds the first and the last of them.
            elements = (strip.strip_elem_from_frame(frame) for frame in range(first, end))
            names = dict.fromkeys(element.filename for element in elements if element is not None)
            return [_folder(strip) / name for name in names]
        case _:
            return []


def is_there(path: Path) -> bool:
    """Whether there is a file of that name. Raises OSError where that can't be told, or the file can't be read."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as fault:
        if getattr(fault, "winerror", None) in _MISSING_WINDOWS_ERRORS:
            return False
        raise
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return True


def fill_gaps(parts: Iterable[isolate.VisiblePart]) -> list[str]:
    """Puts the nearest image that is there in the place of each one that is missing from a sequence; returns a note for each
    strip that misses some where it is seen.

    Blender 4.5 (seen in 4.5.15) crashes on a missing image. A strip none of whose images can be read stays as it is.
    """
    numbers: dict[Any, set[int]] = {}
    for strip, first, end in parts:
        if strip.type == "IMAGE":
            numbers.setdefault(strip, set()).update(_element_numbers(strip, first, end))
    notes = (_fill(strip, sorted(shown)) for strip, shown in numbers.items())
    return [note for note in notes if note]


def _fill(strip: Any, shown: list[int]) -> str:
    """`shown` are the numbers of the images that are seen, from 0."""
    folder, names = _folder(strip), [element.filename for element in strip.elements]
    there = [number for number in shown if _is_readable(folder / names[number])]
    missing = {names[number] for number in shown} - {names[number] for number in there}
    if not there:
        return ""
    for number, element in enumerate(strip.elements):
        # Also those that are not seen by these frames: an effect may show others.
        if names[number] in missing or (number not in shown and not _is_readable(folder / names[number])):
            element.filename = names[there[max(bisect(there, number) - 1, 0)]]
    if not missing:
        return ""
    if len(missing) == 1:
        return f"1 image of “{strip.name}” was missing; the nearest one was shown in its place."
    return f"{len(missing)} images of “{strip.name}” were missing; the nearest ones were shown in their place."


def _is_readable(path: Path) -> bool:
    try:
        return is_there(path)
    except OSError:
        return False


def _element_numbers(strip: Any, first: int, end: int) -> set[int]:
    """The places of the images that are seen from one frame to another, from 0."""
    places = {element.as_pointer(): number for number, element in enumerate(strip.elements)}
    elements = (strip.strip_elem_from_frame(frame) for frame in range(first, end))
    return {places[element.as_pointer()] for element in elements if element is not None}


def _folder(strip: Any) -> Path:
    return Path(bpy.path.abspath(strip.directory, library=strip.id_data.library))
