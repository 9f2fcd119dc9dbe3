# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of requests that got no response, in plain words. No bpy.

No message contains an exception's own text, since that has whole URLs with signatures and a proxy's password in them.
"""

import ssl
from urllib.parse import urlsplit

from ...failure import Failure

CONNECTION_HINT = "Check the connection and retry."
RETRY_LATER = "Retry later."
PROXY_PAGE_HINT = "A proxy or sign-in page may have responded instead: check the connection and retry."
_PROXY_HINT = "Check this machine's proxy settings, such as HTTPS_PROXY and NO_PROXY."
_TLS_INSPECTION_HINT = (
    "If a proxy or virus scanner inspects encrypted connections here, set REQUESTS_CA_BUNDLE to its certificate file."
)
# OpenSSL's X509_V_ERR_…, from its x509_vfy.h: the problem and the hint.
_CERTIFICATE_ERRORS = {
    9: ("is not valid yet", "Check this machine's clock."),
    10: ("has expired", "Check this machine's clock; if it is right, the server's certificate has to be renewed."),
    18: ("is self-signed", _TLS_INSPECTION_HINT),
    19: ("is signed by an authority that this machine doesn't trust", _TLS_INSPECTION_HINT),
    20: ("is signed by an authority that this machine doesn't trust", _TLS_INSPECTION_HINT),
    62: ("is for another host name", "Check the URL. A sign-in page or a proxy may have responded instead."),
}
_NOT_VERIFIED = ("could not be verified", f"Check this machine's clock. {_TLS_INSPECTION_HINT}")
# A handshake with one of these was interrupted and may be repeated. Any other TLS error is final.
_INTERRUPTED_HANDSHAKE = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


class TemporaryFailure(Failure):
    """Failure that may pass, so that the request is worth repeating."""

    def __init__(self, message: str, hint: str | None = None, *, may_be_done: bool = True, retry_after: float = 0.0) -> None:
        """`may_be_done`: the server may have carried out the request. `retry_after` is in seconds, 0 if unknown."""
        super().__init__(message, hint)
        self.may_be_done = may_be_done
        self.retry_after = retry_after


class TimedOut(TemporaryFailure):
    code = "timeout"
    stops_all = True
    default_hint = CONNECTION_HINT


class ConnectionFailed(TemporaryFailure):
    code = "connection"
    stops_all = True
    default_hint = CONNECTION_HINT


class ProxyFailed(Failure):
    code = "proxy"
    stops_all = True
    default_hint = _PROXY_HINT


class ProxyUnavailable(TemporaryFailure, ProxyFailed):
    """The proxy could not connect to the host, but may succeed later."""


class CertificateRejected(Failure):
    code = "certificate"
    stops_all = True


class TlsFailed(Failure):
    code = "tls"
    stops_all = True
    default_hint = f"Check the URL and its port. {_TLS_INSPECTION_HINT}"


class UnsafeUrl(Failure):
    """Nothing may be sent to the URL."""

    code = "unsafe_url"


class InvalidResponse(Failure):
    code = "bad_answer"
    default_hint = RETRY_LATER


class TemporaryInvalidResponse(TemporaryFailure, InvalidResponse):
    """Invalid response that a repeated request may not get."""


class ServiceUnavailable(TemporaryFailure):
    code = "service_down"
    default_hint = RETRY_LATER


class NotFound(Failure):
    code = "not_found"


class NotFoundYet(TemporaryFailure, NotFound):
    """The resource was created a moment ago, so the server may not have it yet."""


def host_of(url: str) -> str:
    """Return the URL's host, the only part that messages may contain."""
    try:
        return urlsplit(url).hostname or "the service"
    except ValueError:
        return "the service"


def timed_out(peer: str, *, sent: bool) -> TimedOut:
    """Return the failure for a response that did not come in time. `peer` is a host, or “the proxy HOST”."""
    return TimedOut(f"{_capitalized(peer)} did not respond in time.", _hint_for(peer), may_be_done=sent)


def name_not_resolved(peer: str) -> ConnectionFailed:
    return ConnectionFailed(f"The name of {peer} could not be resolved.", _hint_for(peer), may_be_done=False)


def not_connected(peer: str) -> ConnectionFailed:
    return ConnectionFailed(f"Could not connect to {peer}.", _hint_for(peer), may_be_done=False)


def address_not_allowed(host: str, *, private_allowed: bool) -> UnsafeUrl:
    """Return the failure for a public name that resolves to a forbidden address, by DNS rebinding or a local resolver."""
    kind = "neither public nor in the local network" if private_allowed else "not public"
    return UnsafeUrl(
        f"The name {host} resolves to an IP address that is {kind}, so nothing was sent there.",
        "Check the URL. If this network has its own DNS, connect to the Internet through HTTPS_PROXY.",
    )


def tunnel_failed(status: int, host: str, proxy: str) -> Failure:
    """Return the failure for a proxy that did not connect to `host`. `status` is that of its response, 0 without one."""
    if status == 407:
        hint = "Set the environment variable HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT."
        return ProxyFailed(f"{_capitalized(proxy)} requires a login, or rejected the one that is set (HTTP 407).", hint)
    if 400 <= status < 500 and status not in (408, 429):
        return ProxyFailed(f"{_capitalized(proxy)} refused to connect to {host} (HTTP {status}).")
    shown = f" (HTTP {status})" if status else ""
    return ProxyUnavailable(f"{_capitalized(proxy)} could not connect to {host}{shown}.", may_be_done=False)


def tls_failed(fault: Exception, peer: str) -> Failure:
    """Return the failure for a TLS handshake that failed."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        what, hint = _CERTIFICATE_ERRORS.get(fault.verify_code, _NOT_VERIFIED)
        return CertificateRejected(f"The certificate of {peer} {what}, so nothing was sent.", hint)
    if isinstance(fault, ssl.SSLError) and not isinstance(fault, _INTERRUPTED_HANDSHAKE):
        return TlsFailed(f"Could not establish a secure connection to {peer}, so nothing was sent.")
    return not_connected(peer)


def request_failed(fault: Exception, host: str, *, sent: bool) -> Failure:
    """Return the failure for any other exception of a request, before or after something of it was sent."""
    if not sent and isinstance(fault, ValueError):
        return InvalidResponse(f"The request to {host} is invalid.", "Check the URLs and headers.")
    return ConnectionFailed(f"The connection to {host} failed or was interrupted.", may_be_done=sent)


def _hint_for(peer: str) -> str:
    return _PROXY_HINT if peer.startswith("the proxy ") else CONNECTION_HINT


def _capitalized(peer: str) -> str:
    """Return `peer` for the beginning of a sentence; a host's name stays as it is."""
    return peer.replace("the ", "The ", 1) if peer.startswith("the ") else peer
