# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of the test double: starts it in its own process and controls it."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).parents[2]
# Created once: building an opener loads all of the system's certificates.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StandIn:
    """Process of the test double; started on construction, stopped on exit of the context."""

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
            raise RuntimeError("The test double did not start.")
        ready = json.loads(line)
        self.base_url: str = ready["base_url"]
        self.key: str = ready["key"]

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make the add-on use the test double."""
        return {"EACHLABS_BASE_URL": self.base_url, "EACHLABS_API_KEY": self.key}

    def inject(self, at: str, do: str, **details: Any) -> None:
        """Inject a fault; `Faults` in faults.py describes the kinds."""
        self._call("POST", "faults", {"at": at, "do": do, **details})

    def clear_faults(self) -> None:
        """Remove all injected faults."""
        self._call("DELETE", "faults")

    def clear_history(self) -> None:
        """Clear the recorded requests, violations, triggered faults, uploads and webhook calls."""
        self._call("DELETE", "history")

    def set(self, **settings: Any) -> None:
        """Set attributes of `Service`."""
        self._call("POST", "settings", settings)

    def set_outbound(self, **settings: Any) -> None:
        """Set attributes of `Outbound`, which sends the double's own requests."""
        self._call("POST", "outbound", settings)

    def state(self) -> dict[str, Any]:
        return self._call("GET", "state")

    def requests(self, method: str = "", path: str = "") -> list[dict[str, Any]]:
        """Return the recorded requests of this method, or of any, whose path starts with `path`."""
        recorded = self.state()["requests"]
        return [r for r in recorded if (not method or r["method"] == method) and r["path"].startswith(path)]

    def _call(self, method: str, resource: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base_url}/_standin/{resource}", data=data, method=method)
        with _OPENER.open(request, timeout=10) as response:
            return json.load(response)
