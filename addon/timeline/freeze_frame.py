# SPDX-License-Identifier: GPL-3.0-or-later
"""Freeze frame at the end of a clip, made as an image so that nothing in it moves.

Runs inside the background Blender (see `render_clip.py`), so it imports no other package of the add-on.
"""

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat


def hold_last_frame(scene: Any, end: int, until: int, still: Path, channel: int) -> None:
    """Render the frame before `end` to the file `still`, and show it up to the frame `until` as an image strip."""
    edit = scene.sequence_editor
    compat.set_render_path(scene.render, str(still))
    scene.render.use_file_extension = False
    scene.frame_set(end - 1)
    # Pixels before the view transform, since the image goes through it like every other strip.
    compat.set_image_output(scene.render.image_settings, "OPEN_EXR")
    scene.render.image_settings.color_mode, scene.render.image_settings.color_depth = "RGBA", "32"
    bpy.ops.render.render(write_still=True, scene=scene.name)
    if _is_transparent(still):
        _set_png_without_view_transform(scene.render.image_settings)
        bpy.ops.render.render(write_still=True, scene=scene.name)
    image = edit.strips.new_image(
        name="mmaudio", filepath=str(still), channel=channel, frame_start=end, fit_method="STRETCH"
    )
    image.transform.filter = "NEAREST"
    compat.set_right_handle(image, until)


def _is_transparent(still: Path) -> bool:
    image: Any = bpy.data.images.load(str(still))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return bool(pixels[3::4].min() < 1)


def _set_png_without_view_transform(image_settings: Any) -> None:
    """Set the output to PNG, without a view transform.

    Blender transforms transparent float pixels, as in OpenEXR, differently from transparent byte pixels, as in most strips.
    """
    compat.set_image_output(image_settings, "PNG")
    image_settings.color_mode, image_settings.color_depth = "RGBA", "8"
    image_settings.color_management = "OVERRIDE"
    image_settings.display_settings.display_device = "sRGB"
    image_settings.view_settings.view_transform = "Standard"
