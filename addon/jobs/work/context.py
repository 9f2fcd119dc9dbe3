# SPDX-License-Identifier: GPL-3.0-or-later
"""What the jobs of one click work with. No bpy."""

import shutil
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...service.eachlabs import client
from ...service.eachlabs.client import Eachlabs
from ...service.eachlabs.webhook import Webhook
from ...service.net.transport import Transport
from ...service.storage import StorageConfig
from ...service.storage.eachlabs import EachlabsConfig
from ..limits import account_of
from .worker_pool import Connections


@dataclass(frozen=True)
class JobContext:
    """What all jobs of one click work with. The key is in here and nowhere else: not in a job, not in a record.

    blender  the command that starts a background Blender with a script
    work     a folder for a job's own files, kept until nothing more can be made of them
    storage  where clips go, unless a job's clip has been published by hand
    webhook  hears the service's calls; without it runs are polled
    """

    key: str = field(repr=False)
    base_url: str
    blender: Sequence[str]
    work: Path
    storage: StorageConfig = field(default_factory=EachlabsConfig)
    webhook: Webhook | None = None

    def folder(self, job_id: str) -> Path:
        return self.work / job_id

    def clear(self, job_id: str) -> None:
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    @contextmanager
    def connect(self, storage: StorageConfig, cancel: threading.Event) -> Generator[Connections]:
        transport = Transport(cancel, loopback_allowed=client.is_local(self.base_url))
        try:
            service = Eachlabs(self.key, self.base_url, transport)
            yield Connections(transport, service, storage, account_of(self.key, self.base_url))
        finally:
            transport.close()
