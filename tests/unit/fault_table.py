# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults between a job's clip and its sound, and how the job ends. Each row is one fault.

For each of them test_fault_table.py checks the same: never two runs for one job; the sound of a run that succeeded is on
disk at once or after a Retry; nothing stays in storage or incomplete on disk; no other host gets the key; the error names
the strip, what happened and what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

DONE = "done"
ALWAYS = 10_000
BUSY = {"status": 503, "body": '{"error": "busy"}', "do": "status"}
PAGE = {"do": "status", "status": 200, "body": "<html>Sign in</html>", "headers": {"Content-Type": "text/html"}}
DEEP = "[" * 10_000 + "]" * 10_000
ODD = {"Content-Encoding": "br"}
ASTRAY = {"Content-Disposition": "attachment; filename=../../../stray.mp4"}
BYTES = {"do": "status", "status": 200, "body": "no film at all " * 99, "headers": {"Content-Type": "video/mp4"}}

Order = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """Fault and its expected outcome."""

    stage: str
    """Stage of the fault: a route of the double, or "run"."""
    fault: str
    """Description of the fault."""
    orders: tuple[Order, ...]
    """Faults to order from the double, see its `Faults`."""
    ends: str = DONE
    """DONE, or the error's code. After an error, a Retry without the fault finishes the job."""
    created: int = 1
    """Number of runs when the job has ended for the first time."""
    has_sound: bool = True
    """The run returns a sound. If False, only a new run, created by the Retry, can."""
    short_timeouts: bool = False
    """Timeouts are short, so that the fault exceeds them."""
    public: bool = False
    """The service has public names and TLS, and connections to this machine are not allowed."""

    @property
    def name(self) -> str:
        return f"{self.stage}: {self.fault}"


def _row(stage: str, fault: str, *orders: Order, **rest: Any) -> Row:
    return Row(stage, fault, tuple({"at": stage, **order} for order in orders), **rest)


def _status(status: int, body: str = "", **rest: Any) -> Order:
    return {"do": "status", "status": status, "body": body, **rest}


def _says(output: str) -> Order:
    """The run has succeeded, and its output is there."""
    return _status(200, f'{{"status": "success", "output": "{output}"}}', times=ALWAYS)


def _leads_to(location: str) -> Order:
    return _status(302, headers={"Location": location}, times=ALWAYS)


def _capped(cap: int) -> str:
    return f'{{"status": 429, "error": "refused", "details": "a maximum of {cap} concurrent predictions"}}'


_PRESIGN = [
    _row("presign", "lost before it was carried out", {"do": "drop"}),
    _row("presign", "lost after it was carried out", {"do": "drop", "carried_out": True}),
    _row("presign", "reset while it was sent", {"do": "reset"}),
    _row("presign", "503 for a while", {**BUSY, "times": 3}),
    _row("presign", "503 for good", {**BUSY, "times": ALWAYS}, ends="service_down", created=0),
    _row("presign", "429 for a while", _status(429, times=3, headers={"Retry-After": "7"})),
    _row("presign", "a page instead of an answer", PAGE),
    _row("presign", "a page for good", {**PAGE, "times": ALWAYS}, ends="bad_answer", created=0),
    _row("presign", "an answer without an address", _status(200, '{"id": "7"}'), ends="bad_answer", created=0),
    _row(
        "presign",
        "an address on this machine's disk",
        _status(200, '{"id": "7", "public_url": "https://cdn.example/7", "presigned_url": "file:///etc/passwd"}'),
        ends="unsafe_url",
        created=0,
    ),
    _row("presign", "the key is refused", _status(401, '{"error": "no such key"}'), ends="bad_key", created=0),
    _row("presign", "the balance is empty", _status(402, '{"error": "add credit"}'), ends="balance", created=0),
]

_PUT = [
    _row("put", "reset in the middle", {"do": "reset"}),
    _row("put", "lost before it was carried out", {"do": "drop"}),
    _row("put", "lost after it was carried out", {"do": "drop", "carried_out": True}),
    _row("put", "503 after it was carried out", {**BUSY, "carried_out": True}),
    _row("put", "lost for good", {"do": "drop", "carried_out": True, "times": ALWAYS}, ends="connection", created=0),
    _row("put", "stalls", {"do": "stall", "seconds": 1.5}, short_timeouts=True),
    _row("put", "the address has lapsed", _status(403, "<Error>Request has expired</Error>")),
    _row("put", "every address has lapsed", _status(403, times=ALWAYS), ends="upload_refused", created=0),
    _row("put", "503 for a while", {**BUSY, "times": 3}),
    _row("put", "too large", _status(413), ends="upload_refused", created=0),
]

_CREATE = [
    # The connection that the create would have gone over.
    Row("create", "the connection is gone before it is sent", ({"at": "presign", "do": "close"},)),
    _row("create", "reset while it is sent", {"do": "reset"}),
    _row("create", "lost before it was carried out", {"do": "drop"}),
    _row("create", "lost after it was carried out", {"do": "drop", "carried_out": True}),
    _row(
        "create", "no answer in time", _status(200, carried_out=True), {"do": "stall", "seconds": 1.5}, short_timeouts=True
    ),
    _row("create", "503 that did create", {**BUSY, "carried_out": True}),
    _row("create", "503 that did not", BUSY),
    _row("create", "503 for good", {**BUSY, "times": ALWAYS}, ends="service_down", created=0),
    _row("create", "an empty answer that did create", _status(200, carried_out=True)),
    _row("create", "an empty answer that did not", _status(200)),
    _row("create", "a page that did create", {**PAGE, "carried_out": True}),
    _row("create", "a page that did not", PAGE),
    _row("create", "an answer without a number that did create", _status(200, '{"status": "success"}', carried_out=True)),
    _row("create", "an answer without a number that did not", _status(200, '{"status": "success"}')),
    _row("create", "a number that is none", _status(200, '{"predictionID": 7}', carried_out=True)),
    _row("create", "half an answer", {"do": "truncate"}),
    _row("create", "an answer of 10,000 levels", _status(200, DEEP, carried_out=True)),
    _row("create", "an answer without end", {"do": "flood"}),
    _row("create", "an answer packed in an odd way", _status(200, "{}", carried_out=True, headers=ODD)),
    Row(
        "create",
        "lost after it was carried out, and the list of runs is down",
        ({"at": "create", "do": "drop", "carried_out": True}, {"at": "executions", **BUSY, "times": ALWAYS}),
        ends="unsettled",
    ),
    Row(
        "create",
        "lost before it was carried out, and the list of runs is down",
        ({"at": "create", "do": "drop"}, {"at": "executions", **BUSY, "times": ALWAYS}),
        ends="unsettled",
        created=0,
    ),
    _row("create", "429 that names a cap of 2", _status(429, _capped(2), times=3)),
    _row("create", "429 that names a cap of 10", _status(429, _capped(10), times=3)),
    _row("create", "429 for minutes", _status(429, times=40)),
    _row(
        "create",
        "429 for longer than anyone waits",
        _status(429, _capped(10), times=ALWAYS, headers={"Retry-After": "60"}),
        ends="rate_limited",
        created=0,
    ),
    _row("create", "429, then lost after it was carried out", _status(429), {"do": "drop", "carried_out": True, "after": 1}),
    _row("create", "the balance is empty", _status(402, '{"error": "add credit"}'), ends="balance", created=0),
    _row("create", "the input is refused", _status(400, '{"error": "no film"}'), ends="invalid_input", created=0),
    _row("create", "the key is refused", _status(401, '{"error": "no such key"}'), ends="bad_key", created=0),
]

_POLL = [
    _row("get", "lost for a while", {"do": "drop", "times": 3}),
    _row("get", "lost for good", {"do": "drop", "times": ALWAYS}, ends="connection"),
    _row("get", "503 for a while", {**BUSY, "times": 3}),
    _row("get", "503 for good", {**BUSY, "times": ALWAYS}, ends="service_down"),
    _row("get", "429 for a while", _status(429, times=3, headers={"Retry-After": "7"})),
    _row("get", "a page for a while", {**PAGE, "times": 3}),
    _row("get", "half an answer", {"do": "truncate", "times": 2}),
    _row("get", "an answer that comes bit by bit", {"do": "slow", "seconds": 6}, short_timeouts=True),
    _row("get", "a gigabyte announced", {"do": "flood", "bytes": 1 << 30, "content_length": True}),
    _row("get", "an answer without end", {"do": "flood", "body": '{"status": "'}),
    _row("get", "an answer without end for good", {"do": "flood", "times": ALWAYS}, ends="bad_answer"),
    _row("get", "an answer of 10,000 levels", _status(200, DEEP, times=2)),
    _row("get", "an unknown status for a while", _status(200, '{"status": "pondering"}', times=3)),
    _row("get", "an unknown status for good", _status(200, '{"status": "pondering"}', times=ALWAYS), ends="run_timeout"),
    _row("get", "404 for a moment", _status(404, '{"error": "Prediction not found"}', times=2)),
    _row("get", "404 for good", _status(404, '{"error": "Prediction not found"}', times=ALWAYS), ends="not_found"),
    _row("get", "the key is refused", _status(401, '{"error": "no such key"}'), ends="bad_key"),
    _row("get", "succeeded, but names no output", _says(""), ends="no_result"),
    _row("run", "fails", {"do": "fail", "reason": "out of memory"}, ends="run_failed", has_sound=False),
    _row("run", "cancelled at the service", {"do": "cancel"}, ends="run_cancelled", has_sound=False),
]

_OUTPUT = [
    _row("output", "reset in the middle", {"do": "break"}),
    _row("output", "shorter than announced", {"do": "truncate", "times": 2}),
    _row("output", "shorter than announced for good", {"do": "truncate", "times": ALWAYS}, ends="connection"),
    _row(
        "output",
        "a gigabyte announced",
        {"do": "flood", "bytes": 1 << 30, "content_length": True},
        ends="bad_answer",
    ),
    _row("output", "without end", {"do": "flood", "body": "....ftypisom"}, ends="bad_answer"),
    _row("output", "a page", PAGE),
    _row("output", "a page for good", {**PAGE, "times": ALWAYS}, ends="bad_answer"),
    _row("output", "empty", _status(200)),
    _row("output", "no mp4", BYTES),
    _row("output", "no mp4 for good", {**BYTES, "times": ALWAYS}, ends="no_sound", has_sound=False),
    _row("output", "403: its address has lapsed", _status(403)),
    _row("output", "404 for a moment", _status(404)),
    _row("output", "403 for good", _status(403, times=ALWAYS), ends="result_gone"),
    _row("output", "404 for good", _status(404, times=ALWAYS), ends="result_gone"),
    _row("output", "503 for a while", {**BUSY, "times": 3}),
    _row("output", "429 for a while", _status(429, times=3, headers={"Retry-After": "7"})),
    _row("output", "comes bit by bit", {"do": "slow", "seconds": 6}, short_timeouts=True),
    _row("output", "stalls", {"do": "stall", "seconds": 1.5}, short_timeouts=True),
    _row("output", "a name that is a path", {"do": "headers", "headers": ASTRAY}),
    _row("output", "leads to a private address", _leads_to("https://10.0.0.1/a.mp4"), ends="unsafe_url"),
    _row("output", "leads to plain http", _leads_to("http://cdn.example/a.mp4"), ends="unsafe_url"),
    _row("output", "leads to this machine's disk", _leads_to("file:///etc/passwd"), ends="unsafe_url"),
    _row("get", "an output on this machine's disk", _says("file:///etc/passwd"), ends="unsafe_url"),
    _row("get", "an output at a private address", _says("https://192.168.1.1/a.mp4"), ends="unsafe_url"),
    _row("get", "an output over plain http", _says("http://cdn.example/a.mp4"), ends="unsafe_url"),
    _row("get", "an output that is a path", _says("../../../etc/passwd"), ends="unsafe_url"),
]

_PUBLIC = [
    _row("output", "leads once to another public host", {**_leads_to("https://other.example/outputs/a.mp4"), "times": 1}),
    _row("output", "leads to this machine", _leads_to("http://127.0.0.1:9/a.mp4"), ends="unsafe_url"),
    _row("get", "an output on this machine", _says("http://127.0.0.1:9/a.mp4"), ends="unsafe_url"),
    _row("get", "an output on this machine by name", _says("https://localhost/a.mp4"), ends="unsafe_url"),
    _row("get", "an output on this machine in other clothes", _says("https://[::ffff:127.0.0.1]/a.mp4"), ends="unsafe_url"),
    _row(
        "presign",
        "an address on this machine",
        _status(200, '{"id": "7", "public_url": "https://cdn.example/7", "presigned_url": "http://127.0.0.1:9/put"}'),
        ends="unsafe_url",
        created=0,
    ),
    _row("create", "lost after it was carried out, in the field", {"do": "drop", "carried_out": True}),
    _row("put", "reset in the middle, in the field", {"do": "reset"}),
]
_IN_THE_FIELD = [replace(row, public=True) for row in _PUBLIC]

_DELETE = [
    _row("delete", "lost for a while", {"do": "drop", "times": 3}),
    _row("delete", "lost after it was carried out", {"do": "drop", "carried_out": True}),
    _row("delete", "503 for a while", {**BUSY, "times": 3}),
    _row("delete", "409 for a while", _status(409, times=3)),
    _row("delete", "404, since it is gone", _status(404, carried_out=True)),
]

ROWS: Sequence[Row] = [
    *_PRESIGN,
    *_PUT,
    *_CREATE,
    *_POLL,
    *_OUTPUT,
    *_DELETE,
    *_IN_THE_FIELD,
]
