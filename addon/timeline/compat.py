# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between Blender 4.5 LTS and 5.2 LTS. No other module reads Blender's version. Frames are timeline frames."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import bpy

from .strip_types import Edit, SoundStrip, Strip

_SINCE_5_1 = bpy.app.version >= (5, 1, 0)
"""5.1 renamed handles and content. The old names raise warnings until they are removed in 6.0."""
_SINCE_5_0 = bpy.app.version >= (5, 0, 0)
"""5.0 gave the Sequencer a scene of its own beside the window's, and changed compositor nodes and output settings."""

CACHES_HELD_FRAMES = _SINCE_5_0
"""Whether a movie's last frame is decoded once for all frames beyond its end. 4.5 decodes it again for each."""

VOLUME_DELAY = 0 if _SINCE_5_1 else 1
"""Frames by which keyframes of a sound's volume are heard late. Measured in mixdowns of 4.5.15, 5.0.1, 5.1.2 and 5.2.3.

With a delay, the first samples of a frame may have the volume that the frame ends with.
"""
SILENT_VOLUME = 0.0 if _SINCE_5_1 else 0.001
"""Volume at the end of a fade-out. With the delay, 0 may switch the sound off a frame too early, without a ramp: a click."""

_LEFT_HANDLE = "left_handle" if _SINCE_5_1 else "frame_final_start"
_RIGHT_HANDLE = "right_handle" if _SINCE_5_1 else "frame_final_end"
_CONTENT_START = "content_start" if _SINCE_5_1 else "frame_start"
_CONTENT_DURATION = "content_duration" if _SINCE_5_1 else "frame_duration"
_CONTENT_TRIM_START = "content_trim_start" if _SINCE_5_1 else "animation_offset_start"


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


def show_edit(context: bpy.types.Context, scene: bpy.types.Scene) -> None:
    """Let the Sequencer show the edit of this scene."""
    if edited_scene(context) == scene:
        return
    if _SINCE_5_0:
        workspace: Any = context.workspace
        workspace.sequencer_scene = scene
    else:
        context.window.scene = scene


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
    # Blender clamps each handle to the other, whichever comes first.
    set_right_handle(strip, right)
    setattr(strip, _LEFT_HANDLE, left)
    set_right_handle(strip, right)


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


def move_content(strip: Strip, frames: float) -> None:
    """Move the strip together with its content, and with its keyframes."""
    setattr(strip, _CONTENT_START, getattr(strip, _CONTENT_START) + frames)


def update_content(strip: Strip) -> None:
    """Let the strip's content be as long as its file, after the file was replaced. This moves the right handle."""
    # Blender reads the file again when the trim is set, even to the same value.
    setattr(strip, _CONTENT_TRIM_START, content_trim_start(strip))


@contextmanager
def keyframes_kept(scene: bpy.types.Scene) -> Generator[None]:
    """Keep keyframes where they are while strips are moved. Otherwise a strip takes its keyframes along."""
    animation: Any = scene.animation_data
    if animation is None or animation.action is None:
        yield
        return
    action, slot = animation.action, animation.action_slot
    animation.action = None
    try:
        yield
    finally:
        animation.action = action
        animation.action_slot = slot


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


def volume_curve(sound: SoundStrip) -> bpy.types.FCurve | None:
    """Return the F-curve that animates the sound's volume, or None if there is none."""
    animation: Any = sound.id_data.animation_data
    if animation is None or animation.action is None:
        return None
    path = f"{sound.path_from_id()}.volume"
    # An action may have slots for several scenes, whose strips may have the same names.
    bags = [bag for layer in animation.action.layers for part in layer.strips for bag in part.channelbags]
    curves = [curve for bag in bags if bag.slot == animation.action_slot for curve in bag.fcurves]
    return next((curve for curve in curves if curve.data_path == path), None)


def is_volume_driven(sound: SoundStrip) -> bool:
    """Return whether a driver controls the sound's volume. Keyframes have no effect then."""
    animation: Any = sound.id_data.animation_data
    return animation is not None and animation.drivers.find(f"{sound.path_from_id()}.volume") is not None


def ensure_volume_curve(sound: SoundStrip) -> bpy.types.FCurve:
    """Return the F-curve that animates the sound's volume, creating it without keyframes if there is none."""
    scene: Any = sound.id_data
    animation = scene.animation_data_create()
    if animation.action is None:
        # The name that Blender gives it.
        animation.action = bpy.data.actions.new(f"{scene.name}Action")
    return animation.action.fcurve_ensure_for_datablock(scene, f"{sound.path_from_id()}.volume")


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
