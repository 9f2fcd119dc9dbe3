# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a request that got no answer, in plain words. No bpy."""

from urllib.parse import urlsplit

import requests

from ..failure import Failure

_CHECK_CONNECTION = "Check the connection and retry."


class TryAgain(Failure):
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
    return urlsplit(url).hostname or "the service"


def unreachable(fault: Exception, url: str) -> Failure:
    """Says in plain words what became of a request. Never the fault's own text: it holds the whole URL."""
    host = host_of(url)
    chain = _causes(fault)
    names = {type(cause).__name__ for cause in chain}
    sent = not names & {"NewConnectionError", "ConnectTimeout", "ConnectTimeoutError", "NameResolutionError", "gaierror"}
    if names & {"SSLError", "SSLCertVerificationError"}:
        return Failure(
            "certificate",
            f"The certificate of {host} could not be verified, so nothing was sent.",
            "Check this machine's clock, and whether a proxy or virus scanner opens secure connections.",
        )
    if "ProxyError" in names:
        text = f"The proxy did not connect to {host}."
        return TryAgain("connection", text, "Check this machine's proxy settings.", sent=False)
    if any(isinstance(cause, requests.Timeout | TimeoutError) for cause in chain):
        return TryAgain("timeout", f"{host} did not answer in time.", _CHECK_CONNECTION, sent=sent)
    if names & {"gaierror", "NameResolutionError"}:
        return TryAgain("connection", f"The name {host} could not be resolved.", _CHECK_CONNECTION, sent=False)
    return TryAgain("connection", f"The connection to {host} failed or broke off.", _CHECK_CONNECTION, sent=sent)


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
