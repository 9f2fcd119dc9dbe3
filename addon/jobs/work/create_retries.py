# SPDX-License-Identifier: GPL-3.0-or-later
"""How often and for how long the create call of a run is repeated. No bpy."""

from ...service.eachlabs.errors import RateLimited
from ...service.net.errors import TemporaryFailure
from ...service.net.transport import RETRY_SECONDS, Transport, backoff
from .errors import ClipExpired

ATTEMPTS_MAX = 6
RATE_LIMITED_SECONDS = 15 * 60.0
"""A 429 creates nothing and asks for patience, so it counts as no attempt: time alone bounds how often it may come. Others
with the same key, on another machine, may occupy all its slots for as long as a batch takes."""
UPLOADS_MAX = 6
"""Enough for RATE_LIMITED_SECONDS with the shortest life that a clip can be given."""


class CreateRetries:
    """The retries of one run's create call: note each failure, then `wait` before the next attempt."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._uploads = 1
        self._restart()

    def _restart(self) -> None:
        self._began = self._transport.now()
        self._attempts = self._rate_limits = 0
        self._delay = 0.0
        self._failure: TemporaryFailure | None = None

    def failed(self, failure: TemporaryFailure) -> None:
        if isinstance(failure, RateLimited):
            self._rate_limits += 1
            delay = backoff(self._rate_limits)
        else:
            self._attempts += 1
            delay = backoff(self._attempts)
        self._failure, self._delay = failure, max(failure.retry_after, delay)

    def expired(self, failure: ClipExpired) -> None:
        """Start over with a new upload. Raises the failure when there were enough of them."""
        if self._uploads == UPLOADS_MAX:
            raise failure
        self._uploads += 1
        self._restart()

    def wait(self) -> None:
        """Wait before the next attempt. Raises the latest failure if no attempt is left, Cancelled."""
        if self._failure is None:
            return
        rate_limited = isinstance(self._failure, RateLimited)
        seconds_max = RATE_LIMITED_SECONDS if rate_limited else RATE_LIMITED_SECONDS + RETRY_SECONDS
        elapsed = self._transport.now() - self._began
        if self._attempts >= ATTEMPTS_MAX or elapsed + self._delay >= seconds_max:
            raise self._failure
        self._transport.wait(self._delay)
