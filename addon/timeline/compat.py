# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between Blender 4.5 LTS and 5.2 LTS, and types of strips that hold for both.

No other module reads Blender's version. Frames are timeline frames.

The types have the properties that the add-on uses and that are the same in all versions. fake-bpy-module describes a single
version, and doesn't relate a strip's `type` to its properties.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, cast

import bpy

_SINCE_5_1 = bpy.app.version >= (5, 1, 0)
"""5.1 renamed handles and content. The old names raise warnings until they are removed in 6.0."""
_SINCE_5_0 = bpy.app.version >= (5, 0, 0)
"""5.0 gave the Sequencer a scene of its own beside the window's, and changed compositor nodes and output settings."""

_LEFT_HANDLE = "left_handle" if _SINCE_5_1 else "frame_final_start"
_RIGHT_HANDLE = "right_handle" if _SINCE_5_1 else "frame_final_end"
_CONTENT_START = "content_start" if _SINCE_5_1 else "frame_start"
_CONTENT_DURATION = "content_duration" if _SINCE_5_1 else "frame_duration"
_CONTENT_TRIM_START = "content_trim_start" if _SINCE_5_1 else "animation_offset_start"


class _Strip(Protocol):
    """What strips of all types have. Custom properties are items."""

    name: str
    channel: int
    mute: bool
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


def edit_of(scene: bpy.types.Scene) -> Edit | None:
    """Return the scene's edit, or None if it has none."""
    return cast(Edit | None, scene.sequence_editor)


def ensure_edit(scene: bpy.types.Scene) -> Edit:
    """Return the scene's edit, creating it if there is none."""
    return cast(Edit, scene.sequence_editor_create())


def selected_strips(context: bpy.types.Context) -> Sequence[Strip]:
    """Return the selected strips on the level that the Sequencer shows."""
    return cast(Sequence[Strip] | None, context.selected_strips) or ()


def active_strip(context: bpy.types.Context) -> Strip | None:
    return cast(Strip | None, context.active_strip)


def edited_scene(context: bpy.types.Context) -> bpy.types.Scene | None:
    """Return the scene whose edit the Sequencer shows, or None if the workspace has none."""
    if _SINCE_5_0:
        # A context without a window lacks this member.
        return getattr(context, "sequencer_scene", None)
    return context.scene


def scene_without_window(context: bpy.types.Context) -> bpy.types.Scene | None:
    """Return the scene to work in without a Sequencer: the one that was edited when the file was saved."""
    workspaces: list[Any] = [window.workspace for window in context.window_manager.windows]
    scenes = [getattr(workspace, "sequencer_scene", None) for workspace in workspaces]
    return next((scene for scene in scenes if scene is not None), context.scene)


def left_handle(strip: Strip) -> int:
    return int(getattr(strip, _LEFT_HANDLE))


def right_handle(strip: Strip) -> int:
    """Return the first frame after the strip."""
    return int(getattr(strip, _RIGHT_HANDLE))


def set_right_handle(strip: Strip, frame: int) -> None:
    setattr(strip, _RIGHT_HANDLE, frame)


def set_handles(strip: Strip, left: int, right: int) -> None:
    # The right one first, since Blender clamps the left handle to it.
    set_right_handle(strip, right)
    setattr(strip, _LEFT_HANDLE, left)


def content_start(strip: Strip) -> float:
    """Return the frame at which the strip's untrimmed content begins.

    Moving the strip changes it. Trimming doesn't, nor does a cut, soft or hard.
    """
    return float(getattr(strip, _CONTENT_START)) - content_trim_start(strip)


def content_trim_start(strip: Strip) -> int:
    """Return the number of frames that a hard cut has removed from the content's start. 0 for stills and effects."""
    return int(getattr(strip, _CONTENT_TRIM_START, 0))


def content_duration(strip: Strip) -> int:
    """Return the number of frames of the strip's content, without those that a hard cut has removed."""
    return int(getattr(strip, _CONTENT_DURATION))


def content_end(strip: Strip) -> int:
    """Return the frame at which the strip's content ends."""
    return round(getattr(strip, _CONTENT_START)) + content_duration(strip)


def move_content(strip: Strip, frames: int) -> None:
    """Move the strip together with its content."""
    setattr(strip, _CONTENT_START, getattr(strip, _CONTENT_START) + frames)


def connected_strips(strip: Strip) -> Sequence[Strip]:
    """Return the strips that are selected together with the strip, such as a movie's sound. Before 5.0 they are unknown."""
    return getattr(strip, "connections", ())


def is_animated(strip: Strip, *names: str) -> bool:
    """Return whether keyframes or drivers animate one of these properties of the strip, or a property within them."""
    paths = tuple(f"{strip.path_from_id()}.{name}" for name in names)
    return any(path.startswith(paths) for path in animated_paths(strip.id_data))


def animated_paths(scene: bpy.types.Scene) -> list[str]:
    """Return the data paths of the scene's properties that keyframes or drivers animate."""
    # fake-bpy-module doesn't know which kinds of strips an action has.
    animation: Any = scene.animation_data
    if animation is None:
        return []
    layers = animation.action.layers if animation.action else ()
    curves = [curve for layer in layers for part in layer.strips for bag in part.channelbags for curve in bag.fcurves]
    return [curve.data_path for curve in (*curves, *animation.drivers)]


def has_compositor(scene: bpy.types.Scene) -> bool:
    """Return whether compositor nodes process the scene's render."""
    return bool(scene.compositing_node_group if _SINCE_5_0 else scene.use_nodes)


def set_output(image_settings: Any, media_type: Literal["VIDEO", "IMAGE"], file_format: str) -> None:
    """Set the format of a render's output."""
    if _SINCE_5_0:
        image_settings.media_type = media_type
    image_settings.file_format = file_format


def set_render_path(render: bpy.types.RenderSettings, path: str) -> None:
    """Set the render's output path. Braces are doubled, since Blender 4.5 and later expand {templates} in `filepath`.

    Blender expands no other path that the add-on sets (checked with `is_path_supports_templates` in 4.5.15 and 5.2.3).
    The path must be absolute: 5.2 rejects a relative one without a folder.
    """
    render.filepath = path.replace("{", "{{").replace("}", "}}")


def make_writable(scene: bpy.types.Scene) -> None:
    """Prepare the scene for `bpy.data.libraries.write`.

    5.2 (observed in 5.2.3) crashes on a scene that was never shown, because its view layers are not built yet. Reading their
    active object builds them, in negligible time.
    """
    for layer in scene.view_layers:
        _ = layer.objects.active
