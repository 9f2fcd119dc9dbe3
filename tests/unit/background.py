# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the background Blender: `background.py HOW …/render_clip.py -- REQUEST.json`. Ignores the script.

HOW: render writes the clips; note does so too, and says what is to be known of them; refuse fails as render_clip.py does;
crash dies with Blender's words; nothing writes no file; hang writes one frame and waits. A strip named "bad" is refused
in any case. A real Blender does this in tests/blender.
"""

import json
import os
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def main(how: str, request_file: Path) -> int:
    request = json.loads(request_file.read_text(encoding="utf-8"))
    diary = request_file.parents[1] / "diary.txt"
    began = time.time()
    if {"EACHLABS_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(os.environ):
        print("mmaudio: the key was handed on", flush=True)
        return 1
    if how == "refuse" or request["strip"] == "bad":
        print("Read blend: edit.blend\nmmaudio: no picture at frame 12\nBlender quit", flush=True)
        return 1
    if how == "crash":
        print("Read blend: edit.blend\nError: out of memory at 0x7f", flush=True)
        return 11
    if how == "nothing":
        return 0
    if how == "hang":
        diary.write_text(str(os.getpid()))
        print(f"Append frame {request['first']}", flush=True)
        threading.Event().wait(120)
    if how == "note":
        print("mmaudio note " + json.dumps("2 images of “Shot\n1” were missing."), flush=True)
    for number, clip_range in enumerate(request["ranges"]):
        _write(Path(clip_range["output"]), clip_range["frames"])
        print(f"mmaudio wrote {number}", flush=True)
    with diary.open("a") as lines:
        lines.write(f"{began} {time.time()}\n")
    return 0


def _write(target: Path, frames: int) -> None:
    with av.open(str(target), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(frames):
            # Noise does not compress: the upload takes more than one block.
            picture = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            print(f"Append frame {number}", flush=True)
        file.mux(stream.encode(None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[-1])))
