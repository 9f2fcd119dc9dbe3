# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses may be spoken to, and how much of one may be told. No bpy."""

import ipaddress
import re
from urllib.parse import urlsplit

from ..failure import Failure

SERVICE_HINT = "Check the service's address in the add-on's preferences."


def check_url(url: str, *, loopback_allowed: bool, hint: str = SERVICE_HINT) -> None:
    """Raises Failure unless `url` is https to a public name, or, if allowed, plain http to this machine.

    `hint` says where the address is set.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    host = parts.hostname or ""
    plain_names = parts.username is None and parts.password is None
    if plain_names and is_loopback(host):
        if loopback_allowed and parts.scheme in ("http", "https"):
            return
    elif plain_names and parts.scheme == "https" and host and _is_public(host):
        return
    raise Failure(
        "unsafe_url",
        f"The address {parts.scheme}://{host} is not a public https address, so nothing was sent there.",
        hint,
    )


def is_loopback(host: str) -> bool:
    """Whether the name is this machine's own; all names below `localhost` are (RFC 6761, 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redact(text: str, *secrets: str) -> str:
    """`text` without the secrets, and with no more of a URL than its host."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[key]")
    return re.sub(r"(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s/@\"']*@)?([^\s/?#\"']+)[^\s\"']*", r"\1\2/…", text)


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True
