# SPDX-License-Identifier: GPL-3.0-or-later
"""Presigned URLs: AWS Signature Version 4 in the query, with an unsigned payload. No bpy.

aws-request-signer does the signing. Its caller has to escape the path as S3 does, to write the host as it will be sent, and
to add the session token, which `presign_url` omits.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from aws_request_signer import UNSIGNED_PAYLOAD, AwsRequestSigner

LIFETIME_SECONDS_MAX = 7 * 24 * 3600
"""Longest time for which AWS and compatible storages accept a signature."""

_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9_.~-]*)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Credentials:
    """Access key for a region."""

    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    """Session token of temporary credentials, else empty."""


def presigned(method: str, url: str, key: Credentials, lifetime: int, headers: Mapping[str, str] | None = None) -> str:
    """Return the URL with a signature for `method` that is valid for `lifetime` seconds. A request must have `headers`."""
    if key.session_token:
        # The query is signed, and the token with it.
        url += "?X-Amz-Security-Token=" + quote(key.session_token, safe="")
    signer = AwsRequestSigner(key.region, key.access_key, key.secret_key, "s3")
    return signer.presign_url(method, url, headers, UNSIGNED_PAYLOAD, lifetime)


def object_url(endpoint: str, bucket: str, name: str, *, virtual_host: bool) -> str:
    """Return an object's URL, exactly as it is sent and signed. Raise ValueError for an invalid endpoint.

    Clients send the host in lower-case ASCII and without the scheme's default port. It has to be signed like that.
    """
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").encode("idna").decode()
    path = parts.path.rstrip("/")
    if not host or parts.query or parts.fragment or parts.username is not None or not _PLAIN_PATH.fullmatch(path):
        raise ValueError(endpoint)
    if virtual_host and _is_ip_address(host):
        raise ValueError(endpoint)
    host = f"{bucket}.{host}" if virtual_host else host
    host = f"[{host}]" if ":" in host else host
    if parts.port not in (None, _DEFAULT_PORTS.get(parts.scheme)):
        host += f":{parts.port}"
    path += "" if virtual_host else f"/{bucket}"
    return f"{parts.scheme}://{host}{path}/{quote(name, safe='/~')}"


def _is_ip_address(host: str) -> bool:
    """Return whether the host is an IP address, which can't have a bucket before it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
