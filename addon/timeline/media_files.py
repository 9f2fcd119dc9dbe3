# SPDX-License-Identifier: GPL-3.0-or-later
"""Media files that a strip plays, and replacement of missing images.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.
"""

import errno
import os
from bisect import bisect
from collections.abc import Iterable
from pathlib import Path

import bpy

from . import isolate
from .strip_types import ImageStrip, PictureStrip

_MISSING_WINDOWS_ERRORS = (21, 123, 1921)
"""Windows: no medium in the drive, invalid name, unresolvable link. Python doesn't raise FileNotFoundError for these."""


class MissingFile(Exception):
    """No file that a strip plays exists. The message names a file."""


class UnreadableFile(Exception):
    """A file can't be read, or not even be looked for; the cause is an OSError. The message names the file."""


def check(dependencies: Iterable[isolate.StripRange], *, with_gaps: bool = True) -> None:
    """Raise MissingFile or UnreadableFile for the first strip that can't be shown.

    A strip may be shown `with_gaps`, since these can be filled: then only a strip without any of its images can't be shown.
    """
    for strip, first, end in dependencies:
        files = of_strip(strip, first, end)
        missing = [path for path in files if not _exists(path)]
        if missing and (len(missing) == len(files) or not with_gaps):
            raise MissingFile(f"its file is missing: {missing[0]}")


def _exists(path: Path) -> bool:
    try:
        return exists(path)
    except OSError as fault:
        raise UnreadableFile(f"its file {path} can't be read") from fault


def of_strip(strip: PictureStrip, first: int, end: int) -> list[Path]:
    """Return the absolute paths of the media files that the strip plays from the frame `first` up to `end`, each once."""
    library = strip.id_data.library
    match strip.type:
        case "MOVIE":
            return [Path(bpy.path.abspath(strip.filepath, library=library))]
        case "MOVIECLIP" if strip.clip is not None:
            return [Path(bpy.path.abspath(strip.clip.filepath, library=strip.clip.library))]
        case "IMAGE":
            # Before its first image and after its last one, the strip holds that image.
            elements = (strip.strip_elem_from_frame(frame) for frame in range(first, end))
            names = dict.fromkeys(element.filename for element in elements if element is not None)
            return [_folder(strip) / name for name in names]
        case _:
            return []


def exists(path: Path) -> bool:
    """Return whether the file exists. Raise OSError if that can't be determined, or if the file can't be read."""
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


def fill_gaps(dependencies: Iterable[isolate.StripRange]) -> list[str]:
    """Replace each missing image of a sequence by the nearest existing one, since Blender 4.5 (observed in 4.5.15) crashes.

    Return a note for each strip that has missing images in its range. A strip without any readable image is left unchanged.
    """
    indices: dict[ImageStrip, set[int]] = {}
    for strip, first, end in dependencies:
        if strip.type == "IMAGE":
            indices.setdefault(strip, set()).update(_visible_indices(strip, first, end))
    notes = (_fill(strip, sorted(visible)) for strip, visible in indices.items())
    return [note for note in notes if note]


def _fill(strip: ImageStrip, visible: list[int]) -> str:
    """Fill the gaps of one strip, and return a note or an empty string. `visible` has the indices of the visible images."""
    folder, names = _folder(strip), [element.filename for element in strip.elements]
    existing = [index for index in visible if _is_readable(folder / names[index])]
    missing = {names[index] for index in visible} - {names[index] for index in existing}
    if not existing:
        return ""
    for index, element in enumerate(strip.elements):
        # Images outside the range are filled in too: an effect may show them.
        if names[index] in missing or (index not in visible and not _is_readable(folder / names[index])):
            element.filename = names[existing[max(bisect(existing, index) - 1, 0)]]
    if not missing:
        return ""
    if len(missing) == 1:
        return f"1 image of “{strip.name}” was missing; the nearest one was shown in its place."
    return f"{len(missing)} images of “{strip.name}” were missing; the nearest ones were shown in their place."


def _is_readable(path: Path) -> bool:
    try:
        return exists(path)
    except OSError:
        return False


def _visible_indices(strip: ImageStrip, first: int, end: int) -> set[int]:
    """Return the indices of the strip's images that are visible from the frame `first` up to `end`."""
    indices = {element.as_pointer(): index for index, element in enumerate(strip.elements)}
    elements = (strip.strip_elem_from_frame(frame) for frame in range(first, end))
    return {indices[element.as_pointer()] for element in elements if element is not None}


def _folder(strip: ImageStrip) -> Path:
    return Path(bpy.path.abspath(strip.directory, library=strip.id_data.library))
