# SPDX-License-Identifier: GPL-3.0-or-later
"""Double of the background Blender: `render_double.py HOW …/render_clip.py -- REQUEST.json`. Ignores the script.

HOW is one of: render, write the clips; note, write them and print a note; refuse, fail as render_clip.py does; crash, exit
as a crashed Blender does; nothing, write no file; hang, write one frame and wait. A strip named "bad" is always refused. The
real Blender is used in tests/blender.
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
    log = request_file.parents[1] / "log.txt"
    began = time.time()
    if {"EACHLABS_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(os.environ):
        print("mmaudio: the key was passed on", flush=True)
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
        log.write_text(str(os.getpid()))
        print(f"Append frame {request['first']}", flush=True)
        threading.Event().wait(120)
    if how == "note":
        print("mmaudio note " + json.dumps("2 images of “Shot\n1” were missing."), flush=True)
    for number, clip_range in enumerate(request["ranges"]):
        _write(Path(clip_range["output"]), clip_range["frames"])
        print(f"mmaudio wrote {number}", flush=True)
    with log.open("a") as lines:
        lines.write(f"{began} {time.time()}\n")
    return 0


def _write(target: Path, frames: int) -> None:
    with av.open(str(target), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(frames):
            # Noise does not compress, so the upload takes more than one chunk.
            picture = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            print(f"Append frame {number}", flush=True)
        file.mux(stream.encode(None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[-1])))
