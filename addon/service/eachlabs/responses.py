# SPDX-License-Identifier: GPL-3.0-or-later
"""What Eachlabs answers, as values that can be trusted: of the right kind, bounded, printable. No bpy.

The brief and the vendor's newest documentation differ in places (the words for a status, the shape of errors and
outputs); both are accepted.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..net.addresses import redact
from ..net.transport import Response, TemporaryFailure
from . import mmaudio

SUCCEEDED = frozenset({"success", "succeeded", "completed"})
FAILED = frozenset({"error", "failed"})
CANCELLED = frozenset({"cancelled", "canceled"})

# Far beyond any run; what is not a number, or infinite, is beyond it too.
_AMOUNT_MAX = 1e6


@dataclass(frozen=True)
class Prediction:
    """One run as the service sees it. `cost` in US dollars, None while unknown."""

    id: str
    status: str
    output_url: str | None = None
    cost: float | None = None
    reason: str = ""


def json_object(response: Response, path: str) -> dict[str, Any]:
    if not response.body:
        return {}
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    # A proxy's or a hotspot's page in the service's place.
    raise TemporaryFailure(
        "bad_answer",
        f"The answer of Eachlabs to {path.split('?', maxsplit=1)[0].split('/')[2]} was no JSON{request_id(response)}.",
        "A proxy or sign-in page may stand in between: check the connection and retry.",
    )


def is_same(sent: Mapping[str, Any], fields: Mapping[str, str | int | float]) -> bool:
    """Whether a run was asked for what `fields` ask. A seed that isn't told might be ours; numbers may come as text."""
    seed = sent.get("seed")
    same_seed = seed is None or str(seed).removesuffix(".0") == str(fields["seed"])
    return sent.get("video") == fields["video"] and same_seed


def error_text(response: Response, *secrets: str) -> str:
    """What an error's body says, in at most 500 characters, from any of its three shapes, without the secrets."""
    try:
        body = json.loads(response.body)
        parts = [body.get(name) for name in ("error", "message", "details")] if isinstance(body, dict) else []
        texts = [part if isinstance(part, str) else json.dumps(part) for part in parts if part]
    except (ValueError, RecursionError):
        return ""
    # Before it is cut: of a key that stands there, half is too much.
    return _printable(redact("; ".join(dict.fromkeys(texts)), *secrets)[:500]).rstrip(".")


def _printable(text: str) -> str:
    """On one line, and without what would turn a label or a terminal upside down."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def request_id(response: Response) -> str:
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
    """A number that can be an amount of seconds or dollars."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _AMOUNT_MAX else None


def _reason(body: Mapping[str, Any], output: object, secrets: Sequence[str]) -> str:
    """Why a run failed, from wherever this answer puts it."""
    inner = output[0] if isinstance(output, list) and output else output
    inner = inner if isinstance(inner, Mapping) else {}
    for text in (body.get("details"), body.get("message"), inner.get("error_message"), inner.get("error"), body.get("logs")):
        if isinstance(text, str) and text.strip():
            return _printable(redact(text.strip(), *secrets)[-500:]).rstrip(".")
    return ""
