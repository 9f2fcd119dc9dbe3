# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that the jobs of one click share. No bpy."""

import shutil
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...service.eachlabs.client import CreatePaths, EachlabsClient, is_local
from ...service.eachlabs.webhook import Webhook
from ...service.net.clock import CLOCK, Clock
from ...service.net.deadline import BOUNDS, Bounds
from ...service.net.transport import Transport
from ...service.storage import StorageConfig
from ...service.storage.eachlabs import EachlabsConfig
from .connections import Connections, account_of


@dataclass(frozen=True)
class JobContext:
    """Shared by the jobs of one click. The only place of the API key: it is in no job, and nowhere on disk."""

    key: str = field(repr=False)
    base_url: str
    blender: Sequence[str]
    """Command that runs the render script in a background Blender."""
    work: Path
    """Folder for the jobs' own files, which are kept until nothing more can be made of them."""
    storage: StorageConfig = field(default_factory=EachlabsConfig)
    """Where clips are uploaded, except for a job whose clip the artist has published."""
    webhook: Webhook | None = None
    """Receives the service's calls; without it runs are polled."""
    render_processes: int = 1
    """Background Blenders at once."""
    create_paths: CreatePaths = field(default_factory=dict[str, str])
    bounds: Bounds = BOUNDS
    """Limits of each request."""
    clock: Clock = CLOCK
    """Clock of all waits: between polls and retries, and for the limits of the account."""

    def folder(self, job_id: str) -> Path:
        return self.work / job_id

    def clear(self, job_id: str) -> None:
        """Remove the job's own files."""
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    @contextmanager
    def connect(self, storage: StorageConfig, cancel: threading.Event) -> Generator[Connections]:
        """Open connections for one thread. Requests raise Cancelled as soon as `cancel` is set."""
        transport = Transport(cancel, loopback_allowed=is_local(self.base_url), bounds=self.bounds, clock=self.clock)
        try:
            client = EachlabsClient(self.key, self.base_url, transport, self.create_paths)
            yield Connections(transport, client, storage, account_of(self.key, self.base_url))
        finally:
            transport.close()
