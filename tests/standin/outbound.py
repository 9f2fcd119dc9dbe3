# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that the double sends: fetching videos from other storages, and calling webhooks.

Like the real service, it accepts only public https URLs. Test servers have none, so tests map public hosts to ports on
loopback (`tunnels`, in place of the user's tunnel) and list the storages on loopback that count as public (`storages`).
"""

import http.client
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

ATTEMPTS = 3
ATTEMPT_SECONDS = 30.0
_VIDEO_MAX = 100_000_000


def is_public(url: object) -> bool:
    """Return whether the real service would send a request to this URL."""
    if not isinstance(url, str):
        return False
    parts = urlsplit(url)
    local = re.match(r"(localhost$|.*\.localhost$|127\.|10\.|192\.168\.|169\.254\.|\[?::1|0\.)", parts.hostname or "")
    return parts.scheme == "https" and bool(parts.hostname) and not local


@dataclass
class Outbound:
    """Sender of the double's own requests."""

    tunnels: dict[str, int] = field(default_factory=dict[str, int])
    """Port on loopback for each public host."""
    storages: list[str] = field(default_factory=list[str])
    """Base URLs on loopback that count as public."""
    retry_delay: float = 10.0
    """Seconds between two attempts at a webhook call; about 10 at the real service."""
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Attempts at webhook calls so far: run, status and time."""

    def reaches_loopback(self, url: str) -> bool:
        return any(url.startswith(f"{storage}/") for storage in self.storages)

    def video(self, url: str) -> bytes | None:
        """Download the video at the URL; return None if that fails."""
        status, body = self._request("GET", url)
        return body if status == 200 else None

    def call(self, url: str, secret: str, run: str, body: Mapping[str, object]) -> int:
        """Make one attempt to call a webhook; return the status of the response, or 0 without a response."""
        headers = {"Content-Type": "application/json", "X-Webhook-Secret": secret}
        status, _ = self._request("POST", url, json.dumps(body).encode(), headers)
        self.calls.append({"run": run, "status": status, "time": time.time()})
        return status

    def call_with_retries(self, url: str, secret: str, run: str, body: Mapping[str, object]) -> None:
        """Call a webhook as the real service does: in up to three attempts, until one succeeds."""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self.retry_delay)
            if 200 <= self.call(url, secret, run, body) < 300:
                return

    def _request(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        parts = urlsplit(url)
        port = parts.port if self.reaches_loopback(url) else self.tunnels.get(parts.hostname or "")
        if port is None:
            return 0, b""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ATTEMPT_SECONDS)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body, {"Host": parts.netloc, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read(_VIDEO_MAX)
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()
