# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of failure of strips and of their scenes. No bpy."""

from ..failure import Failure


class NoStrip(Failure):
    code = "no_strip"
    default_hint = "Select a strip and generate again."


class NoRange(Failure):
    code = "no_range"
    default_hint = "Set one with P in the timeline, or choose what to score above the button."


class NoPicture(Failure):
    code = "no_picture"
    default_hint = "Select a movie, image, scene or effect strip."


class LinkedScene(Failure):
    code = "linked_scene"
    default_hint = "Open that file, or make the scene local."


class NotSeen(Failure):
    code = "not_seen"
    default_hint = "Move the meta strip's handles, or select another strip."


class MissingScene(Failure):
    code = "missing_scene"
    default_hint = "Choose another scene."


class MissingClip(Failure):
    code = "missing_clip"
    default_hint = "Choose another clip."


class NoCamera(Failure):
    code = "no_camera"
    default_hint = "Give the scene a camera, or choose one in the strip's properties."


class NoScene(Failure):
    code = "no_scene"


class NoFile(Failure):
    code = "no_file"
    default_hint = "Generate the sound again."


class Retimed(Failure):
    code = "retimed"
    default_hint = "Remove the retiming keys of the sound, or unpack its takes."


class NoChannel(Failure):
    code = "no_channel"
    default_hint = "Free or unlock a channel, then retry."


class NoCut(Failure):
    code = "no_cut"
    default_hint = "Select two sounds of which one begins where the other ends."


class NoHandles(Failure):
    code = "no_handles"
    default_hint = "Use Fade Edges instead, or generate one of them again with handles."


class SameSound(Failure):
    code = "same_sound"
    default_hint = "Select sounds of different clips."


class LockedSound(Failure):
    code = "locked_sound"
    default_hint = "Unlock the strip or its channel."


class DrivenVolume(Failure):
    code = "driven_volume"
    default_hint = "Remove the driver, or leave the strip out."
