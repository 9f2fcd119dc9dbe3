# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the model, from its create call to its result on disk. No bpy."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from ...failure import Cancelled, Failure
from ...service.eachlabs import executions, mmaudio, responses, results
from ...service.eachlabs.client import UnknownCreatePath
from ...service.eachlabs.responses import Prediction
from ...service.eachlabs.results import ResultGone
from ...service.eachlabs.webhook import Call
from ...service.net.errors import NotFound, NotFoundYet, TemporaryFailure
from ..limits import Slot
from ..model.run import Run, RunIndex, Stage
from . import unknown_runs
from .clip import Clip
from .connections import Connections
from .create_retries import CreateRetries
from .errors import ClipExpired, NoResult, RunCancelled, RunFailed, RunTimedOut
from .run_times import RunTimes
from .state import JobState

log = logging.getLogger(__name__)

# A run takes 5 s, a cold start of the model some minutes.
_WAIT_MAX_SECONDS = 15 * 60.0
_POLL_WITH_WEBHOOK_SECONDS = 10.0
"""The webhook is called the moment a run ends. Polls are for a call that is lost: twice a run's time is soon enough."""
_PROGRESS_SECONDS = 0.5
_NEW_URL_SECONDS = 2.0


class ModelRun:
    """One run, in one thread. Each step looks first at what the job's state has, so that a run continues where it was.

    All methods raise Failure, Cancelled.
    """

    def __init__(self, state: JobState, index: RunIndex, connections: Connections, clip: Clip, times: RunTimes) -> None:
        self._state = state
        self._index = index
        self._connections = connections
        self._clip = clip
        self._times = times
        self._created_at: float | None = None
        """Time by the clock of the connections. None for a run of an earlier session."""

    @property
    def _run(self) -> Run:
        return self._state.run(self._index)

    def create(self, slot: Slot, call: Call | None = None, check: Callable[[], None] = lambda: None) -> None:
        """Create the run unless it exists. `call` is the webhook call to expect, if any; `check` comes before each attempt.

        Whatever may be repeated is repeated here: a create call that was rate limited or failed for the moment, one whose
        response was lost, and one whose clip expired while it waited.
        """
        retries = CreateRetries(self._connections.transport)
        prediction_id, since = self._run.prediction_id, self._run.requested_at
        unanswered = since is not None
        try:
            while prediction_id is None:
                self._state.change_run(self._index, stage=Stage.PREDICTING)
                self._state.report_run(0, mmaudio.EXPECTED_RUN_SECONDS, "seconds")
                if unanswered:
                    prediction_id, unanswered = self._find(), False
                    continue
                # Before the wait too, which raises the failure of the last attempt: another run may have met it as well.
                check()
                retries.wait()
                check()
                self._state.check_may_create()
                try:
                    prediction_id = self._request(slot, call, since)
                    self._created_at = self._connections.transport.now()
                except TemporaryFailure as failure:
                    if unanswered := failure.may_be_done:
                        # From the first of such calls on: a run that it created may be listed late.
                        since = self._run.requested_at
                    elif since is None:
                        self._forget_request()
                    retries.failed(failure)
                except ClipExpired as failure:
                    retries.expired(failure)
                    self._clip.upload(self._connections, [self._index])
        except (Failure, Cancelled):
            if not unanswered:
                self._forget_request()
            raise
        self._state.change_run(self._index, stage=Stage.PREDICTING, prediction_id=prediction_id, video="")
        if call:
            call.expect_run(prediction_id)

    def _find(self) -> str | None:
        """Return the id of the run whose create call was not answered. None if certainly nothing was created."""
        run, connections = self._run, self._connections
        assert run.requested_at is not None  # it was sent
        settings = self._state.job.takes[self._index.take].settings
        run_input = mmaudio.run_input(run.video, mmaudio.LONGEST_SECONDS, settings)
        found = executions.find_run(
            connections.client, connections.transport, run_input, run.requested_at, run.superseded_ids
        )
        if found is None:
            unknown_runs.check_account(run, connections.account)
        return found

    def _request(self, slot: Slot, call: Call | None, since: float | None) -> str:
        """Send the create call, and once more to the other form of its URL if the service knows only that.

        `since` is the time of the first call whose response was lost, if any.
        """
        job, unknown_path = self._state.job, None
        upload = job.clips[self._index.window]
        if upload is None:
            # Another take found that it had expired.
            raise ClipExpired
        settings, window = job.takes[self._index.take].settings, job.request.windows[self._index.window]
        run_input = mmaudio.run_input(upload.url, window.duration, settings)
        requested = {"account": self._connections.account, "video": upload.url}
        for path in self._connections.client.create_paths:
            try:
                with slot.creating():
                    if not upload.is_live(time.time()):
                        raise ClipExpired
                    self._state.change_run(self._index, requested_at=since or time.time(), **requested)
                    # Otherwise a crash would lose a run that is paid for.
                    self._state.check_saved()
                    return self._connections.client.create(path, run_input, call.fields if call else None)
            except UnknownCreatePath as unknown:
                if unknown_path is None or unknown_path.redirects:
                    unknown_path = unknown
        assert unknown_path is not None  # both paths are unknown
        raise unknown_path.failure

    def _forget_request(self) -> None:
        """Record that certainly no run was created."""
        if self._run.requested_at is not None:
            self._state.change_run(self._index, requested_at=None, account="", video="")

    def wait(self, call: Call | None = None) -> str:
        """Wait for the end of the run and return the URL of its result. Polls less often while a `call` is expected."""
        self._state.change_run(self._index, stage=Stage.PREDICTING)
        transport, created_at = self._connections.transport, self._created_at
        # One of an earlier session may have ended long ago.
        began = transport.now() if created_at is None else created_at
        if created_at is not None:
            call = self._wait_for_poll(began, call)
        while True:
            prediction = self.poll()
            elapsed = transport.now() - began
            if prediction.cost is not None:
                self._state.change_run(self._index, cost=prediction.cost)
            if prediction.status in responses.SUCCEEDED:
                if created_at is not None:
                    self._times.add(elapsed)
                self._created_at = None
                return self._output_url(prediction)
            if prediction.status in responses.FAILED | responses.CANCELLED:
                # Nothing can be fetched of it: a retry creates a new run.
                self._state.give_up_run(self._index)
                raise _failure_of(prediction)
            if elapsed > _WAIT_MAX_SECONDS:
                raise RunTimedOut(
                    f"The run did not end within {_WAIT_MAX_SECONDS / 60:.0f} minutes; "
                    f"its last status was “{prediction.status[:40]}”."
                )
            call = self._wait_for_poll(began, call)

    def _wait_for_poll(self, began: float, call: Call | None) -> Call | None:
        """Wait until the next poll is due, or for the webhook call, and show the progress of the run.

        Return the call that is still expected. One that came is not evidence: if the run goes on after all, it is polled as
        without a webhook.
        """
        transport = self._connections.transport
        pause = self._times.until_poll(transport.now() - began) if call is None else _POLL_WITH_WEBHOOK_SECONDS
        due = transport.now() + pause
        while (left := due - transport.now()) > 0:
            step = min(left, _PROGRESS_SECONDS)
            if call is None:
                transport.wait(step)
            elif call.wait(step, transport.cancel, transport.clock):
                return None
            self._state.report_run(transport.now() - began, mmaudio.EXPECTED_RUN_SECONDS, "seconds")
        return call

    def poll(self) -> Prediction:
        """Return the run as the service sees it now."""
        prediction_id = self._run.prediction_id
        assert prediction_id is not None  # `create` came first

        def get() -> Prediction:
            try:
                return self._connections.client.get(prediction_id)
            except NotFound as failure:
                # A run that was just created may not be known everywhere yet.
                raise NotFoundYet(failure.message, failure.hint) from None

        try:
            return self._connections.transport.retry(get)
        except NotFound as failure:
            raise unknown_runs.not_found(self._state, self._index, self._connections, failure) from None

    def _output_url(self, prediction: Prediction) -> str:
        if prediction.output_url is None:
            failure = NoResult("The run succeeded, but has no result.")
            raise unknown_runs.without_result(self._state, self._index, failure)
        return prediction.output_url

    def download(self, output_url: str, result: Path) -> None:
        """Download the result to the file `result`."""
        try:
            self._download_once(output_url, result)
        except ResultGone:
            # A status of success alone may be wrong; where there was a result, the clip has been read.
            self._state.change_run(self._index, confirmed_ended=True)
            # The URL expired, or is not known everywhere yet: ask the service for a new one, once.
            self._connections.transport.wait(_NEW_URL_SECONDS)
            output_url = self.wait()
            try:
                self._download_once(output_url, result)
            except ResultGone as failure:
                raise unknown_runs.without_result(self._state, self._index, failure) from None
        self._state.change_run(self._index, stage=Stage.DONE, result=result)

    def _download_once(self, url: str, result: Path) -> None:
        self._state.change_run(self._index, stage=Stage.DOWNLOADING)
        transport = self._connections.transport
        results.download(transport, url, result, lambda done, total: self._state.report_run(done, total, "bytes"))

    def cancel(self) -> None:
        """Cancel the run where possible, also one whose create call was not answered. Raises nothing but Cancelled."""
        try:
            prediction_id = self._run.prediction_id
            if prediction_id is None and self._run.requested_at is not None:
                prediction_id = self._find()
            if prediction_id is not None:
                self._connections.transport.retry(lambda: self._connections.client.cancel(prediction_id))
        except Failure as failure:
            log.warning("a run may still be active: %s", failure.message)
        else:
            self._state.give_up_run(self._index)


def _failure_of(prediction: Prediction) -> Failure:
    if prediction.status in responses.CANCELLED:
        return RunCancelled("The run was cancelled at Eachlabs.")
    reason = f": {prediction.reason}" if prediction.reason else ""
    return RunFailed(f"The run failed at Eachlabs{reason}.")
