# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of failure of the Eachlabs API, and their HTTP statuses. No bpy."""

from collections.abc import Sequence

from ...failure import Failure, TooLarge
from ..net.addresses import redact
from ..net.errors import InvalidResponse, NotFound, ServiceUnavailable, TemporaryFailure
from ..net.response import Response
from .responses import error_text, request_id


class InvalidInput(Failure):
    code = "invalid_input"
    default_hint = "Change the settings named here and generate again."


class BadKey(Failure):
    code = "bad_key"
    stops_all = True
    default_hint = "Set the key in Preferences > Add-ons > MMAudio for the Sequencer."


class LowBalance(Failure):
    code = "balance"
    stops_all = True
    default_hint = "Add credit at eachlabs.ai, then retry."


class Busy(TemporaryFailure):
    code = "busy"
    default_hint = "Retry later."


class RateLimited(TemporaryFailure):
    """Too many concurrent runs, or too many created within a minute. No other response guarantees that none was created."""

    code = "rate_limited"
    default_hint = "Retry after other runs have ended."


class Unsettled(Failure):
    """The response to a create call was lost, and the search for the run failed."""

    code = "unsettled"
    default_hint = "Before you retry, check the runs on the Eachlabs dashboard: it may have been billed."


_NOT_FOUND_HINT = "Check the service's URL in the preferences."
_ERRORS: dict[int, tuple[type[Failure], str]] = {
    400: (InvalidInput, "Eachlabs rejected the request as invalid"),
    401: (BadKey, "Eachlabs rejected the API key"),
    402: (LowBalance, "The balance at Eachlabs is too low for this run"),
    403: (BadKey, "Eachlabs does not permit this with this API key"),
    404: (NotFound, "Eachlabs does not know the model or run"),
    413: (TooLarge, "The clip is larger than Eachlabs accepts"),
}
"""Kind of failure and what happened, by HTTP status."""


def failure_of(response: Response, secrets: Sequence[str]) -> Failure:
    """Return the failure for an error response. Its text contains none of the `secrets`."""
    details = error_text(response, *secrets)
    tail = f": {details}" if details else ""
    tail += redact(f" (HTTP {response.status}{request_id(response)}).", *secrets)
    if response.status == 429:
        text = f"Too many runs of this API key are active at Eachlabs{tail}"
        return RateLimited(text, may_be_done=False, retry_after=response.retry_after)
    if response.status == 409:
        text = f"Eachlabs is still processing this file{tail}"
        return Busy(text, may_be_done=False, retry_after=response.retry_after)
    if response.status >= 500:
        hint = "The strip is not the cause. Retry later."
        return ServiceUnavailable(f"Eachlabs reported a server error{tail}", hint, retry_after=response.retry_after)
    kind, what = _ERRORS.get(response.status, (InvalidResponse, "Eachlabs sent an unexpected response"))
    return kind(what + tail, _NOT_FOUND_HINT if kind is NotFound else None)
