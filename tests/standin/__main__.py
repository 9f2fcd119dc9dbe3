# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the double until its standard input ends: `python -m tests.standin`. Prints one line of JSON first."""

import argparse
import json
import secrets
import sys
import tempfile
from pathlib import Path

from .server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.standin", description=__doc__)
    parser.add_argument("--run-seconds", type=float, default=5.0, help="how long a run takes (the real one: about 5)")
    parser.add_argument("--concurrent", type=int, default=10, help="runs in flight that one key may have")
    options = parser.parse_args()
    key = secrets.token_hex(20)
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        double = serve(Path(folder), key, run_seconds=options.run_seconds, concurrent=options.concurrent)
        print(json.dumps({"base_url": double.service.api_url, "key": key}), flush=True)
        # Whoever started it holds the other end: when that process goes, however it goes, this one goes too.
        sys.stdin.read()
        double.stop()


if __name__ == "__main__":
    main()
