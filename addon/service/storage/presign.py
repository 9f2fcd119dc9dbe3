# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that carry their own permission: AWS Signature Version 4 in the query, the payload unsigned. No bpy.

The signing itself is aws-request-signer's. What it leaves to its caller is done here: the path escaped as S3 wants it, the
host as it will be sent, and the session token, which its `presign_url` forgets.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from aws_request_signer import UNSIGNED_PAYLOAD, AwsRequestSigner

LIFE_MOST = 7 * 24 * 3600
"""Seconds; AWS and its kin refuse to sign for longer."""

_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9_.~-]*)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Credentials:
    """A region's key. Temporary ones come with a token."""

    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def presigned(method: str, address: str, key: Credentials, life: int, headers: Mapping[str, str] | None = None) -> str:
    """`address` with a permission for `method` that lasts `life` seconds; whoever uses it has to send `headers`."""
    if key.session_token:
        # Once in the query it is signed like the rest of it.
        address += "?X-Amz-Security-Token=" + quote(key.session_token, safe="")
    signer = AwsRequestSigner(key.region, key.access_key, key.secret_key, "s3")
    return signer.presign_url(method, address, headers, UNSIGNED_PAYLOAD, life)


def object_address(endpoint: str, bucket: str, name: str, *, virtual_host: bool) -> str:
    """Where an object lies, exactly as it is sent and signed. Raises ValueError for what is no endpoint.

    A client sends the host in small ASCII letters and without the scheme's own port: signed otherwise, it would not fit.
    """
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").encode("idna").decode()
    path = parts.path.rstrip("/")
    if not host or parts.query or parts.fragment or parts.username is not None or not _PLAIN_PATH.fullmatch(path):
        raise ValueError(endpoint)
    if virtual_host and _is_number(host):
        raise ValueError(endpoint)
    host = f"{bucket}.{host}" if virtual_host else host
    host = f"[{host}]" if ":" in host else host
    if parts.port not in (None, _DEFAULT_PORTS.get(parts.scheme)):
        host += f":{parts.port}"
    path += "" if virtual_host else f"/{bucket}"
    return f"{parts.scheme}://{host}{path}/{quote(name, safe='/~')}"


def _is_number(host: str) -> bool:
    """Whether a host is an IP address, which takes no bucket before it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
