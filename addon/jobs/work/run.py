# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the model, from its clip in storage to its result on disk. No bpy.

Each step looks first at what is there already, so a run goes on where it was.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...failure import Cancelled, Failure
from ...service.eachlabs import mmaudio, responses
from ...service.eachlabs.client import Turn
from ...service.eachlabs.responses import Prediction
from ...service.eachlabs.webhook import Call
from ...service.storage import SETTINGS_HINT, Published
from ..model.job import Job, RunIndex, Stage
from . import unknown_runs
from .state import JobState
from .worker_pool import Connections

log = logging.getLogger(__name__)

# A run takes 5 s; a cold start of the model minutes. Past that nobody waits for it any more.
_PREDICT_DEADLINE_SECONDS = 15 * 60.0
# With the shortest life that a clip can be given, as long as the service's refusals are put up with.
_UPLOADS_MAX = 6
_POLL_SECONDS = 0.5
_POLL_SLOWER_SECONDS = 2.0
_POLL_FAST_FOR_SECONDS = 20.0
_POLL_BESIDE_CALL_SECONDS = 10.0
"""A call comes the moment a run ends: polls are there for one that is lost, and twice a run's time is soon enough there."""


class _ClipLapsed(Failure):
    """The clip can't be read any more, or only for a moment; no run was ordered with it."""

    def __init__(self) -> None:
        what = "The clip lapsed again and again while its run waited for its turn."
        super().__init__("clip_lapsed", what, f"Let clips live longer, or retry when other runs have ended. {SETTINGS_HINT}")


def upload(state: JobState, connections: Connections, window: int, clip: Path, parts: Sequence[RunIndex]) -> None:
    """Puts the window's clip into storage, unless it is there. One that the artist has published is no file of ours."""
    here = state.job.clips[window]
    if here is not None and here.is_live(time.time()):
        return
    if here is not None:
        # Begun before a crash, or lapsed by now.
        state.give_up_clip(window)
    state.check_may_order()
    if connections.storage.needs_clip:
        for part in parts:
            state.change_run(part, stage=Stage.UPLOADING)
        state.detail(0, clip.stat().st_size, "bytes")
    published = connections.storage.publish(
        clip,
        lambda done, total: state.detail(done, total, "bytes"),
        lambda begun: state.set_clip(window, begun),
    )
    state.set_clip(window, replace(published, complete=True))


def order(
    state: JobState,
    connections: Connections,
    part: RunIndex,
    turn: Turn,
    upload_anew: Callable[[], None],
    *,
    call: Call | None = None,
) -> None:
    """Starts the run, unless it has been started; one whose start was never answered is looked for first.

    upload_anew  puts the clip into storage again: the run may wait for its turn for longer than that lives
    call         what the service is to ring when the run has ended
    """
    uploads = 1
    while state.run(part).prediction_id is None:
        try:
            _order_once(state, connections, part, turn, call)
        except _ClipLapsed:
            if uploads == _UPLOADS_MAX:
                raise
            upload_anew()
            uploads += 1


def _order_once(state: JobState, connections: Connections, part: RunIndex, turn: Turn, call: Call | None) -> None:
    state.check_may_order()
    state.change_run(part, stage=Stage.PREDICTING)
    state.detail(0, mmaudio.EXPECTED_RUN_SECONDS, "seconds")
    # Until that is settled the record keeps the address it was ordered with: it is found by nothing else.
    started = _find(state, connections, part)
    if started is None:
        unknown_runs.check_account(state, connections, part)
        started = _create(state, connections, part, turn, call)
    state.change_run(part, prediction_id=started, video="")
    if call:
        call.meant_for(started)


def _create(state: JobState, connections: Connections, part: RunIndex, turn: Turn, call: Call | None) -> str:
    run, clip = state.run(part), state.job.clips[part.window]
    if clip is None:
        # Another take has seen that it lapsed, and uploads it anew.
        raise _ClipLapsed

    def check_clip() -> None:
        if not clip.is_live(time.time()):
            raise _ClipLapsed

    settings = state.job.takes[part.take].settings
    fields = mmaudio.run_input(clip.url, state.job.request.windows[part.window].duration, settings)
    state.change_run(part, requested_at=time.time(), account=connections.account, video=clip.url)
    try:
        # The disk has to have taken it.
        state.check_kept()
        webhook = call.fields if call else None
        return connections.service.create(fields, run.superseded_ids, turn=turn, check=check_clip, webhook=webhook)
    except (Failure, Cancelled):
        if not connections.service.unsettled:
            # It is certain that nothing was started.
            state.change_run(part, requested_at=None, account="", video="")
        raise


def output_of(state: JobState, connections: Connections, part: RunIndex, call: Call | None = None) -> str:
    """Polls until the run has ended, less often while a call is expected; returns the address of its result."""
    prediction_id = state.run(part).prediction_id
    assert prediction_id is not None  # it has been ordered
    state.change_run(part, stage=Stage.PREDICTING)
    began = time.monotonic()
    while True:
        prediction = _asked_for(state, connections, part, prediction_id)
        elapsed = time.monotonic() - began
        state.detail(elapsed, mmaudio.EXPECTED_RUN_SECONDS, "seconds")
        if prediction.cost is not None:
            state.change_run(part, cost=prediction.cost)
        if prediction.status in responses.SUCCEEDED:
            return _output(state, part, prediction)
        if prediction.status in responses.FAILED | responses.CANCELLED:
            # A run that has ended without a result can't be fetched by a retry: that starts a new one.
            state.forget_run(part)
            raise _ended_badly(prediction)
        if elapsed > _PREDICT_DEADLINE_SECONDS:
            raise Failure(
                "run_timeout",
                f"The run did not end within {_PREDICT_DEADLINE_SECONDS / 60:.0f} minutes; "
                f"Eachlabs last said “{prediction.status[:40]}”.",
                "Retry looks for its result again, without a new run.",
            )
        if call is None:
            connections.transport.wait(_POLL_SECONDS if elapsed < _POLL_FAST_FOR_SECONDS else _POLL_SLOWER_SECONDS)
        elif _is_called(state, connections, call, began):
            # What a call says is not believed; should the run go on after all, it is polled as if there were none.
            call = None


def _asked_for(state: JobState, connections: Connections, part: RunIndex, prediction_id: str) -> Prediction:
    try:
        return connections.service.get(prediction_id)
    except Failure as failure:
        if failure.code != "not_found":
            raise
        raise unknown_runs.not_found(state, connections, part, failure) from None


def _is_called(state: JobState, connections: Connections, call: Call, began: float) -> bool:
    """Waits for the call until the next poll is due; how far the run is goes on to be shown."""
    due = time.monotonic() + _POLL_BESIDE_CALL_SECONDS
    while (left := due - time.monotonic()) > 0:
        if call.wait(min(left, _POLL_SECONDS), connections.transport.cancel):
            return True
        state.detail(time.monotonic() - began, mmaudio.EXPECTED_RUN_SECONDS, "seconds")
    return False


def fetch(state: JobState, connections: Connections, part: RunIndex, output_url: str, result: Path) -> None:
    def fetch_once(url: str) -> None:
        state.change_run(part, stage=Stage.DOWNLOADING)
        connections.transport.fetch(url, result, lambda done, total: state.detail(done, total, "bytes"))

    try:
        fetch_once(output_url)
    except Failure as failure:
        if failure.code != "result_gone":
            raise
        # A word of success alone may be wrong; where there was a result, the clip has been read.
        state.change_run(part, confirmed_ended=True)
        # The address has lapsed, or is not known everywhere yet: the service is asked for it anew, once.
        connections.transport.wait(_POLL_SLOWER_SECONDS)
        output_url = output_of(state, connections, part)
        try:
            fetch_once(output_url)
        except Failure as still:
            raise unknown_runs.without_result(state, part, still) if still.code == failure.code else still from None
    state.change_run(part, stage=Stage.DONE, result=result)


def cancel_runs(state: JobState, connections: Connections) -> None:
    """Ends the runs of a cancelled job that are, or may be, under way."""
    for part in state.job.parts:
        if state.run(part).stage is Stage.PREDICTING:
            cancel(state, connections, part)


def cancel(state: JobState, connections: Connections, part: RunIndex) -> None:
    """Ends the run where possible, also one whose start was still to be settled."""
    try:
        prediction_id = state.run(part).prediction_id or _find(state, connections, part)
        if prediction_id is None:
            unknown_runs.check_account(state, connections, part)
        else:
            connections.service.cancel(prediction_id)
    except Failure as failure:
        log.warning("a run may go on: %s", failure.message)
    else:
        state.forget_run(part)


def _find(state: JobState, connections: Connections, part: RunIndex) -> str | None:
    """The run that was ordered, if it was, and whose number never came."""
    run = state.run(part)
    if run.requested_at is None:
        return None
    fields = mmaudio.run_input(run.video, mmaudio.LONGEST_SECONDS, state.job.takes[part.take].settings)
    return connections.service.find_run(fields, run.requested_at, run.superseded_ids)


def deletable_before_retry(job: Job) -> Sequence[Published]:
    """The job's uploads that no run reads any more if a retry is to come: it fetches runs that could not be cancelled."""
    under_way = {
        part.window for part in job.parts if job.run(part).requested_at is not None and not job.run(part).confirmed_ended
    }
    kept = [clip for window, clip in enumerate(job.clips) if window in under_way]
    return [clip for clip in job.deletable_uploads if clip not in kept]


def delete_clips(state: JobState, connections: Connections, clips: Sequence[Published]) -> None:
    """Takes clips of the job out of storage; what can't be deleted stays recorded."""
    for clip in clips:
        try:
            connections.storage.delete(clip)
        except Failure as failure:
            log.warning("a clip stays in storage: %s", failure.message)
            if failure.code != "storage_changed":
                # The next one would meet the same.
                return
        else:
            state.deleted(clip)


def _output(state: JobState, part: RunIndex, prediction: Prediction) -> str:
    if prediction.output_url is None:
        failure = Failure("no_result", "The run ended well but named no result.", "Retry looks for it again.")
        raise unknown_runs.without_result(state, part, failure)
    return prediction.output_url


def _ended_badly(prediction: Prediction) -> Failure:
    if prediction.status in responses.CANCELLED:
        return Failure("run_cancelled", "The run was cancelled at Eachlabs.", "Retry starts a new one.")
    reason = f": {prediction.reason}" if prediction.reason else ""
    return Failure("run_failed", f"The run failed at Eachlabs{reason}.", "Change the prompt or settings, or retry.")
