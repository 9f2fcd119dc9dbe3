# SPDX-License-Identifier: GPL-3.0-or-later
"""Double of the background Blender: `render_double.py HOW`. Reads orders from standard input, as render_clip.py does.

HOW is one of: render, write the clips; note, write them and reply with a note; refuse, reply with an error; undecodable,
reply with a file that can't be decoded; crash, exit as a crashed Blender does; nothing, exit without a word; grow, reply
with much memory; hang, write one frame and wait. A strip named "bad" is always refused; "deadly" crashes.
The real Blender is used in tests/blender.
"""

import json
import os
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any


def main(how: str) -> int:
    if {"EACHLABS_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & set(os.environ):
        print("mmaudio: the key was passed on", flush=True)
        return 1
    for line in sys.stdin:
        order = json.loads(line)
        if how == "nothing":
            return 0
        if how == "crash" or order["strip"] == "deadly":
            print("Read blend: edit.blend\nError: out of memory at 0x7f", flush=True)
            return 11
        print(f"mmaudio {json.dumps(_reply(how, order))}", flush=True)
    return 0


def _reply(how: str, order: dict[str, Any]) -> dict[str, Any]:
    log = Path(order["output"]).parents[1] / "log.txt"
    began = time.time()
    if how == "refuse" or order["strip"] == "bad":
        print("Read blend: edit.blend", flush=True)
        return {"error": "no picture at frame 12"}
    if how == "undecodable":
        return {"undecodable": "“Shot 1” plays a movie that can't be decoded: clip.mov"}
    if how == "hang":
        log.write_text(str(os.getpid()))
        # Progress is shown ten times a second at most: a frame that came sooner would not be.
        time.sleep(0.2)
        print(f"Append frame {order['first']}", flush=True)
        threading.Event().wait(120)
    # Nothing has the file's name until it is complete.
    part = Path(order["output"]).with_suffix(f".{os.getpid()}.part.mp4")
    _write(part, order["frames"])
    part.replace(order["output"])
    with log.open("a") as lines:
        lines.write(f"{began} {time.time()} {os.getpid()}\n")
    notes = ["2 images of “Shot\n1” were missing."] if how == "note" else []
    return {"notes": notes, "memory_mb": 3000 if how == "grow" else 100}


def _write(target: Path, frames: int) -> None:
    # Most of the time of such a process would go into imports; this one takes no NumPy either.
    import av

    with av.open(str(target), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for number in range(frames):
            # Noise does not compress, so the upload takes more than one chunk.
            picture = av.VideoFrame(64, 64, "rgb24")
            picture.planes[0].update(Random(number).randbytes(picture.planes[0].buffer_size))
            file.mux(stream.encode(picture))
            print(f"Append frame {number}", flush=True)
        file.mux(stream.encode(None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
