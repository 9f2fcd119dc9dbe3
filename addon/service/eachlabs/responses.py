# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsing of responses from Eachlabs to values of the right type, bounded and printable. No bpy.

The brief and the vendor's newest documentation differ in places (the names of statuses, the shape of errors and
outputs); both are accepted.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...failure import readable
from ..net.addresses import redact
from ..net.errors import PROXY_PAGE_HINT, TemporaryInvalidResponse
from ..net.response import Response
from . import mmaudio

SUCCEEDED = frozenset({"success", "succeeded", "completed"})
FAILED = frozenset({"error", "failed"})
CANCELLED = frozenset({"cancelled", "canceled"})

# Seconds or US dollars, far more than any run has. NaN and infinity are rejected too.
_AMOUNT_MAX = 1e6


@dataclass(frozen=True)
class Prediction:
    """State of a run at the service."""

    id: str
    status: str
    output_url: str | None = None
    cost: float | None = None
    """US dollars, None while unknown."""
    reason: str = ""
    """Why the run failed, if it did and the service says so."""


def json_object(response: Response, path: str) -> dict[str, Any]:
    """Return the JSON object of a response, {} for an empty body. Raise TemporaryInvalidResponse for anything else."""
    if not response.body:
        return {}
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    # Such as the page of a proxy or a hotspot.
    raise TemporaryInvalidResponse(
        f"Eachlabs did not respond to {path.split('?', maxsplit=1)[0].split('/')[2]} with JSON{request_id(response)}.",
        PROXY_PAGE_HINT,
    )


def is_same(sent: Mapping[str, Any], fields: Mapping[str, str | int | float]) -> bool:
    """Return whether a run with the input `sent` was created with the input `fields`.

    A missing seed may be the same, and numbers may be strings.
    """
    seed = sent.get("seed")
    same_seed = seed is None or str(seed).removesuffix(".0") == str(fields["seed"])
    return sent.get("video") == fields["video"] and same_seed


def error_text(response: Response, *secrets: str) -> str:
    """Return the text of an error response, in at most 500 characters and without the secrets. Errors have three shapes."""
    try:
        body = json.loads(response.body)
        parts = [body.get(name) for name in ("error", "message", "details")] if isinstance(body, dict) else []
        texts = [part if isinstance(part, str) else json.dumps(part) for part in parts if part]
    except (ValueError, RecursionError):
        return ""
    # Redacted before it is shortened, which might leave half a key.
    return readable(redact("; ".join(dict.fromkeys(texts)), *secrets)[:500]).strip().rstrip(".")


def request_id(response: Response) -> str:
    """Return the id of the request for a message, as ", request ID", or an empty string."""
    request_id = re.sub(r"[^\w.:-]", "", response.headers.get("X-Request-Id", ""))[:64]
    return f", request {request_id}" if request_id else ""


def prediction_of(prediction_id: str, body: Mapping[str, Any], secrets: Sequence[str]) -> Prediction:
    status = str(body.get("status", "")).lower()
    output = body.get("output")
    metrics = body.get("metrics")
    return Prediction(
        id=prediction_id,
        status=status,
        output_url=_output_url(output) if status in SUCCEEDED else None,
        cost=_cost(metrics if isinstance(metrics, dict) else {}),
        reason=_reason(body, output, secrets) if status in FAILED else "",
    )


def _output_url(output: object) -> str | None:
    if isinstance(output, Sequence) and not isinstance(output, str) and output:
        output = output[0]
    if isinstance(output, Mapping):
        output = output.get("url")
    return output if isinstance(output, str) and output else None


def _cost(metrics: Mapping[str, Any]) -> float | None:
    cost = _amount(metrics.get("cost"))
    seconds = _amount(metrics.get("predict_time"))
    if cost is None and seconds is not None:
        cost = seconds * mmaudio.USD_PER_SECOND
    return cost


def _amount(value: object) -> float | None:
    """Return a number of seconds or dollars, None for an invalid one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _AMOUNT_MAX else None


def _reason(body: Mapping[str, Any], output: object, secrets: Sequence[str]) -> str:
    """Return why a run failed, from whichever field has it."""
    inner = output[0] if isinstance(output, list) and output else output
    inner = inner if isinstance(inner, Mapping) else {}
    for text in (body.get("details"), body.get("message"), inner.get("error_message"), inner.get("error"), body.get("logs")):
        if isinstance(text, str) and text.strip():
            return readable(redact(text.strip(), *secrets)[-500:]).strip().rstrip(".")
    return ""
