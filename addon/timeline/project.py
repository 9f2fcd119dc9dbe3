# SPDX-License-Identifier: GPL-3.0-or-later
"""Path of the open file, and copies of the sounds that were generated before it was saved. Main thread."""

import logging
import os
import shutil
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import bpy

from . import compat, strips

log = logging.getLogger(__name__)


def saved_as() -> str:
    """Return the path of the open .blend, or an empty string if it was never saved.

    A recovered session counts as never saved: its path is that of the copy in Blender's temporary folder, which the next
    session overwrites.
    """
    return "" if is_temporary(bpy.data.filepath) else bpy.data.filepath


def is_temporary(blend: str) -> bool:
    """Return whether a .blend is in Blender's temporary folder, which holds the last session and auto-saved files."""
    return bool(blend) and _is_in_temporary_folder(blend, bpy.app.tempdir)


@cache
def _is_in_temporary_folder(blend: str, temporary: str) -> bool:
    """Look at the disk once for each path: it is asked for often, and may be on a network drive."""
    session = Path(os.path.realpath(temporary))
    return Path(os.path.realpath(blend)).parent in (session, session.parent)


def copy_sounds(temporary: Collection[Path], results: Path) -> None:
    """Copy the open file's generated sounds from temporary folders to `results`, and let their strips play the copies.

    The original files are kept for the steps of the undo history, which play them.
    """
    for sound in _sounds():
        file = Path(bpy.path.abspath(sound.filepath))
        if file.parent in temporary and (copy := copy_to(file, results)) != file:
            sound.filepath = str(copy)


def copy_to(file: Path, results: Path) -> Path:
    """Return the file's copy in the folder `results`, creating it if necessary, or the file itself if it can't be copied."""
    target = results / file.name
    part = target.with_name(f"{target.name}.part")
    try:
        if not target.is_file():
            results.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, part)
            part.replace(target)
    except OSError as fault:
        log.warning("%s was not copied: %s", file, fault)
        part.unlink(missing_ok=True)
        return file
    return target


def _sounds() -> Iterator[bpy.types.Sound]:
    """Yield the sound datablocks of generated sound strips."""
    for scene in bpy.data.scenes:
        edit = compat.edit_of(scene)
        for strip in edit.strips_all if edit else ():
            if strip.type == "SOUND" and strip.sound is not None and strips.metadata(strip):
                yield strip.sound
