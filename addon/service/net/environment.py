# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies and certificate authorities that are set on this machine, read as requests reads them. No bpy.

HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, or the system's settings; REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE instead of
certifi's authorities. requests does not read SSL_CERT_FILE, nor the system's own store.
"""

import os
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, select_proxy

from .errors import CertificateRejected, ProxyFailed, host_of


@dataclass(frozen=True)
class Proxy:
    host: str
    port: int
    tls: bool
    """The connection to the proxy is encrypted."""
    login: str = field(repr=False)
    """Value of the header Proxy-Authorization, or empty."""

    @property
    def name(self) -> str:
        return f"the proxy {self.host}"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for requests to `url`. Raise ProxyFailed if its own URL is invalid."""
    address = select_proxy(url, get_environ_proxies(url))
    if not address:
        return None
    address = address if "://" in address else f"http://{address}"
    if address.lower().startswith("socks"):
        text = f"The proxy {host_of(address)} is a SOCKS proxy, which Blender's Python doesn't support."
        raise ProxyFailed(text, "Set HTTPS_PROXY to an HTTP proxy.")
    try:
        parts = urlsplit(address)
        host, tls, port = parts.hostname, {"http": False, "https": True}[parts.scheme], parts.port
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode("latin-1")
    except (ValueError, KeyError):
        host, tls, port, login = None, False, None, b""
    if not host:
        raise ProxyFailed("The proxy URL that is set on this machine is invalid.")
    return Proxy(host, port or (443 if tls else 80), tls, "" if login == b":" else f"Basic {b64encode(login).decode()}")


def tls_context() -> ssl.SSLContext:
    """Return the settings of TLS connections. Raise CertificateRejected if the authorities can't be read."""
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
    try:
        return _tls_context(bundle, Path(bundle).stat().st_mtime_ns)
    except (OSError, ValueError):
        raise CertificateRejected(
            "The certificate file that is set on this machine can't be read, so nothing was sent.",
            "Check the environment variables REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.",
        ) from None


@lru_cache(maxsize=4)
def _tls_context(bundle: str, _modified: int) -> ssl.SSLContext:
    # Not create_default_context, which since Python 3.13 is stricter than the certificates of many a studio.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    folder = Path(bundle).is_dir()
    context.load_verify_locations(cafile=None if folder else bundle, capath=bundle if folder else None)
    return context
