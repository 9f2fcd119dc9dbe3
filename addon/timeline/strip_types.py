# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of strips and edits: the properties that the add-on uses and that are the same in all versions of Blender.

fake-bpy-module describes a single version, and doesn't relate a strip's `type` to its properties. What differs between
versions is in `compat.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import bpy


class _Strip(Protocol):
    """What strips of all types have. Custom properties are items."""

    name: str
    channel: int
    mute: bool
    lock: bool
    select: bool
    blend_type: str
    blend_alpha: float

    @property
    def id_data(self) -> bpy.types.Scene: ...
    @property
    def modifiers(self) -> "Sequence[StripModifier]": ...
    def parent_meta(self) -> "MetaStrip | None": ...
    def move_to_meta(self, meta: "MetaStrip", /) -> None: ...
    def path_from_id(self) -> str: ...
    def get(self, key: str, default: object = None, /) -> Any: ...
    def __contains__(self, key: str, /) -> bool: ...
    def __getitem__(self, key: str, /) -> Any: ...
    def __setitem__(self, key: str, value: object, /) -> None: ...
    def __delitem__(self, key: str, /) -> None: ...


class _Transform(Protocol):
    filter: str
    offset_x: float
    offset_y: float
    origin: Sequence[float]
    rotation: float
    scale_x: float
    scale_y: float


class _ColorSpace(Protocol):
    name: str


class StripModifier(Protocol):
    type: str
    mute: bool
    input_mask_type: str

    @property
    def input_mask_strip(self) -> "PictureStrip | None": ...


class SoundStrip(_Strip, Protocol):
    type: Literal["SOUND"]
    sound: bpy.types.Sound | None
    show_waveform: bool
    volume: float
    pan: float
    retiming_keys: Sequence[bpy.types.RetimingKey]

    def split(self, *, frame: int, split_method: Literal["SOFT", "HARD"]) -> "SoundStrip": ...


class _PictureStrip(_Strip, Protocol):
    use_reverse_frames: bool

    @property
    def crop(self) -> bpy.types.StripCrop: ...
    @property
    def transform(self) -> _Transform: ...


class MovieStrip(_PictureStrip, Protocol):
    type: Literal["MOVIE"]
    filepath: str
    fps: float
    elements: Sequence[bpy.types.StripElement]
    retiming_keys: Sequence[bpy.types.RetimingKey]
    colorspace_settings: _ColorSpace


class ImageStrip(_PictureStrip, Protocol):
    type: Literal["IMAGE"]
    directory: str
    elements: Sequence[bpy.types.StripElement]
    colorspace_settings: _ColorSpace

    def strip_elem_from_frame(self, frame: int, /) -> bpy.types.StripElement | None: ...


class MovieClipStrip(_PictureStrip, Protocol):
    type: Literal["MOVIECLIP"]
    clip: bpy.types.MovieClip | None


class SceneStrip(_PictureStrip, Protocol):
    type: Literal["SCENE"]
    scene: bpy.types.Scene | None
    scene_camera: bpy.types.Object | None
    scene_input: str


class MetaStrip(_PictureStrip, Protocol):
    type: Literal["META"]
    strips: "Strips"
    channels: Sequence[bpy.types.SequenceTimelineChannel]


class MulticamStrip(_PictureStrip, Protocol):
    type: Literal["MULTICAM"]
    multicam_source: int


class EffectStrip(_PictureStrip, Protocol):
    """A mask, or an effect without properties that the add-on uses. `isolate.inputs` returns its inputs."""

    type: (
        Literal["MASK", "ADD", "ADJUSTMENT", "ALPHA_OVER", "ALPHA_UNDER", "COLOR", "COLORMIX", "COMPOSITOR", "CROSS"]
        | Literal["GAMMA_CROSS", "GAUSSIAN_BLUR", "GLOW", "MULTIPLY", "SPEED", "SUBTRACT", "TEXT", "TRANSFORM", "WIPE"]
    )


PictureStrip = MovieStrip | ImageStrip | MovieClipStrip | SceneStrip | MetaStrip | MulticamStrip | EffectStrip
Strip = PictureStrip | SoundStrip
"""A strip of any type. A comparison of its `type` narrows it to the strips of that type."""


class NamedStrips(Protocol):
    """Strips that are found by their name."""

    def __iter__(self) -> Iterator[Strip]: ...
    def __getitem__(self, name: str, /) -> Strip: ...
    def get(self, name: str, /) -> Strip | None: ...


class Strips(NamedStrips, Protocol):
    """Strips on one level: those of an edit or of a meta strip."""

    def new_sound(self, *, name: str, filepath: str, channel: int, frame_start: int) -> SoundStrip: ...
    def new_meta(self, *, name: str, channel: int, frame_start: int) -> MetaStrip: ...
    def remove(self, strip: Strip, /) -> None: ...


class Edit(Protocol):
    """The edit of a scene, `Scene.sequence_editor`."""

    strips: Strips
    strips_all: NamedStrips
    """Also those within meta strips."""
    channels: Sequence[bpy.types.SequenceTimelineChannel]
