# SPDX-License-Identifier: GPL-3.0-or-later
"""Test Connection: a test of the storage on a thread of its own, and what is shown of it."""

import threading
from typing import Any

import bpy

from ..failure import Cancelled, Failure
from ..jobs.record import as_failure
from ..service.storage import Config
from ..service.storage.check import check_storage
from ..setup import Setup
from .text import draw_text

TEST = "mmaudio.test_storage"
"""The operator that starts one, and ends one that runs."""

_LOOK_SECONDS = 0.1
# How long the add-on's removal waits for the thread: it hears of a cancel within a tenth of a second.
_FAREWELL_SECONDS = 2.0


class Test:
    """One test. `said` is how it went, once it has; `failure` what failed, with the step in its message."""

    def __init__(self, config: Config, setup: Setup) -> None:
        self.config = config
        self.said = ""
        self.failure: Failure | None = None
        self._setup = setup
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._go, name="mmaudio storage test", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def cancel(self) -> None:
        self._cancel.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _go(self) -> None:
        try:
            with self._setup.tools.line(self.config, self._cancel) as line:
                self.said = check_storage(line.storage, line.transport)
        except Cancelled:
            self.said = "The test was cancelled."
        except Exception as fault:
            self.failure = as_failure(fault, "storage test")


_latest: Test | None = None


def latest() -> Test | None:
    return _latest


def start(config: Config, setup: Setup) -> None:
    """Tests these settings; one that still runs is ended."""
    global _latest
    if _latest is not None:
        _latest.cancel()
    _latest = Test(config, setup)
    if not bpy.app.timers.is_registered(_look):
        bpy.app.timers.register(_look, first_interval=_LOOK_SECONDS, persistent=True)


def detach() -> None:
    global _latest
    if bpy.app.timers.is_registered(_look):
        bpy.app.timers.unregister(_look)
    if _latest is not None:
        _latest.cancel()
        _latest.join(_FAREWELL_SECONDS)
        _latest = None


def draw(layout: Any, config: Config, context: bpy.types.Context, text: str = "Test Connection") -> None:
    """The button, and how the last test of these very settings went."""
    test = _latest if _latest is not None and _latest.config == config else None
    if test is not None and test.running:
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
    if _latest is not None and _latest.running:
        return _LOOK_SECONDS
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if area.type == "PREFERENCES" or (area.type == "SEQUENCE_EDITOR" and region.type == "UI"):
                    region.tag_redraw()
    return None
