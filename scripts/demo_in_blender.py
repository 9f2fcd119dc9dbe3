# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of the demo that runs in Blender: python demo_in_blender.py EXTENSION.zip FOLDER"""

import sys
from pathlib import Path
from typing import Any

import bpy
import in_blender


def main(extension: str, folder: Path) -> int:
    in_blender.install(extension)
    strip = in_blender.make_edit(folder / "bigbuckbunny.mp4", "Bunny", folder / "bunny.blend")
    # Trim the strip, so that its sound has to begin at the handle.
    strip.left_handle += 5
    scene: Any = bpy.context.scene
    scene.frame_start, scene.frame_end = strip.left_handle, strip.right_handle - 1
    target = folder / "bunny with sound.blend"
    status = in_blender.part("command").run(
        ["generate", "--strip", "Bunny", "--prompt", "birdsong, leaves", "--output", str(target), "--json"]
    )
    if status == 0:
        _render(folder / "bunny with sound.mp4")
    return int(status)


def _render(target: Path) -> None:
    """Render the edit and its new sound to a video file."""
    scene: Any = bpy.context.scene
    render = scene.render
    render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec, render.ffmpeg.audio_codec = "MPEG4", "H264", "AAC"
    render.filepath, render.use_file_extension = str(target), False
    bpy.ops.render.render(animation=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
