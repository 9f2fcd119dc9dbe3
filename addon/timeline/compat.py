# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that knows Blender's versions, 4.5 LTS to 5.2 LTS. Frames are timeline frames.

Strips come as Any: fake-bpy-module describes one version, and here several meet.
"""

from collections.abc import Sequence
from typing import Any

import bpy

# 5.2 renamed the handles and the content, with warnings on the old names, which go in 6.0.
_HANDLES_NAMED = bpy.app.version >= (5, 2, 0)
# 5.0 gave the Sequencer a scene of its own beside the window's.
_OWN_SCENE = bpy.app.version >= (5, 0, 0)


def edited_scene(context: bpy.types.Context) -> bpy.types.Scene | None:
    """The scene whose edit the Sequencer shows; None where the workspace has none."""
    if _OWN_SCENE:
        # A context without a window has no such member at all.
        return getattr(context, "sequencer_scene", None)
    return context.scene


def scene_without_window(context: bpy.types.Context) -> bpy.types.Scene | None:
    """The scene to work in where there is no Sequencer: the one that was edited when the file was saved."""
    workspaces: list[Any] = [window.workspace for window in context.window_manager.windows]
    chosen = [getattr(workspace, "sequencer_scene", None) for workspace in workspaces]
    return next((scene for scene in chosen if scene is not None), context.scene)


def left_handle(strip: Any) -> int:
    return int(strip.left_handle if _HANDLES_NAMED else strip.frame_final_start)


def right_handle(strip: Any) -> int:
    """The first frame that the strip no longer shows."""
    return int(strip.right_handle if _HANDLES_NAMED else strip.frame_final_end)


def set_right_handle(strip: Any, frame: int) -> None:
    setattr(strip, "right_handle" if _HANDLES_NAMED else "frame_final_end", frame)


def set_handles(strip: Any, left: int, right: int) -> None:
    # The right one first: a left handle stops at the right one.
    set_right_handle(strip, right)
    setattr(strip, "left_handle" if _HANDLES_NAMED else "frame_final_start", left)


def content_start(strip: Any) -> float:
    """Where the strip's content begins, trimmed or not: moving changes it; trimming doesn't, nor a cut, soft or hard."""
    start = float(strip.content_start if _HANDLES_NAMED else strip.frame_start)
    return start - trimmed_start(strip)


def trimmed_start(strip: Any) -> int:
    """How many frames a hard cut has taken away from the content's start; stills and effects have nothing of the kind."""
    return int(getattr(strip, "content_trim_start" if _HANDLES_NAMED else "animation_offset_start", 0))


def content_length(strip: Any) -> int:
    """How many frames the strip's content has, without those that a hard cut has taken away."""
    return int(strip.content_duration if _HANDLES_NAMED else strip.frame_duration)


def move_content(strip: Any, frames: int) -> None:
    """Moves the strip with its content."""
    name = "content_start" if _HANDLES_NAMED else "frame_start"
    setattr(strip, name, getattr(strip, name) + frames)


def connected(strip: Any) -> Sequence[Any]:
    """The strips that are selected along with it, such as a movie's own sound; before 5.0 nothing tells of them."""
    return getattr(strip, "connections", ())


def is_animated(strip: Any, *names: str) -> bool:
    """Whether keys or drivers change one of these properties of the strip, or one within it."""
    animation = strip.id_data.animation_data
    if animation is None:
        return False
    layers = animation.action.layers if animation.action else ()
    curves = [curve for layer in layers for part in layer.strips for bag in part.channelbags for curve in bag.fcurves]
    paths = tuple(f"{strip.path_from_id()}.{name}" for name in names)
    return any(curve.data_path.startswith(paths) for curve in (*curves, *animation.drivers))


def has_compositor(scene: Any) -> bool:
    """Whether nodes work on what the scene renders."""
    return bool(scene.compositing_node_group if _OWN_SCENE else scene.use_nodes)


def choose_video(image_settings: Any) -> None:
    """Makes a render write a video instead of images."""
    if _OWN_SCENE:
        image_settings.media_type = "VIDEO"
    image_settings.file_format = "FFMPEG"


def choose_image(image_settings: Any, file_format: str) -> None:
    """Makes a render write images of that format."""
    if _OWN_SCENE:
        image_settings.media_type = "IMAGE"
    image_settings.file_format = file_format


def set_render_path(render: Any, path: str) -> None:
    """Makes a render write to exactly that path: in `filepath`, Blender since 4.5 expands {templates}, and {{ is a brace.

    No other path that the add-on gives to Blender is expanded (checked by `is_path_supports_templates` in 4.5.15 and 5.2.3).
    A relative path would not do: 5.2 refuses one without a folder.
    """
    render.filepath = path.replace("{", "{{").replace("}", "}}")


def make_writable(scene: Any) -> None:
    """Lets `bpy.data.libraries.write` take the scene.

    5.2 (seen in 5.2.3) crashes on a scene that has never been shown, since its view layers are not built yet; asking
    for their active object builds them, in no time.
    """
    for layer in scene.view_layers:
        _ = layer.objects.active
