# SPDX-License-Identifier: GPL-3.0-or-later
"""Freeze frame at the end of a clip, made as an image so that nothing in it moves.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.
"""

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat, render_settings


def hold_last_frame(scene: Any, end: int, until: int, still: Path, channel: int) -> None:
    """Render the frame before `end`, and show it up to the frame `until` as an image strip.

    Blender adds the number of the frame to the path `still`.
    """
    # As an animation of one frame: for a single image Blender evaluates keyframes and drivers in the window's scene only.
    scene.frame_start = scene.frame_end = end - 1
    render = scene.render
    render.use_overwrite, render.use_file_extension = True, False
    compat.set_render_path(render, str(still))
    image_file = Path(f"{still}{end - 1:04}")
    if render_settings.keeps_colors(scene):
        _render_without_view_transform(scene)
    else:
        # Pixels before the view transform, since the image goes through it like every other strip.
        compat.set_image_output(render.image_settings, "OPEN_EXR")
        render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "32"
        bpy.ops.render.render(animation=True, scene=scene.name)
        if _is_transparent(image_file):
            # Blender transforms transparent float pixels differently from transparent byte pixels, as in most strips.
            _render_without_view_transform(scene)
    image = scene.sequence_editor.strips.new_image(
        name="mmaudio", filepath=str(image_file), channel=channel, frame_start=end, fit_method="STRETCH"
    )
    image.transform.filter = "NEAREST"
    compat.set_right_handle(image, until)


def _is_transparent(still: Path) -> bool:
    image: Any = bpy.data.images.load(str(still))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return bool(pixels[3::4].min() < 1)


def _render_without_view_transform(scene: Any) -> None:
    image_settings = scene.render.image_settings
    compat.set_image_output(image_settings, "PNG")
    image_settings.color_mode, image_settings.color_depth = "RGBA", "8"
    image_settings.compression = 0
    image_settings.color_management = "OVERRIDE"
    image_settings.display_settings.display_device = "sRGB"
    image_settings.view_settings.view_transform = "Standard"
    bpy.ops.render.render(animation=True, scene=scene.name)
