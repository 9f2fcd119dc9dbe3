# SPDX-License-Identifier: GPL-3.0-or-later
"""Registry of the storages that an artist can choose in the preferences.

To add a storage, write its service half (`service/storage/NAME.py`, a StorageConfig and a Storage), its preferences half
(`preferences/storage_NAME.py`, a StorageModule), and add one entry to STORAGES. The list in the preferences, the properties,
the page and Test Connection follow from the entry.
"""
# Members of a module are named as in the module.
# ruff: noqa: N802

from collections.abc import Mapping
from typing import Any, Protocol

import bpy

from ..service.storage import StorageConfig
from . import storage_eachlabs, storage_given_url, storage_http_put, storage_s3


class StorageModule(Protocol):
    """Preferences half of a storage."""

    @property
    def LABEL(self) -> str:
        """Name of the storage in the list."""
        ...

    @property
    def DESCRIPTION(self) -> str:
        """Tooltip of the storage in the list."""
        ...

    @property
    def NEEDS_API_KEY(self) -> bool:
        """True if the storage itself sends requests to Eachlabs, so Test Connection requires an API key."""
        ...

    @property
    def Properties(self) -> type:
        """Mixin with the properties of the storage, which become properties of the add-on's preferences.

        Their names need a prefix of the storage's own, since all storages share one namespace.
        """
        ...

    def config(self, preferences: Any) -> StorageConfig:
        """Return the settings for jobs."""
        ...

    def test_config(self, preferences: Any) -> StorageConfig:
        """Return the settings for Test Connection; the same as those for jobs, unless each clip has settings of its own."""
        ...

    def draw(self, layout: Any, preferences: Any, context: bpy.types.Context) -> None:
        """Draw the properties, where secrets are kept, who can read a clip, and Test Connection."""
        ...


STORAGES: Mapping[str, StorageModule] = {
    "eachlabs": storage_eachlabs,
    "s3": storage_s3,
    "http_put": storage_http_put,
    "given_url": storage_given_url,
}
"""Storages by their identifiers, in the order of the list. The first is the default.

Blender saves the choice as its position in the list, so new storages belong at the end.
"""

ENUM_ITEMS = tuple((identifier, storage.LABEL, storage.DESCRIPTION) for identifier, storage in STORAGES.items())


def selected(preferences: Any) -> StorageModule:
    """Return the chosen storage, or the default if a newer version of the add-on has saved a choice unknown to this one."""
    return STORAGES.get(preferences.storage) or next(iter(STORAGES.values()))
