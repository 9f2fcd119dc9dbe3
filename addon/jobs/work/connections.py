# SPDX-License-Identifier: GPL-3.0-or-later
"""One thread's connections to the service and to storage. No bpy."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from ...service.eachlabs.client import EachlabsClient
from ...service.net.transport import Transport
from ...service.storage import Storage, StorageConfig


def account_of(key: str, base_url: str) -> str:
    """Return what represents a key and a service in the journal: a digest, from which the key can't be recovered."""
    return hashlib.blake2b(f"{base_url}\n{key}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Connections:
    """Must not be shared between threads."""

    transport: Transport
    client: EachlabsClient
    storage_config: StorageConfig
    account: str = ""
    """See `account_of`."""

    @cached_property
    def storage(self) -> Storage:
        """Opened on first use, so that a run that exists is fetched whatever the storage settings are. Raises Failure."""
        return self.storage_config.open(self.client, self.transport)
