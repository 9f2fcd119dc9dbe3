# SPDX-License-Identifier: GPL-3.0-or-later
"""How the double reaches what is not its own: videos in other storages, and webhooks.

Like the real service it wants public https addresses. Nothing here has one, so tests say which public host leads to which
port of this machine (`tunnels`, the user's tunnel), and which storages on loopback count as public (`storages`).
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
    """Whether the real service would speak to this address."""
    if not isinstance(url, str):
        return False
    parts = urlsplit(url)
    local = re.match(r"(localhost$|.*\.localhost$|127\.|10\.|192\.168\.|169\.254\.|\[?::1|0\.)", parts.hostname or "")
    return parts.scheme == "https" and bool(parts.hostname) and not local


@dataclass
class Outside:
    """pause: seconds between two attempts at a call; with the real service about 10."""

    tunnels: dict[str, int] = field(default_factory=dict[str, int])
    storages: list[str] = field(default_factory=list[str])
    pause: float = 10.0
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def reaches_loopback(self, url: str) -> bool:
        return any(url.startswith(f"{storage}/") for storage in self.storages)

    def video(self, url: str) -> bytes | None:
        """The video at an address, None where there is none."""
        status, body = self._ask("GET", url)
        return body if status == 200 else None

    def call(self, url: str, secret: str, run: str, body: Mapping[str, object]) -> int:
        """One attempt to call a webhook; its status, 0 where nobody answered."""
        headers = {"Content-Type": "application/json", "X-Webhook-Secret": secret}
        status, _ = self._ask("POST", url, json.dumps(body).encode(), headers)
        self.calls.append({"run": run, "status": status, "time": time.time()})
        return status

    def insist(self, url: str, secret: str, run: str, body: Mapping[str, object]) -> None:
        """As the service does: three attempts, until one is answered well."""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self.pause)
            if 200 <= self.call(url, secret, run, body) < 300:
                return

    def _ask(
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
            answer = connection.getresponse()
            return answer.status, answer.read(_VIDEO_MAX)
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()
