# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that the service does not know, and results that it no longer has: when they are given up. No bpy.

A run is given up only where it is certain that nothing can be fetched of it. A retry then orders a new one, and names its
cost; until then, a retry looks for the old one.
"""

import time

from ...failure import Failure
from ...service.eachlabs import mmaudio
from ..model.job import RunIndex
from .state import JobState
from .worker_pool import Connections

_NEW_SECONDS = 10 * 60.0
"""For so long after its order, a run that is not found counts as not known yet. The parts of a service agree within seconds,
after an outage within minutes. To wait for that costs one more retry; a run given up too early costs a second run."""
_RESULT_KEPT_SECONDS = 24 * 3600.0
"""Results are kept at least so long, by the documentation of Eachlabs: one that is missed earlier may come back."""
_CLOCK_SECONDS = 24 * 3600.0
"""The list of executions is read from so long before the order to so long after it. This machine's clock may have been wrong
when the run was ordered, by the hours of a time zone as a rule."""

_FETCHES = "Retry looks for it again, without a new run."


def not_found(state: JobState, connections: Connections, part: RunIndex, failure: Failure) -> Failure:
    """The error for a run that the service does not know, as `failure` says. Gives up one that is forgotten there."""
    run, prediction_id = state.run(part), state.run(part).prediction_id
    assert prediction_id is not None  # it has been asked for
    if _is_of_other_account(state, connections, part):
        return _other_account()
    if not run.account:
        hint = "If the API key or the service's address was changed, set it back and retry; else generate the sound again."
        return Failure(failure.code, failure.message, hint)
    if _age(state, part) < _NEW_SECONDS:
        return Failure(failure.code, failure.message, f"It may not be known everywhere yet. {_FETCHES}")
    requested_at = run.requested_at or state.job.created
    try:
        listed = connections.service.lists_run(prediction_id, requested_at - _CLOCK_SECONDS, requested_at + _CLOCK_SECONDS)
    except Failure as fault:
        hint = f"Whether Eachlabs still lists it could not be found out: {fault.message} {_FETCHES}"
        return Failure(failure.code, failure.message, hint)
    if listed:
        return Failure(failure.code, failure.message, f"Eachlabs still lists it. {_FETCHES}")
    state.forget_run(part)
    return Failure("run_forgotten", "Eachlabs no longer knows the run.", _orders())


def without_result(state: JobState, part: RunIndex, failure: Failure) -> Failure:
    """The error for a run that succeeded but has no result, as `failure` says. Gives it up if that was deleted."""
    if _age(state, part) < _RESULT_KEPT_SECONDS:
        return failure
    state.forget_run(part)
    return Failure(failure.code, failure.message, _orders())


def check_account(state: JobState, connections: Connections, part: RunIndex) -> None:
    """Raises Failure if the run was ordered with another key or address: that it is not found here proves nothing."""
    if _is_of_other_account(state, connections, part):
        raise _other_account()


def _is_of_other_account(state: JobState, connections: Connections, part: RunIndex) -> bool:
    account = state.run(part).account
    return bool(account) and account != connections.account


def _age(state: JobState, part: RunIndex) -> float:
    """Seconds since the order."""
    return time.time() - (state.run(part).requested_at or state.job.created)


def _other_account() -> Failure:
    what = "The run was ordered with another API key or service address, and is not found with those of today."
    hint = "Set those back and retry, which fetches it; or generate the sound again, which orders a new run."
    return Failure("other_account", what, hint)


def _orders() -> str:
    return f"Retry orders a new one, for {mmaudio.price_text(mmaudio.EXPECTED_RUN_USD)}."
