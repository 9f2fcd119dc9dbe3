# SPDX-License-Identifier: GPL-3.0-or-later
"""A test of the API key, in a thread of its own. No bpy."""

import threading
import time

from ...failure import Cancelled, Failure, as_failure
from .context import JobContext

_RECENT_SECONDS = 3600.0


class KeyTest:
    """Asks for a list of one run, which needs the key and costs nothing. Starts at once."""

    def __init__(self, job_context: JobContext) -> None:
        self.tested = (job_context.key, job_context.base_url)
        """Key and service URL under test."""
        self.result = ""
        """What the test has shown, as a sentence; empty until it has succeeded."""
        self.failure: Failure | None = None
        self._job_context = job_context
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mmaudio key test", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def cancel(self) -> None:
        self._cancel.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            with self._job_context.connect(self._job_context.storage, self._cancel) as connections:
                since = time.time() - _RECENT_SECONDS
                connections.transport.retry(lambda: connections.client.executions(since, None, limit=1, offset=0))
                self.result = "Eachlabs accepts the key."
        except Cancelled:
            pass
        except Exception as fault:
            self.failure = as_failure(fault, "key test")
