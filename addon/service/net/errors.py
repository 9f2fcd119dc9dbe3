# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a request that got no answer, in plain words. No bpy.

Never a fault's own text: it holds whole addresses, signatures and a proxy's password among them.
"""

import re
import ssl
from urllib.parse import urlsplit

import requests

from ...failure import Failure

_CHECK_CONNECTION = "Check the connection and retry."
_CHECK_PROXY = "Check this machine's proxy settings, such as HTTPS_PROXY and NO_PROXY."
_OPENED_UP = (
    "If a proxy or virus scanner opens secure connections here, name the file of its certificate in REQUESTS_CA_BUNDLE."
)
# OpenSSL's X509_V_ERR_…, from its x509_vfy.h: what is the matter, what to do.
_CERTIFICATES = {
    9: ("is not valid yet", "Check this machine's clock."),
    10: ("has expired", "Check this machine's clock; if it is right, the other side has to renew its certificate."),
    18: ("is signed by nobody but itself", _OPENED_UP),
    19: ("is signed by an authority that this machine doesn't know", _OPENED_UP),
    20: ("is signed by an authority that this machine doesn't know", _OPENED_UP),
    62: ("belongs to another name", "Check the address. A sign-in page or a proxy may stand in between."),
}
_UNVERIFIED = ("could not be verified", f"Check this machine's clock. {_OPENED_UP}")
_BUNDLES = (
    "The file of certificates that this machine's settings name can't be read, so nothing was sent.",
    "Check the variables REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.",
)
# What a handshake that breaks off on its way is told apart by; anything else of TLS is final.
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


class TemporaryFailure(Failure):
    """Trouble that may pass.

    sent   whether the request may have been carried out all the same
    after  for how many seconds the service asked to be left alone, its `Retry-After`, or 0
    """

    def __init__(self, code: str, message: str, hint: str = "", *, sent: bool = True, after: float = 0.0) -> None:
        super().__init__(code, message, hint)
        self.sent = sent
        self.after = after


def host_of(url: str) -> str:
    """As much of an address as may be told."""
    try:
        return urlsplit(url).hostname or "the service"
    except ValueError:
        return "the service"


def proxy_name(host: str) -> str:
    return f"the proxy {host}"


def silent(peer: str, *, sent: bool) -> TemporaryFailure:
    """Nothing, or too little, came in time. `peer` as `host_of` or `proxy_name` give it."""
    hint = _CHECK_PROXY if peer.startswith(proxy_name("")) else _CHECK_CONNECTION
    return TemporaryFailure("timeout", f"{_sentence(peer)} did not answer in time.", hint, sent=sent)


def unresolved(peer: str) -> TemporaryFailure:
    hint = _CHECK_PROXY if peer.startswith(proxy_name("")) else _CHECK_CONNECTION
    return TemporaryFailure("connection", f"The name of {peer} could not be resolved.", hint, sent=False)


def unconnected(peer: str) -> TemporaryFailure:
    hint = _CHECK_PROXY if peer.startswith(proxy_name("")) else _CHECK_CONNECTION
    return TemporaryFailure("connection", f"No connection to {peer} could be made.", hint, sent=False)


def not_allowed(host: str, *, private_allowed: bool) -> Failure:
    """A public name that leads to where its request may not go: DNS rebinding, or a resolver that does so on purpose."""
    kind = "neither public nor of the local network" if private_allowed else "not public"
    return Failure(
        "unsafe_url",
        f"The name {host} leads to an address that is {kind}, so nothing was sent there.",
        "Check the address. If this network resolves names by itself, reach the Internet through HTTPS_PROXY.",
    )


def untunnelled(fault: Exception, host: str, proxy: str) -> Failure:
    """The proxy took the connection, but did not lead to `host`."""
    said = re.search(r"Tunnel connection failed: (\d{3})", str(fault))
    status = int(said[1]) if said else 0
    name = _sentence(proxy_name(proxy))
    if status == 407:
        hint = "Put it into the variable HTTPS_PROXY, as http://USER:PASSWORD@HOST:PORT."
        return Failure("proxy", f"{name} wants a login, or another one (HTTP 407).", hint)
    if 400 <= status < 500 and status not in (408, 429):
        return Failure("proxy", f"{name} refuses to connect to {host} (HTTP {status}).", _CHECK_PROXY)
    shown = f" (HTTP {status})" if status else ""
    return TemporaryFailure("proxy", f"{name} did not connect to {host}{shown}.", _CHECK_PROXY, sent=False)


def insecure(fault: Exception, peer: str) -> Failure:
    """The connection stood, but could not be made a secure one."""
    chain = _causes(fault)
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError) or type(cause).__name__ == "CertificateError":
            what, hint = _CERTIFICATES.get(getattr(cause, "verify_code", 62), _UNVERIFIED)
            return Failure("certificate", f"The certificate of {peer} {what}, so nothing was sent.", hint)
    if any("NO_CERTIFICATE_OR_CRL_FOUND" in str(cause) or isinstance(cause, FileNotFoundError) for cause in chain):
        return Failure("certificate", *_BUNDLES)
    broken_off = any(isinstance(cause, _BROKEN_OFF) for cause in chain)
    if not broken_off and any(isinstance(cause, ssl.SSLError) for cause in chain):
        text = f"No secure connection to {peer} could be agreed on, so nothing was sent."
        return Failure("tls", text, f"Check the address and its port. {_OPENED_UP}")
    if any(isinstance(cause, TimeoutError) for cause in chain):
        return silent(peer, sent=False)
    return unconnected(peer)


def unreachable(fault: Exception, url: str, *, sent: bool) -> Failure:
    """Whatever else becomes of a request, on its way or before."""
    host = host_of(url)
    chain = _causes(fault)
    if any(isinstance(cause, TimeoutError | requests.Timeout) for cause in chain):
        return silent(host, sent=sent)
    if "TLS CA certificate bundle" in str(fault):
        return Failure("certificate", *_BUNDLES)
    if any(isinstance(cause, requests.exceptions.InvalidProxyURL) for cause in chain):
        return Failure("proxy", "The address of this machine's proxy is none.", _CHECK_PROXY)
    if not sent and any(isinstance(cause, ValueError) for cause in chain):
        # Of requests' faults, those of a malformed address or header are of this kind.
        return Failure("bad_answer", f"What should be asked of {host} makes no request.", "Check the addresses and headers.")
    return TemporaryFailure("connection", f"The connection to {host} failed or broke off.", _CHECK_CONNECTION, sent=sent)


def socks(host: str) -> Failure:
    text = f"{_sentence(proxy_name(host))} is a SOCKS proxy, which Blender's Python can't use."
    return Failure("proxy", text, "Name an HTTP proxy in HTTPS_PROXY.")


def _sentence(peer: str) -> str:
    """`peer` at the beginning of a sentence; a host's name stays as it is."""
    return peer.replace("the ", "The ", 1) if peer.startswith(proxy_name("")) or peer == "the service" else peer


def _causes(fault: BaseException) -> list[BaseException]:
    """The fault and what led to it: requests and urllib3 wrap one another in `args` and `reason`."""
    found: list[BaseException] = []
    open_ends = [fault]
    while open_ends:
        cause = open_ends.pop()
        if cause in found:
            continue
        found.append(cause)
        hidden = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        open_ends += [item for item in hidden if isinstance(item, BaseException)]
    return found
