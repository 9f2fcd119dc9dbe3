# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of requests that got no response, in plain words. No bpy.

No message contains an exception's own text, since that has whole URLs with signatures and a proxy's password in them.
"""

import re
import ssl
from urllib.parse import urlsplit

import requests

from ...failure import Failure, RunFailure

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
_CA_BUNDLE_ERROR = (
    "The certificate file that is set on this machine can't be read, so nothing was sent.",
    "Check the environment variables REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.",
)
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
    default_hint = CONNECTION_HINT


class ConnectionFailed(TemporaryFailure):
    code = "connection"
    default_hint = CONNECTION_HINT


class ProxyFailed(Failure):
    code = "proxy"
    default_hint = _PROXY_HINT


class ProxyUnavailable(TemporaryFailure, ProxyFailed):
    """The proxy could not connect to the host, but may succeed later."""


class CertificateRejected(Failure):
    code = "certificate"


class TlsFailed(Failure):
    code = "tls"
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


class ResultGone(RunFailure):
    code = "result_gone"
    default_hint = "Retry looks for it again, without a new run."


def host_of(url: str) -> str:
    """Return the URL's host, the only part that messages may contain."""
    try:
        return urlsplit(url).hostname or "the service"
    except ValueError:
        return "the service"


def proxy_name(host: str) -> str:
    return f"the proxy {host}"


def timed_out(peer: str, *, sent: bool) -> TimedOut:
    """Return the failure for a response that did not come in time. `peer` is as `host_of` or `proxy_name` return it."""
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


def tunnel_failed(fault: Exception, host: str, proxy: str) -> Failure:
    """Return the failure for a proxy that could be reached, but did not connect to `host`."""
    match = re.search(r"Tunnel connection failed: (\d{3})", str(fault))
    status = int(match[1]) if match else 0
    name = _capitalized(proxy_name(proxy))
    if status == 407:
        hint = "Set the environment variable HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT."
        return ProxyFailed(f"{name} requires a login, or rejected the one that is set (HTTP 407).", hint)
    if 400 <= status < 500 and status not in (408, 429):
        return ProxyFailed(f"{name} refused to connect to {host} (HTTP {status}).", _PROXY_HINT)
    shown = f" (HTTP {status})" if status else ""
    return ProxyUnavailable(f"{name} could not connect to {host}{shown}.", _PROXY_HINT, may_be_done=False)


def tls_failed(fault: Exception, peer: str) -> Failure:
    """Return the failure for a connection on which the TLS handshake failed."""
    chain = _causes(fault)
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError) or type(cause).__name__ == "CertificateError":
            what, hint = _CERTIFICATE_ERRORS.get(getattr(cause, "verify_code", 62), _NOT_VERIFIED)
            return CertificateRejected(f"The certificate of {peer} {what}, so nothing was sent.", hint)
    if any("NO_CERTIFICATE_OR_CRL_FOUND" in str(cause) or isinstance(cause, FileNotFoundError) for cause in chain):
        return CertificateRejected(*_CA_BUNDLE_ERROR)
    interrupted = any(isinstance(cause, _INTERRUPTED_HANDSHAKE) for cause in chain)
    if not interrupted and any(isinstance(cause, ssl.SSLError) for cause in chain):
        return TlsFailed(f"Could not establish a secure connection to {peer}, so nothing was sent.")
    if any(isinstance(cause, TimeoutError) for cause in chain):
        return timed_out(peer, sent=False)
    return not_connected(peer)


def request_failed(fault: Exception, url: str, *, sent: bool) -> Failure:
    """Return the failure for any other exception of a request, before, while or after it was sent."""
    host = host_of(url)
    chain = _causes(fault)
    if any(isinstance(cause, TimeoutError | requests.Timeout) for cause in chain):
        return timed_out(host, sent=sent)
    if "TLS CA certificate bundle" in str(fault):
        return CertificateRejected(*_CA_BUNDLE_ERROR)
    if any(isinstance(cause, requests.exceptions.InvalidProxyURL) for cause in chain):
        return ProxyFailed("The proxy URL that is set on this machine is invalid.", _PROXY_HINT)
    if not sent and any(isinstance(cause, ValueError) for cause in chain):
        # Among requests' exceptions, those for a malformed URL or header are ValueErrors.
        return InvalidResponse(f"The request to {host} is invalid.", "Check the URLs and headers.")
    return ConnectionFailed(f"The connection to {host} failed or was interrupted.", may_be_done=sent)


def socks_not_supported(host: str) -> ProxyFailed:
    text = f"{_capitalized(proxy_name(host))} is a SOCKS proxy, which Blender's Python doesn't support."
    return ProxyFailed(text, "Set HTTPS_PROXY to an HTTP proxy.")


def _hint_for(peer: str) -> str:
    return _PROXY_HINT if peer.startswith(proxy_name("")) else CONNECTION_HINT


def _capitalized(peer: str) -> str:
    """Return `peer` for the beginning of a sentence; a host's name stays as it is."""
    return peer.replace("the ", "The ", 1) if peer.startswith(proxy_name("")) or peer == "the service" else peer


def _causes(fault: BaseException) -> list[BaseException]:
    """Return the exception and its causes. requests and urllib3 wrap them in `args` and `reason`."""
    found: list[BaseException] = []
    pending = [fault]
    while pending:
        cause = pending.pop()
        if cause in found:
            continue
        found.append(cause)
        wrapped = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        pending += [item for item in wrapped if isinstance(item, BaseException)]
    return found
