# SPDX-License-Identifier: GPL-3.0-or-later
"""The last picture of a clip, held as an image, in which nothing moves. Runs inside the background Blender, see
`render_clip.py`, so it imports nothing of other rooms.
"""

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat


def hold_last(scene: Any, end: int, until: int, still: Path, channel: int) -> None:
    """Holds the picture before the frame `end` until the frame `until`, on a free channel, as the image `still`."""
    edit = scene.sequence_editor
    compat.set_render_path(scene.render, str(still))
    scene.render.use_file_extension = False
    scene.frame_set(end - 1)
    # Pixels as they are before the view transform, which the image goes through like the rest.
    compat.choose_image(scene.render.image_settings, "OPEN_EXR")
    scene.render.image_settings.color_mode, scene.render.image_settings.color_depth = "RGBA", "32"
    bpy.ops.render.render(write_still=True, scene=scene.name)
    if _is_transparent(still):
        _choose_plain_png(scene.render.image_settings)
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


def _choose_plain_png(image_settings: Any) -> None:
    """PNG without a view transform. Blender transforms what is transparent in another way where its pixels are floats, as
    in OpenEXR, than where they are bytes, as in most strips.
    """
    compat.choose_image(image_settings, "PNG")
    image_settings.color_mode, image_settings.color_depth = "RGBA", "8"
    image_settings.color_management = "OVERRIDE"
    image_settings.display_settings.display_device = "sRGB"
    image_settings.view_settings.view_transform = "Standard"
