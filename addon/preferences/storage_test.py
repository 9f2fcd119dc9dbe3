# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Connection: a test of the storage on a thread of its own, and what is shown of it."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import bpy

from ..config import Config
from ..failure import Cancelled, Failure
from ..jobs.work.state import as_failure
from ..service.storage import Storage, StorageConfig
from ..service.storage.check import check_storage
from ..text import draw_text

TEST = "mmaudio.test_storage"
"""The operator that starts one, and ends one that runs."""

_LOOK_SECONDS = 0.1
# A test that has failed or was cancelled deletes its file first; nobody waits longer for a server that says nothing.
_CLEARING_SECONDS = 10.0
# How long the add-on's removal waits for that, and then for threads that were told to leave it.
_FAREWELL_SECONDS = 2.0
_LEAVING_SECONDS = 0.5


class Test:
    """One test. `said` is how it went, once it has; `failure` what failed, with the step in its message."""

    def __init__(self, storage: StorageConfig, config: Config) -> None:
        self.storage = storage
        self.said = ""
        self.failure: Failure | None = None
        self._job_context = config.job_context
        self._cancel = threading.Event()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._go, name="mmaudio storage test", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Its file is still deleted."""
        self._cancel.set()

    def leave(self) -> None:
        """Ends it within a tenth of a second, whatever it leaves behind."""
        self._cancel.set()
        self._leave.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _go(self) -> None:
        try:
            with self._job_context.connect(self.storage, self._cancel) as connections:
                self.said = check_storage(connections.storage, connections.transport, self._clearing)
        except Cancelled:
            self.said = "The test was cancelled."
        except Exception as fault:
            self.failure = as_failure(fault, "storage test")

    @contextmanager
    def _clearing(self) -> Generator[Storage]:
        """The storage over a line that a cancel doesn't end."""
        limit = threading.Timer(_CLEARING_SECONDS, self._leave.set)
        limit.daemon = True
        limit.start()
        try:
            with self._job_context.connect(self.storage, self._leave) as connections:
                yield connections.storage
        finally:
            limit.cancel()


# The latest, and before it those that still clear up.
_tests: list[Test] = []


def latest() -> Test | None:
    return _tests[-1] if _tests else None


def start(storage: StorageConfig, config: Config) -> None:
    """Tests these settings; one that still runs is ended."""
    for test in _tests:
        test.cancel()
    _tests[:] = [*(test for test in _tests if test.running), Test(storage, config)]
    if not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=_LOOK_SECONDS, persistent=True)


def detach() -> None:
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    for test in _tests:
        test.cancel()
    end = time.monotonic() + _FAREWELL_SECONDS
    for test in _tests:
        test.join(max(0.0, end - time.monotonic()))
    for test in _tests:
        test.leave()
    for test in _tests:
        test.join(_LEAVING_SECONDS)
    _tests.clear()


def draw(layout: Any, storage: StorageConfig, context: bpy.types.Context, text: str = "Test Connection") -> None:
    """The button, and how the last test of these very settings went."""
    test = latest()
    if test is not None and test.storage != storage:
        test = None
    if test is not None and test.running:
        if test.cancelled:
            layout.label(text="Deleting the file of the test…", icon="SORTTIME")
        else:
            layout.operator(TEST, text="Testing… (Click to Cancel)", icon="CANCEL")
        return
    layout.operator(TEST, text=text, icon="URL")
    if test is None:
        return
    if test.failure is not None:
        draw_text(layout, test.failure.message, context, icon="ERROR")
        draw_text(layout, test.failure.hint, context, icon="BLANK1")
    else:
        draw_text(layout, test.said, context, icon="CHECKMARK")


def _look() -> float | None:
    """Draws anew where a test is shown, once it has ended."""
    if any(test.running for test in _tests):
        return _LOOK_SECONDS
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if area.type == "PREFERENCES" or (area.type == "SEQUENCE_EDITOR" and region.type == "UI"):
                    region.tag_redraw()
    return None
