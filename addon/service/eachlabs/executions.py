# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches in the list of executions, which has the runs of the whole organization at Eachlabs. No bpy."""

import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from ...failure import Failure
from ..net.errors import InvalidResponse
from ..net.transport import Transport
from .client import EachlabsClient
from .errors import Unsettled
from .responses import is_same

PAGE_SIZE = 100

# A new run appears in the list after a moment, so these are the waits before each search, half a minute in all: a lost
# response is rare, and paying for a run twice is worse than the wait.
_WAITS_SECONDS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0)
# The clocks of a service's servers may differ by seconds.
CLOCK_TOLERANCE_SECONDS = 60.0
# A key can create a hundred runs in a minute, and an organization has several keys.
_SEARCH_PAGES_MAX = 10
LIST_PAGES_MAX = 100


def find_run(
    client: EachlabsClient,
    transport: Transport,
    run_input: Mapping[str, Any],
    since: float,
    superseded_ids: Collection[str] = (),
) -> str | None:
    """Return the id of the run with this input that was created after `since`, in seconds since the epoch, if there is one.

    A run is recognized by its video, which no other job has, and its seed, which no other take has. Raise Unsettled if the
    search fails, Cancelled.
    """
    try:
        for seconds in _WAITS_SECONDS:
            transport.wait(seconds)
            if found := _search(client, transport, run_input, since - CLOCK_TOLERANCE_SECONDS, superseded_ids):
                return found
    except Failure as failure:
        what = "The response to the start of the run was lost, and it is unknown whether the run exists"
        raise Unsettled(f"{what}: {failure.message}") from None
    return None


def _search(
    client: EachlabsClient,
    transport: Transport,
    run_input: Mapping[str, Any],
    since: float,
    superseded_ids: Collection[str],
) -> str | None:
    for page in range(_SEARCH_PAGES_MAX):
        ids = transport.retry(partial(client.executions, since, None, limit=PAGE_SIZE, offset=page * PAGE_SIZE))
        for candidate in ids:
            if candidate is None or candidate in superseded_ids:
                continue
            sent = transport.retry(partial(client.input_of, candidate))
            if isinstance(sent, dict) and is_same(sent, run_input):
                return candidate
        if len(ids) < PAGE_SIZE:
            break
    return None


def lists_run(client: EachlabsClient, transport: Transport, prediction_id: str, since: float, until: float) -> bool:
    """Return whether the list contains the run. It was created between these times, in seconds since the epoch.

    Raise Failure if the list can't be read to its end, since it then proves nothing.
    """
    end = until if until < time.time() else None
    for page in range(LIST_PAGES_MAX):
        ids = transport.retry(partial(client.executions, since, end, limit=PAGE_SIZE, offset=page * PAGE_SIZE))
        if prediction_id in ids:
            return True
        if None in ids:
            raise InvalidResponse("Eachlabs sent an invalid list of runs.")
        if len(ids) < PAGE_SIZE:
            return False
    raise InvalidResponse("Eachlabs lists too many runs to search.")
