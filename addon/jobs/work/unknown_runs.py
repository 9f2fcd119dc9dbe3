# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that the service does not know, and results that it no longer has: when they are given up. No bpy.

A run is given up only if certainly nothing can be fetched of it. A retry then creates a new one, and says what it costs;
before that, a retry looks for the old one.
"""

import time

from ...failure import Failure
from ...service.eachlabs.executions import lists_run
from ...service.net.errors import NotFound
from ..model.job import Job
from ..model.run import Run, RunIndex
from .connections import Connections
from .errors import OtherAccount, RunForgotten
from .state import JobState

_NEW_SECONDS = 10 * 60.0
"""For this long after its create call, a run that is not found counts as not known yet. Servers of one service agree within
seconds, after an outage within minutes. Waiting costs one more retry; giving up too early costs a second run."""
_RESULT_KEPT_SECONDS = 24 * 3600.0
"""Results are kept at least this long, by the documentation of Eachlabs: one that is missing earlier may come back."""
_CLOCK_SECONDS = 24 * 3600.0
"""The list of executions is read from this long before the create call to this long after it: this machine's clock may
have been wrong then, as a rule by the hours of a time zone."""

_FETCHES = "Retry looks for it again, without a new run."
_CREATES = "Retry starts a new run."


def not_found(state: JobState, index: RunIndex, connections: Connections, failure: NotFound) -> Failure:
    """Return the failure for a run that the service does not know, as `failure` says. Gives up one that is forgotten."""
    job, run = state.job, state.run(index)
    assert run.prediction_id is not None  # it was requested
    if _is_of_other_account(run, connections.account):
        return OtherAccount()
    if not run.account:
        hint = "If the API key or the service URL was changed, restore it and retry; else generate the sound again."
        return NotFound(failure.message, hint)
    if _age(job, run) < _NEW_SECONDS:
        return NotFound(failure.message, f"It may not be on every server yet. {_FETCHES}")
    requested_at = run.requested_at or job.created
    since, until = requested_at - _CLOCK_SECONDS, requested_at + _CLOCK_SECONDS
    try:
        listed = lists_run(connections.client, connections.transport, run.prediction_id, since, until)
    except Failure as fault:
        hint = f"The list of runs could not be read: {fault.message} {_FETCHES}"
        return NotFound(failure.message, hint)
    if listed:
        return NotFound(failure.message, f"Eachlabs still lists it. {_FETCHES}")
    state.give_up_run(index)
    return RunForgotten("Eachlabs no longer knows the run.", _CREATES)


def without_result(state: JobState, index: RunIndex, failure: Failure) -> Failure:
    """Return the failure for a run that succeeded but has no result, as `failure` says. Gives up a deleted result."""
    if _age(state.job, state.run(index)) < _RESULT_KEPT_SECONDS:
        return failure
    state.give_up_run(index)
    return failure.reworded(hint=_CREATES)


def check_account(run: Run, account: str) -> None:
    """Raise OtherAccount if the run was requested with another key or address: that it is not found here proves nothing."""
    if _is_of_other_account(run, account):
        raise OtherAccount


def _is_of_other_account(run: Run, account: str) -> bool:
    return bool(run.account) and run.account != account


def _age(job: Job, run: Run) -> float:
    """Return the seconds since the create call."""
    return time.time() - (run.requested_at or job.created)
