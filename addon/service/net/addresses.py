# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses may be spoken to, and how much of one may be told. No bpy.

An address from the preferences may lead into the local network, where a studio has its storage or a gateway
(`private_allowed`). One that a server names, as a result, an upload URL or a redirect, may not.
"""

import ipaddress
import re
from urllib.parse import quote, urlsplit

import idna

from ...failure import Failure

SERVICE_HINT = "Check the service's address in the add-on's preferences."
GIVEN_HINT = "No setting is wrong: a server's answer named it. Retry asks for it anew; if it stays so, tell the service."

_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# Systems read 2130706433, 0x7f.1 and 127.1 as addresses (WHATWG URL, 3.5: a host that ends in a number is one).
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
# RFC 6052, 2.1: below it lies the whole of IPv4.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_V4_COMPATIBLE = ipaddress.IPv6Network("::/96")
# RFC 1918 and RFC 4193. Not the link-local networks, which hold the metadata service of most clouds.
_PRIVATE = [ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
# Metadata services within fc00::/7, which hand out credentials: of AWS, Google Cloud and Oracle Cloud, from their manuals.
_METADATA = [ipaddress.ip_address(address) for address in ("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe")]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, loopback_allowed: bool, private_allowed: bool = False, hint: str = SERVICE_HINT) -> None:
    """Raises Failure unless `url` is https to a public name or, if allowed, to a private one or plain http to this machine.

    What a public name resolves to is seen to where it is connected to. `hint` says where the address is set.
    """
    scheme, host = _scheme_and_host(url)
    if host and is_loopback(host):
        if loopback_allowed and scheme in ("http", "https"):
            return
    elif scheme == "https" and host and _may_be_asked(host, private_allowed=private_allowed):
        return
    shown = f"{scheme}://{host}" if host else "that was given"
    kind = "an https address of the Internet or the local network" if private_allowed else "a public https address"
    raise Failure("unsafe_url", f"The address {shown} is not {kind}, so nothing was sent there.", hint)


def is_loopback(host: str) -> bool:
    """Whether the name is this machine's own; all names below `localhost` are (RFC 6761, 6.3)."""
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    ip = _literal(host)
    return ip is not None and ip.is_loopback


def may_reach(host: str, address: str, *, loopback_allowed: bool, private_allowed: bool = False) -> bool:
    """Whether `address`, one of those that `host` resolves to, may be spoken to under that name."""
    ip = _literal(address)
    if ip is None:
        return False
    if ip.is_loopback:
        return loopback_allowed
    return _is_allowed(ip, private_allowed=private_allowed) and not is_loopback(host)


def redact(text: str, *secrets: str) -> str:
    """`text` without the secrets, and with no more of a URL than its host."""
    for secret in secrets:
        if secret:
            # As it was sent, and as an address would have it.
            for form in (secret, quote(secret, safe=""), quote(secret)):
                text = text.replace(form, "[key]")
    return re.sub(r"(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s/@\"']*@)?([^\s/?#\"']+)[^\s\"']*", r"\1\2/…", text)


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Both in lower case, the host as it is looked up; no host where it could be read in more than one way."""
    try:
        parts = urlsplit(url)
        # requests maps a name to ASCII in this way, after which 127。0。0。1 is this machine.
        host = parts.hostname or ""
        host = host if host.isascii() else idna.encode(host, uts46=True).decode()
        plain = url.isprintable() and parts.username is None and parts.password is None and parts.port != 0
    except ValueError:
        return "", ""
    sound = _NAME.fullmatch(host.removesuffix(".")) or _literal(host)
    return parts.scheme, host if plain and sound else ""


def _may_be_asked(host: str, *, private_allowed: bool) -> bool:
    ip = _literal(host)
    return _is_allowed(ip, private_allowed=private_allowed) if ip else not _NUMBER.fullmatch(host.removesuffix("."))


def _literal(host: str) -> IPAddress | None:
    """The address that `host` spells out; of an IPv4 address in IPv6's clothes the former."""
    try:
        ip = ipaddress.ip_address(host.removesuffix("."))
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _is_allowed(ip: IPAddress, *, private_allowed: bool) -> bool:
    return _is_public(ip) or (private_allowed and _is_private(ip))


def _is_private(ip: IPAddress) -> bool:
    """Whether it is of a local network and may be a storage there."""
    return any(ip in network for network in _PRIVATE) and ip not in _METADATA


def _is_public(ip: IPAddress) -> bool:
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.sixtofour
        if ip in _NAT64 or ip in _V4_COMPATIBLE:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None and not _is_public(inner):
            return False
    return ip.is_global and not ip.is_multicast
