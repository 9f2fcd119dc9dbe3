# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that do one job's tasks side by side. No bpy."""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType

from ...service.eachlabs.client import Eachlabs
from ...service.net.transport import Transport
from ...service.storage import Storage, StorageConfig


@dataclass(frozen=True)
class Connections:
    """One thread's way to the service and to the storage that is set up; a connection is not for several.

    account  see `limits.account_of`
    """

    transport: Transport
    service: Eachlabs
    config: StorageConfig
    account: str = ""

    @cached_property
    def storage(self) -> Storage:
        """Opened when it is needed: what is at the service already goes on, whatever the settings are. Raises Failure."""
        return self.config.open(self.service, self.transport)


Task = Callable[[Connections], None]
"""Must not raise: what goes wrong is written down in the job."""


class WorkerPool:
    """At most `size` threads, started as they are needed. Leaving the context waits for all tasks, also those that tasks
    have put. They are daemons, so that closing Blender never waits for the network.
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
