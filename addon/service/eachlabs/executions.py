# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether Eachlabs still lists a run. No bpy."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from ...failure import Failure
from . import mmaudio

_PAGE = 100
_PAGES_MAX = 100


def is_listed(prediction_id: str, get: Callable[[str], Mapping[str, Any]], since: float, until: float) -> bool:
    """Whether the list of executions between `since` and `until`, in seconds since the epoch, has the run.

    `get` returns the JSON object at a path. Raises Failure for a list that can't be read to its end: it proves nothing.
    """
    query = {"model": mmaudio.MODEL, "from": _rfc3339(since), "limit": _PAGE}
    if until < time.time():
        query["to"] = _rfc3339(until)
    for page in range(_PAGES_MAX):
        rows = get(f"/v1/executions?{urlencode({**query, 'offset': page * _PAGE})}").get("executions")
        ids = [row.get("id") if isinstance(row, dict) else None for row in rows] if isinstance(rows, list) else [None]
        if prediction_id in ids:
            return True
        if not all(isinstance(listed, str) and listed for listed in ids):
            raise Failure("bad_answer", "Eachlabs gave no list of its runs.", "Retry in a while.")
        if len(ids) < _PAGE:
            return False
    raise Failure("bad_answer", "Eachlabs lists too many runs to look through.", "Retry in a while.")


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
