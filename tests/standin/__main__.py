# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the test double until standard input is closed: `python -m tests.standin`.

First prints one line of JSON, with the base URL and the API key.
"""

import argparse
import json
import secrets
import sys
import tempfile
from pathlib import Path

from .server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.standin", description=__doc__)
    parser.add_argument(
        "--run-seconds", type=float, default=5.0, help="duration of a run in seconds (real service: about 5)"
    )
    parser.add_argument("--concurrent", type=int, default=10, help="maximum number of runs in flight")
    options = parser.parse_args()
    key = secrets.token_hex(20)
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        double = serve(Path(folder), key, run_seconds=options.run_seconds, concurrent=options.concurrent)
        print(json.dumps({"base_url": double.service.api_url, "key": key}), flush=True)
        # The parent process holds the other end of the pipe: however it exits, this process exits too.
        sys.stdin.read()
        double.stop()


if __name__ == "__main__":
    main()
