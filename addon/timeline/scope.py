# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strips a click is for. Main thread; changes nothing."""

import enum
from collections.abc import Callable, Collection, Sequence

import bpy

from ..jobs.model.request import Span
from . import compat, isolate, shots, strips
from .errors import NoPicture, NoRange, NoStrip
from .shots import ExcludedStrip
from .strip_types import PictureStrip, Strip

Found = tuple[list[PictureStrip], list[ExcludedStrip]]
"""The clips, and the other strips with a picture, for which no sound is generated."""


class Scope(enum.StrEnum):
    """What a click in the Sequencer is for. The values are those of the panel's setting."""

    SELECTED = "SELECTED"
    CHANNEL = "CHANNEL"
    PREVIEW_RANGE = "PREVIEW_RANGE"
    WHOLE_EDIT = "WHOLE_EDIT"


def find(context: bpy.types.Context, scene: bpy.types.Scene, scope: Scope) -> Found:
    """Return the clips in the scope, on the open level or on the top level. Raises NoStrip, NoPicture and NoRange."""
    match scope:
        case Scope.SELECTED:
            return _selected(strips.selected(context))
        case Scope.CHANNEL:
            active = compat.active_strip(context)
            if active is None:
                raise NoStrip("No strip is active.", "Click a strip on the channel that should get sounds.")
            clip = shots.clips([active])[0]
            found = in_channels(isolate.container(clip), [clip.channel])
            where = f"on channel {clip.channel}"
        case Scope.PREVIEW_RANGE:
            found, where = in_preview_range(scene), "in the preview range"
        case Scope.WHOLE_EDIT:
            found, where = in_edit(scene), "in the edit"
    if not found[0]:
        raise NoStrip(f"There is no shot {where}.", "Choose what to score above the button.")
    return found


def _selected(selected: Sequence[Strip]) -> Found:
    if not selected:
        raise NoStrip("No strip is selected.", "Select the strips that should get a sound.")
    clips = [clip for clip in shots.clips(selected) if strips.has_picture(clip)]
    if not clips:
        raise NoPicture("The selected strip has no picture.")
    return clips, []


def in_edit(scene: bpy.types.Scene) -> Found:
    """Return the shots of the whole edit."""
    edit = compat.edit_of(scene)
    return ([], []) if edit is None else shots.find_shots(edit)


def in_channels(container: isolate.Container, channels: Collection[int]) -> Found:
    """Return the shots on these channels of an edit or a meta strip."""
    return _those(container, lambda strip: strip.channel in channels)


def in_preview_range(scene: bpy.types.Scene) -> Found:
    """Return the shots that are in the preview range, in whole or in part. Raises NoRange if there is none."""
    edit = compat.edit_of(scene)
    if not scene.use_preview_range or edit is None:
        raise NoRange("The edit has no preview range.")
    preview = Span(scene.frame_preview_start, scene.frame_preview_end + 1)
    return _those(edit, lambda strip: strips.span(strip).common(preview).frames > 0)


def _those(container: isolate.Container, wanted: Callable[[Strip], bool]) -> Found:
    found, excluded = shots.find_shots(container)
    names = {strip.name for strip in container.strips if strips.has_picture(strip) and wanted(strip)}
    return [shot for shot in found if shot.name in names], [other for other in excluded if other.strip in names]
