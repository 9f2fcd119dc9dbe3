# SPDX-License-Identifier: GPL-3.0-or-later
"""A test of the storage settings, in a thread of its own. No bpy."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from ...failure import Cancelled, Failure, as_failure
from ...service.storage import Storage, StorageConfig
from ...service.storage.check import check_storage
from .context import JobContext

# Time limit for deleting the test file after a failure or a cancel, in case the server doesn't respond.
_CLEANUP_SECONDS = 10.0


class StorageTest:
    """Uploads a small file, reads it back and deletes it. Starts at once."""

    def __init__(self, storage: StorageConfig, job_context: JobContext) -> None:
        self.storage = storage
        """Settings under test."""
        self.result = ""
        """What the test has shown, as a sentence; empty until it has succeeded or was cancelled."""
        self.failure: Failure | None = None
        """Why the test has failed; the message begins with the step."""
        self._job_context = job_context
        self._cancel = threading.Event()
        self._abort = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mmaudio storage test", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Stop the test; its file is still deleted."""
        self._cancel.set()

    def abort(self) -> None:
        """Stop the test within a tenth of a second, even if its file stays in storage."""
        self._cancel.set()
        self._abort.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            with self._job_context.connect(self.storage, self._cancel) as connections:
                self.result = check_storage(connections.storage, connections.transport, self._connect_for_cleanup)
        except Cancelled:
            self.result = "The test was cancelled."
        except Exception as fault:
            self.failure = as_failure(fault, "storage test")

    @contextmanager
    def _connect_for_cleanup(self) -> Generator[Storage]:
        """Open the storage over a connection that `cancel` doesn't close."""
        limit = threading.Timer(_CLEANUP_SECONDS, self._abort.set)
        limit.daemon = True
        limit.start()
        try:
            with self._job_context.connect(self.storage, self._abort) as connections:
                yield connections.storage
        finally:
            limit.cancel()
