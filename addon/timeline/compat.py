# SPDX-License-Identifier: GPL-3.0-or-later
"""Differences between Blender 4.5 LTS and 5.2 LTS. No other module reads Blender's version. Frames are timeline frames.

Strips are typed as Any, since fake-bpy-module describes a single version.
"""

from collections.abc import Sequence
from typing import Any

import bpy

_SINCE_5_2 = bpy.app.version >= (5, 2, 0)
"""5.2 renamed the properties of handles and content. The old names raise warnings until they are removed in 6.0."""
_SINCE_5_0 = bpy.app.version >= (5, 0, 0)
"""5.0 gave the Sequencer a scene of its own beside the window's, and changed compositor nodes and output settings."""


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


def left_handle(strip: Any) -> int:
    return int(strip.left_handle if _SINCE_5_2 else strip.frame_final_start)


def right_handle(strip: Any) -> int:
    """Return the first frame after the strip."""
    return int(strip.right_handle if _SINCE_5_2 else strip.frame_final_end)


def set_right_handle(strip: Any, frame: int) -> None:
    setattr(strip, "right_handle" if _SINCE_5_2 else "frame_final_end", frame)


def set_handles(strip: Any, left: int, right: int) -> None:
    # The right one first, since Blender clamps the left handle to it.
    set_right_handle(strip, right)
    setattr(strip, "left_handle" if _SINCE_5_2 else "frame_final_start", left)


def content_start(strip: Any) -> float:
    """Return the frame at which the strip's untrimmed content begins.

    Moving the strip changes it. Trimming doesn't, nor does a cut, soft or hard.
    """
    start = float(strip.content_start if _SINCE_5_2 else strip.frame_start)
    return start - content_trim_start(strip)


def content_trim_start(strip: Any) -> int:
    """Return the number of frames that a hard cut has removed from the content's start. 0 for stills and effects."""
    return int(getattr(strip, "content_trim_start" if _SINCE_5_2 else "animation_offset_start", 0))


def content_duration(strip: Any) -> int:
    """Return the number of frames of the strip's content, without those that a hard cut has removed."""
    return int(strip.content_duration if _SINCE_5_2 else strip.frame_duration)


def move_content(strip: Any, frames: int) -> None:
    """Move the strip together with its content."""
    name = "content_start" if _SINCE_5_2 else "frame_start"
    setattr(strip, name, getattr(strip, name) + frames)


def connected_strips(strip: Any) -> Sequence[Any]:
    """Return the strips that are selected together with the strip, such as a movie's sound. Before 5.0 they are unknown."""
    return getattr(strip, "connections", ())


def is_animated(strip: Any, *names: str) -> bool:
    """Return whether keyframes or drivers animate one of these properties of the strip, or a property within them."""
    animation = strip.id_data.animation_data
    if animation is None:
        return False
    layers = animation.action.layers if animation.action else ()
    curves = [curve for layer in layers for part in layer.strips for bag in part.channelbags for curve in bag.fcurves]
    paths = tuple(f"{strip.path_from_id()}.{name}" for name in names)
    return any(curve.data_path.startswith(paths) for curve in (*curves, *animation.drivers))


def has_compositor(scene: Any) -> bool:
    """Return whether compositor nodes process the scene's render."""
    return bool(scene.compositing_node_group if _SINCE_5_0 else scene.use_nodes)


def set_video_output(image_settings: Any) -> None:
    """Set a render's output to a video."""
    if _SINCE_5_0:
        image_settings.media_type = "VIDEO"
    image_settings.file_format = "FFMPEG"


def set_image_output(image_settings: Any, file_format: str) -> None:
    """Set a render's output to images of that format."""
    if _SINCE_5_0:
        image_settings.media_type = "IMAGE"
    image_settings.file_format = file_format


def set_render_path(render: Any, path: str) -> None:
    """Set the render's output path. Braces are doubled, since Blender 4.5 and later expand {templates} in `filepath`.

    Blender expands no other path that the add-on sets (checked with `is_path_supports_templates` in 4.5.15 and 5.2.3).
    The path must be absolute: 5.2 rejects a relative one without a folder.
    """
    render.filepath = path.replace("{", "{{").replace("}", "}}")


def make_writable(scene: Any) -> None:
    """Prepare the scene for `bpy.data.libraries.write`.

    5.2 (observed in 5.2.3) crashes on a scene that was never shown, because its view layers are not built yet. Reading their
    active object builds them, in negligible time.
    """
    for layer in scene.view_layers:
        _ = layer.objects.active
