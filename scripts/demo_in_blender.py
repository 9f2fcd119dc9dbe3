# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's half inside Blender: python demo_in_blender.py EXTENSION.zip FOLDER"""

import sys
from pathlib import Path
from typing import Any

import bpy

MODULE = "bl_ext.user_default.mmaudio_vse"


def main(extension: str, folder: Path) -> int:
    operators: Any = bpy.ops
    operators.extensions.package_install_files(filepath=extension, repo="user_default", enable_on_install=True)
    bpy.context.preferences.system.use_online_access = True
    _make_edit(folder)
    command: Any = sys.modules[f"{MODULE}.command"]
    target = folder / "bunny with sound.blend"
    status = command.run(["generate", "--strip", "Bunny", "--prompt", "birdsong, leaves", "--output", str(target), "--json"])
    if status == 0:
        _render(folder / "bunny with sound.mp4")
    return int(status)


def _make_edit(folder: Path) -> None:
    """The footage on channel 2, without its own sound, trimmed a little on the left."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene: Any = bpy.context.scene
    scene.render.fps = 25
    scene.render.resolution_x, scene.render.resolution_y = 1280, 720
    clip = str(folder / "bigbuckbunny.mp4")
    strip: Any = scene.sequence_editor_create().strips.new_movie(name="Bunny", filepath=clip, channel=2, frame_start=1)
    strip.left_handle += 5
    scene.frame_start, scene.frame_end = strip.left_handle, strip.right_handle - 1
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "bunny.blend"))


def _render(target: Path) -> None:
    """The edit with its new sound, as a film."""
    scene: Any = bpy.context.scene
    render = scene.render
    render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec, render.ffmpeg.audio_codec = "MPEG4", "H264", "AAC"
    render.filepath, render.use_file_extension = str(target), False
    bpy.ops.render.render(animation=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
