# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way from a file to a public URL; a new one is a module beside this and an entry here. No bpy."""

from collections.abc import Mapping

from . import StorageConfig
from .eachlabs import EachlabsConfig
from .given_url import GivenUrlConfig
from .http_put import HttpPutConfig
from .s3 import S3Config

WAYS: Mapping[str, type[StorageConfig]] = {
    "eachlabs": EachlabsConfig,
    "s3": S3Config,
    "http_put": HttpPutConfig,
    "given_url": GivenUrlConfig,
}
"""Under the names by which preferences keep the choice. The first is the default."""
