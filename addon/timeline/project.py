# SPDX-License-Identifier: GPL-3.0-or-later
"""Path of the open file, and of files beside it. Main thread."""

import logging
import os
import shutil
from functools import cache
from pathlib import Path

import bpy

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


def blender_path(file: Path) -> str:
    """Return an absolute path as the artist's preferences want paths in a .blend: as a rule relative to it, with "//"."""
    if not (saved_as() and bpy.context.preferences.filepaths.use_relative_paths):
        return str(file)
    try:
        return bpy.path.relpath(str(file))
    except ValueError:
        # Windows: a drive other than the project's.
        return str(file)
