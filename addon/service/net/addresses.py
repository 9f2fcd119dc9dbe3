# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of URLs and IP addresses before a request, and redaction of URLs in texts. No bpy.

A URL from the preferences may lead into the local network, where a studio has its storage or a gateway
(`private_allowed`). A URL from a server's response, such as a result, an upload URL or a redirect, may not.
"""

import ipaddress
import re
from urllib.parse import quote, urlsplit

import idna

from .errors import UnsafeUrl

SERVICE_HINT = "Check the service's URL in the add-on's preferences."
RESPONSE_HINT = (
    "The URL is from a server's response, not from the settings. Retry, and report it to the service if it persists."
)

_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# Systems read 2130706433, 0x7f.1 and 127.1 as addresses (WHATWG URL, 3.5: a host that ends in a number is one).
_NUMERIC_HOST = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
# RFC 6052, 2.1: its last 32 bits are an IPv4 address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
# RFC 1918 and RFC 4193. Not the link-local networks, which hold the metadata service of most clouds.
_PRIVATE_NETWORKS = [
    ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
# Metadata services within fc00::/7, which return credentials: of AWS, Google Cloud and Oracle Cloud, from their manuals.
_METADATA_SERVICES = [ipaddress.ip_address(address) for address in ("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe")]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, loopback_allowed: bool, private_allowed: bool = False, hint: str = SERVICE_HINT) -> None:
    """Raise UnsafeUrl unless `url` is https to a public host or, if allowed, to a private one or plain http to this machine.

    The addresses that a public name resolves to are checked when the connection is made. `hint` says where the URL is set.
    """
    scheme, host = _scheme_and_host(url)
    if host and is_loopback(host):
        if loopback_allowed and scheme in ("http", "https"):
            return
    elif scheme == "https" and host and _is_allowed_host(host, private_allowed=private_allowed):
        return
    shown = f"The URL {scheme}://{host}" if host else "The given URL"
    kind = "an https URL on the Internet or the local network" if private_allowed else "a public https URL"
    raise UnsafeUrl(f"{shown} is not {kind}, so nothing was sent there.", hint)


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine. All names below `localhost` are (RFC 6761, 6.3)."""
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    ip = _ip_literal(host)
    return ip is not None and ip.is_loopback


def is_allowed_address(host: str, address: str, *, loopback_allowed: bool, private_allowed: bool = False) -> bool:
    """Return whether a connection may be made to `address`, one of those that `host` resolves to."""
    ip = _ip_literal(address)
    if ip is None:
        return False
    if ip.is_loopback:
        return loopback_allowed
    return _is_allowed_ip(ip, private_allowed=private_allowed) and not is_loopback(host)


def redact(text: str, *secrets: str) -> str:
    """Return `text` without the secrets, and with no more of a URL than its host."""
    for secret in secrets:
        if secret:
            # As it was sent, and as it is escaped in a URL.
            for form in (secret, quote(secret, safe=""), quote(secret)):
                text = text.replace(form, "[key]")
    return re.sub(r"(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s/@\"']*@)?([^\s/?#\"']+)[^\s\"']*", r"\1\2/…", text)


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Return both in lower case, the host as it is looked up. The host is empty if parsers could read it differently."""
    try:
        parts = urlsplit(url)
        # requests maps a name to ASCII in this way, after which 127。0。0。1 is this machine.
        host = parts.hostname or ""
        host = host if host.isascii() else idna.encode(host, uts46=True).decode()
        plain = url.isprintable() and parts.username is None and parts.password is None and parts.port != 0
    except ValueError:
        return "", ""
    valid = _HOST_NAME.fullmatch(host.removesuffix(".")) or _ip_literal(host)
    return parts.scheme, host if plain and valid else ""


def _is_allowed_host(host: str, *, private_allowed: bool) -> bool:
    ip = _ip_literal(host)
    return _is_allowed_ip(ip, private_allowed=private_allowed) if ip else not _NUMERIC_HOST.fullmatch(host.removesuffix("."))


def _ip_literal(host: str) -> IPAddress | None:
    """Return the address if `host` is one, and of an IPv4-mapped IPv6 address the IPv4 address."""
    try:
        ip = ipaddress.ip_address(host.removesuffix("."))
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _is_allowed_ip(ip: IPAddress, *, private_allowed: bool) -> bool:
    return _is_public(ip) or (private_allowed and _is_private(ip))


def _is_private(ip: IPAddress) -> bool:
    """Return whether the address is in a local network and not a cloud's metadata service."""
    return any(ip in network for network in _PRIVATE_NETWORKS) and ip not in _METADATA_SERVICES


def _is_public(ip: IPAddress) -> bool:
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.sixtofour
        if ip in _NAT64 or ip in _IPV4_COMPATIBLE:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded is not None and not _is_public(embedded):
            return False
    return ip.is_global and not ip.is_multicast
