# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker pool for the tasks of one job. No bpy."""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from .connections import Connections

Task = Callable[[Connections], None]
"""Must not raise: it records failures in the job's state."""


class WorkerPool:
    """At most `size` threads, started on demand, each with connections of its own.

    Leaving the context waits for all tasks, also for those that tasks have put. The threads are daemons, unlike those of
    concurrent.futures, so that closing Blender never waits for the network.
    """

    def __init__(self, size: int, name: str, connect: Callable[[], AbstractContextManager[Connections]]) -> None:
        self._size = size
        self._name = name
        self._connect = connect
        self._tasks: queue.Queue[Task | None] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._tasks.join()
        for _ in self._threads:
            self._tasks.put(None)

    def put(self, task: Task) -> None:
        self._tasks.put(task)
        with self._lock:
            if len(self._threads) < self._size:
                thread = threading.Thread(target=self._work, name=f"{self._name} {len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        with self._connect() as connections:
            while (task := self._tasks.get()) is not None:
                try:
                    task(connections)
                finally:
                    self._tasks.task_done()
