# SPDX-License-Identifier: GPL-3.0-or-later
"""The double in a process of its own, and how tests speak with it."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).parents[2]
# Made once: it reads all of this machine's certificates.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StandIn:
    """Starts the double; ends it on exit."""

    def __init__(self, *, run_seconds: float = 0.5, concurrent: int = 10, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "tests.standin", "--run-seconds", str(run_seconds), "--concurrent", str(concurrent)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the double did not start")
        hello = json.loads(line)
        self.base_url: str = hello["base_url"]
        self.key: str = hello["key"]

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def environment(self) -> dict[str, str]:
        """What points the product at the double."""
        return {"EACHLABS_BASE_URL": self.base_url, "EACHLABS_API_KEY": self.key}

    def order(self, at: str, do: str, **details: Any) -> None:
        """Orders a fault; see `Faults` in faults.py."""
        self._call("POST", "faults", {"at": at, "do": do, **details})

    def clear(self) -> None:
        self._call("DELETE", "faults")

    def forget(self) -> None:
        """What was asked and uploaded so far is told no more."""
        self._call("DELETE", "state")

    def set(self, **settings: Any) -> None:
        self._call("POST", "settings", settings)

    def outside(self, **settings: Any) -> None:
        """What the double may reach beyond itself; see `Outside`."""
        self._call("POST", "outside", settings)

    def state(self) -> dict[str, Any]:
        return self._call("GET", "state")

    def requests(self, method: str = "", path: str = "") -> list[dict[str, Any]]:
        """The requests so far whose path begins with `path`."""
        found = self.state()["requests"]
        return [r for r in found if (not method or r["method"] == method) and r["path"].startswith(path)]

    def _call(self, method: str, what: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base_url}/_standin/{what}", data=data, method=method)
        with _OPENER.open(request, timeout=10) as answer:
            return json.load(answer)
