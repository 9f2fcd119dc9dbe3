# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering of clips by background Blenders, which all jobs share. No bpy."""

import errno
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..failure import Failure, as_failure, disk_failure, readable
from .folder import is_full
from .render_process import FRAME_WRITTEN, RenderFailed, RenderProcess

IDLE_SECONDS = 60.0
SILENCE_SECONDS = 900.0
"""One frame of a 3D scene may take minutes, no more."""
_MEMORY_MAX_MB = 2048
"""A background Blender that has taken more is replaced after its order."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class RenderOrder:
    """Order to `render_clip.py`, which reads it as JSON: render a frame range of a strip to one file."""

    blend: str
    scene: str
    whole_project: bool
    """The .blend is a copy of the whole project rather than of the scene alone."""
    strip: str
    strip_first: int
    """First frame of the strip's picture that is scored, which may be before its left handle."""
    strip_frames: int
    """Number of these frames. The last one is held in the part of the clip that exceeds them."""
    lead: int
    """How many of them are before the strip's left handle. The first visible frame is held there if media are missing."""
    tail: int
    """How many of them are after the strip's right handle. The last visible frame is held there if media are missing."""
    first: int
    """First frame of the clip, counted from `strip_first`."""
    frames: int
    output: str
    """Path of the file. Nothing has this name until the file is complete."""
    short_side_max: int
    long_side_max: int
    """Largest sides of the clip, in pixels."""
    whole_edit: bool
    """Render the edit as shown in the strip's range, instead of the strip alone."""
    scenes_as_they_are: bool
    """Render 3D scenes with their own engine instead of Workbench."""
    export: str
    """Identifies the export. Media files are checked once in each, and names of incomplete files contain it."""


@dataclass(frozen=True)
class Exported:
    """Progress of several orders."""

    frames: int
    """Rendered so far, of all orders."""
    finished: int | None = None
    """Index of an order whose file is complete."""
    notes: Sequence[str] = ()
    """Notes for the user on that file; usually none."""


@dataclass(eq=False)
class _Task:
    """One order, from its place in the queue to its end."""

    number: int
    order: RenderOrder
    command: Sequence[str]
    events: "queue.SimpleQueue[_Event]"
    lock: threading.Lock = field(default_factory=threading.Lock)
    process: RenderProcess | None = None
    cancelled: bool = False

    def begin(self, process: RenderProcess) -> bool:
        """Note who renders it. Return False if it was cancelled."""
        with self.lock:
            self.process = None if self.cancelled else process
            return not self.cancelled

    def end(self) -> None:
        with self.lock:
            self.process = None

    def cancel(self) -> None:
        """Remove it from the queue, or end the process that renders it."""
        with self.lock:
            self.cancelled = True
            if self.process is not None:
                self.process.kill()


_Event = tuple[_Task, bytes | dict[str, Any] | Failure]
"""A line of the output, the reply at the end, or what went wrong."""


class Exporter:
    """Background Blenders, started on demand and kept for a minute. Orders are rendered first come, first served."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS, silence_seconds: float = SILENCE_SECONDS) -> None:
        """A Blender without work ends after `idle_seconds`. A render hangs if it prints nothing for `silence_seconds`."""
        self._idle_seconds = idle_seconds
        self._silence_seconds = silence_seconds
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers = 0
        self._idle = 0
        self._processes: set[RenderProcess] = set()

    def export(
        self, orders: Sequence[RenderOrder], command: Sequence[str], processes: int, check: Callable[[], None]
    ) -> Generator[Exported]:
        """Render the orders with at most so many `processes`, and yield their progress, at first when the first one begins.

        `check` is called some times a second. Raises Failure for the first order that fails, or what `check` raises, and
        cancels the other orders.
        """
        events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        tasks = [_Task(number, order, command, events) for number, order in enumerate(orders)]
        try:
            for task in tasks:
                self._put(task, processes)
            yield from _progress(tasks, events, check, self._silence_seconds)
        finally:
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        """End all processes. What they render fails."""
        with self._lock:
            for process in self._processes:
                process.kill()
            for _ in range(self._workers):
                self._tasks.put(None)

    def _put(self, task: _Task, processes: int) -> None:
        self._tasks.put(task)
        with self._lock:
            if self._workers < processes and self._idle < self._tasks.qsize():
                self._workers += 1
                # A daemon, so that closing Blender never waits for a render.
                threading.Thread(target=self._work, name="mmaudio render", daemon=True).start()

    def _work(self) -> None:
        """Render orders in one process, until none comes for a minute."""
        process: RenderProcess | None = None
        while (task := self._next_task()) is not None:
            process = self._render(task, process)
        if process is not None:
            self._end(process)

    def _next_task(self) -> _Task | None:
        with self._lock:
            self._idle += 1
        task = _get(self._tasks, self._idle_seconds)
        with self._lock:
            # One may have come since, and have found this worker idle.
            task = task or _get(self._tasks, 0)
            self._idle -= 1
            self._workers -= task is None
        return task

    def _render(self, task: _Task, process: RenderProcess | None) -> RenderProcess | None:
        """Render one order and return the process for the next one."""
        try:
            if process is not None and (process.command != tuple(task.command) or not process.alive):
                self._end(process)
                process = None
            if process is None and not task.cancelled:
                process = self._start(task.command)
            if process is None or not task.begin(process):
                return process
            task.events.put((task, b""))
            for item in process.render(asdict(task.order)):
                task.events.put((task, item))
                if isinstance(item, dict) and item["memory_mb"] > _MEMORY_MAX_MB:
                    self._end(process)
                    return None
        except Exception as fault:
            task.events.put((task, as_failure(fault, "background render")))
        finally:
            task.end()
        return process

    def _start(self, command: Sequence[str]) -> RenderProcess:
        process = RenderProcess(command)
        with self._lock:
            self._processes.add(process)
        return process

    def _end(self, process: RenderProcess) -> None:
        process.close()
        with self._lock:
            self._processes.discard(process)


def _get(tasks: "queue.SimpleQueue[_Task | None]", seconds: float) -> _Task | None:
    try:
        return tasks.get(timeout=seconds)
    except queue.Empty:
        return None


def _progress(
    tasks: Sequence[_Task], events: "queue.SimpleQueue[_Event]", check: Callable[[], None], silence_seconds: float
) -> Generator[Exported]:
    """Yield the progress of the tasks until all are finished."""
    rendered = dict.fromkeys(tasks, 0)
    active: dict[_Task, float] = {}
    """The tasks that are being rendered, each with the time of its latest line."""
    unfinished = len(tasks)
    while unfinished:
        check()
        try:
            task, event = events.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if active and time.monotonic() - min(active.values()) > silence_seconds:
                raise _hanging(silence_seconds) from None
            continue
        active[task] = time.monotonic()
        if isinstance(event, Failure):
            raise _explained(task.order, event)
        if isinstance(event, dict):
            del active[task]
            unfinished -= 1
            rendered[task] = task.order.frames
            yield Exported(sum(rendered.values()), task.number, [readable(note) for note in event["notes"]])
        elif not event or FRAME_WRITTEN.search(event):
            rendered[task] = min(rendered[task] + bool(event), task.order.frames)
            yield Exported(sum(rendered.values()))


def _hanging(silence_seconds: float) -> RenderFailed:
    return RenderFailed(
        f"The background render wrote no frame for {silence_seconds / 60:.0f} minutes and was stopped.",
        "Turn off 3D Scenes as They Are in the panel's Options.",
    )


def _explained(order: RenderOrder, failure: Failure) -> Failure:
    """Return the failure of an order. Blender's output may not mention a full disk."""
    folder = Path(order.output).parent
    if isinstance(failure, RenderFailed) and is_full(folder):
        return disk_failure(OSError(errno.ENOSPC, ""), f"The clip can't be written to {folder}")
    return failure
