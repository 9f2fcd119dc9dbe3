# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that the service does not know, and results that it no longer has: when they are given up. No bpy.

A run is given up only where it is certain that nothing can be fetched of it. A retry then orders a new one, and names its
cost; until then, a retry looks for the old one.
"""

import time

from ...failure import Failure
from ...service.eachlabs import mmaudio
from ..model.job import Part
from .state import Record
from .worker_pool import Line

_NEW_SECONDS = 10 * 60.0
"""For so long after its order, a run that is not found counts as not known yet. The parts of a service agree within seconds,
after an outage within minutes. To wait for that costs one more retry; a run given up too early costs a second run."""
_RESULT_KEPT_SECONDS = 24 * 3600.0
"""Results are kept at least so long, by the documentation of Eachlabs: one that is missed earlier may come back."""
_CLOCK_SECONDS = 24 * 3600.0
"""The list of executions is read from so long before the order to so long after it. This machine's clock may have been wrong
when the run was ordered, by the hours of a time zone as a rule."""

_FETCHES = "Retry looks for it again, without a new run."


def not_found(record: Record, line: Line, part: Part, failure: Failure) -> Failure:
    """The error for a run that the service does not know, as `failure` says. Gives up one that is forgotten there."""
    run, prediction_id = record.run(part), record.run(part).prediction_id
    assert prediction_id is not None  # it has been asked for
    if _is_of_other_account(record, line, part):
        return _other_account()
    if not run.account:
        hint = "If the API key or the service's address was changed, set it back and retry; else generate the sound again."
        return Failure(failure.code, failure.message, hint)
    if _age(record, part) < _NEW_SECONDS:
        return Failure(failure.code, failure.message, f"It may not be known everywhere yet. {_FETCHES}")
    ordered = run.ordered or record.job.created
    try:
        listed = line.service.lists_run(prediction_id, ordered - _CLOCK_SECONDS, ordered + _CLOCK_SECONDS)
    except Failure as fault:
        hint = f"Whether Eachlabs still lists it could not be found out: {fault.message} {_FETCHES}"
        return Failure(failure.code, failure.message, hint)
    if listed:
        return Failure(failure.code, failure.message, f"Eachlabs still lists it. {_FETCHES}")
    record.forget_run(part)
    return Failure("run_forgotten", "Eachlabs no longer knows the run.", _orders())


def without_result(record: Record, part: Part, failure: Failure) -> Failure:
    """The error for a run that succeeded but has no result, as `failure` says. Gives it up if that was deleted."""
    if _age(record, part) < _RESULT_KEPT_SECONDS:
        return failure
    record.forget_run(part)
    return Failure(failure.code, failure.message, _orders())


def check_account(record: Record, line: Line, part: Part) -> None:
    """Raises Failure if the run was ordered with another key or address: that it is not found here proves nothing."""
    if _is_of_other_account(record, line, part):
        raise _other_account()


def _is_of_other_account(record: Record, line: Line, part: Part) -> bool:
    account = record.run(part).account
    return bool(account) and account != line.account


def _age(record: Record, part: Part) -> float:
    """Seconds since the order."""
    return time.time() - (record.run(part).ordered or record.job.created)


def _other_account() -> Failure:
    what = "The run was ordered with another API key or service address, and is not found with those of today."
    hint = "Set those back and retry, which fetches it; or generate the sound again, which orders a new run."
    return Failure("other_account", what, hint)


def _orders() -> str:
    return f"Retry orders a new one, for {mmaudio.price_text(mmaudio.EXPECTED_RUN_USD)}."
