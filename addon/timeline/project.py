# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the open file is saved, and the sounds that were made before it was. Main thread."""

import logging
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import bpy

from . import strips

log = logging.getLogger(__name__)


def saved_as() -> str:
    """The open .blend's path; empty for one that was never saved.

    A recovered session counts as never saved: Blender gives it the path of the copy in its temporary folder, which the next
    session overwrites.
    """
    return "" if is_temporary(bpy.data.filepath) else bpy.data.filepath


def is_temporary(blend: str) -> bool:
    """Whether a .blend lies in Blender's temporary folder, where it keeps its last session and what it saves by itself."""
    session = Path(os.path.realpath(bpy.app.tempdir))
    return bool(blend) and Path(os.path.realpath(blend)).parent in (session, session.parent)


def bring_sounds(temporary: Collection[Path], results: Path) -> None:
    """Copies the open file's generated sounds from temporary folders to `results`, and lets their strips play the copies.

    The old files stay: steps of the undo history play them.
    """
    for sound in _sounds():
        file = Path(bpy.path.abspath(sound.filepath))
        if file.parent in temporary and (brought := copied(file, results)) != file:
            sound.filepath = str(brought)


def copied(file: Path, results: Path) -> Path:
    """The file's copy in the folder `results`, made where there is none yet; the file itself where it can't be copied."""
    target = results / file.name
    part = target.with_name(f"{target.name}.part")
    try:
        if not target.is_file():
            results.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, part)
            part.replace(target)
    except OSError as fault:
        log.warning("%s stays where it is: %s", file, fault)
        part.unlink(missing_ok=True)
        return file
    return target


def _sounds() -> Iterator[Any]:
    """The sound datablocks that strips of ours play."""
    for scene in bpy.data.scenes:
        edit: Any = scene.sequence_editor
        for strip in edit.strips_all if edit else ():
            if strip.type == "SOUND" and strip.sound is not None and strips.made_with(strip):
                yield strip.sound
