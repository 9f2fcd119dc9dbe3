# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of jobs with a webhook: a call ends their wait, and without one they end too."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from addon.jobs.model.job import Job
from addon.jobs.model.run import Stage
from addon.jobs.work.context import JobContext
from addon.jobs.work.pipeline import Pipeline, Stop
from addon.jobs.work.state import JobState
from addon.service.eachlabs.webhook import Webhook, WebhookConfig
from addon.service.net.clock import CLOCK, Clock

from .helpers import Double, context_for, new_job, run_job, services_in, wait_until
from .servers import free_ports

pytestmark = pytest.mark.usefixtures("without_aud")

HOST = "hook.studio.example"
POLL_SECONDS = 10.0
"""Poll interval while a call is expected. It is longer than a run here, so a job that ends before was called."""


@pytest.fixture
def hook(double: Double) -> Iterator[Webhook]:
    (port,) = free_ports(1)
    double.set_outbound(tunnels={HOST: port}, retry_delay=0.01)
    hook = Webhook(WebhookConfig(f"https://{HOST}/mmaudio", port))
    yield hook
    hook.stop()


def context_with(double: Double, folder: Path, hook: Webhook, clock: Clock = CLOCK) -> JobContext:
    return replace(context_for(double, folder, clock=clock), webhook=hook)


def polls(double: Double) -> int:
    return len(double.requests("GET", "/v1/prediction/"))


@pytest.mark.parametrize("takes", [1, 3])
def test_after_a_call_the_run_is_polled_at_once(takes: int, hook: Webhook, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=0.6)
    began = time.monotonic()
    end = run_job(new_job(tmp_path, takes=takes), context_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, end.note) == (Stage.PLACING, None, "")
    assert time.monotonic() - began < POLL_SECONDS
    wait_until(lambda: {call["status"] for call in double.state()["webhook_calls"]} == {204})
    assert polls(double) == takes, "when it was called"
    assert not hook.listening


@pytest.mark.parametrize("order", [{"do": "twice"}, {"do": "late", "seconds": 0.5}], ids=lambda order: order["do"])
def test_a_repeated_or_late_call_ends_one_wait(order: dict[str, Any], hook: Webhook, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=0.6)
    double.inject("webhook", **order)
    end = run_job(new_job(tmp_path), context_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, end.note, len(double.state()["runs"])) == (Stage.PLACING, None, "", 1)
    assert polls(double) == 1, "when it was called"
    # The job may have ended before the double has its response, and an attempt may get none on a busy machine.
    wait_until(lambda: 204 in {call["status"] for call in double.state()["webhook_calls"]})


@pytest.mark.parametrize("do", ["never", "wrong_secret", "unknown_run"])
def test_without_a_valid_call_the_run_is_polled_less_frequently(
    do: str, hook: Webhook, double: Double, tmp_path: Path
) -> None:
    double.set(run_seconds=1.2)
    double.inject("webhook", do)
    end = run_job(new_job(tmp_path), context_with(double, tmp_path, hook, Clock(20)))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    assert 2 < polls(double) <= 5
    assert not hook.listening


def test_a_call_that_comes_too_early_does_not_end_the_run(hook: Webhook, double: Double, tmp_path: Path) -> None:
    """The call comes while the run is active: the poll shows that, and polling continues as without a webhook."""
    double.set(run_seconds=1.0)
    double.inject("webhook", "early")
    states = run_job(new_job(tmp_path), context_with(double, tmp_path, hook, Clock(5)))
    assert states[-1].stage is Stage.PLACING
    assert polls(double) > 3


def test_progress_continues_while_waiting_for_a_call(hook: Webhook, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=1.0)
    states = run_job(new_job(tmp_path), context_with(double, tmp_path, hook, Clock(5)))
    told = {state.progress.done for state in states if state.stage is Stage.PREDICTING and state.progress}
    assert len(told) > 4


def test_a_job_completes_if_the_port_is_in_use(double: Double, tmp_path: Path, hook: Webhook) -> None:
    other = Webhook(WebhookConfig(f"https://{HOST}/other", hook.port))
    call = other.expect()
    assert call is not None
    with call:
        end = run_job(new_job(tmp_path), context_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    assert f"Port {hook.port}" in end.note
    assert "polling" in end.note
    assert double.state()["webhook_calls"] == []


def test_a_job_completes_if_the_public_url_cannot_be_called(double: Double, tmp_path: Path) -> None:
    hook = Webhook(WebhookConfig("http://10.0.0.1/mmaudio", 0))
    end = run_job(new_job(tmp_path), context_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, "https" in end.note) == (Stage.PLACING, None, True)


def test_a_job_whose_webhook_was_stopped_polls_without_a_note(
    hook: Webhook, double: Double, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook.stop()
    end = run_job(new_job(tmp_path), context_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, end.note) == (Stage.PLACING, None, "")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert double.state()["runs"][0]["webhook_url"] == ""


def test_a_run_that_was_created_before_is_polled_as_without_a_webhook(hook: Webhook, double: Double, tmp_path: Path) -> None:
    double.set(run_seconds=0.6)
    double.inject("get", "status", status=400, body="{}")
    failed = run_job(new_job(tmp_path), context_for(double, tmp_path))[-1]
    assert failed.runs[0].prediction_id
    began = time.monotonic()
    end = run_job(replace(failed, stage=Stage.QUEUED, error=None), context_with(double, tmp_path, hook))[-1]
    assert time.monotonic() - began < POLL_SECONDS
    assert (end.stage, len(double.state()["runs"]), double.state()["webhook_calls"]) == (Stage.PLACING, 1, [])


def test_a_job_that_waits_for_its_call_can_be_cancelled_and_the_webhook_stops(
    hook: Webhook, double: Double, tmp_path: Path
) -> None:
    double.set(run_seconds=30)
    stop = Stop()
    states: list[Job] = []
    services = services_in(tmp_path)
    state = JobState(new_job(tmp_path), states.append, services.journal.save)
    thread = threading.Thread(target=Pipeline(state, context_with(double, tmp_path, hook), stop, services).run)
    thread.start()
    wait_until(lambda: any(run.prediction_id for run in state.job.runs))
    assert hook.listening
    stop.set()
    thread.join(20)
    services.close()
    assert (states[-1].stage, hook.listening) == (Stage.CANCELLED, False)
    assert len(double.state()["cancelled"]) == 1


def test_the_secret_of_a_call_is_not_saved(hook: Webhook, double: Double, tmp_path: Path) -> None:
    secrets: list[str] = []
    deliver = hook.expect

    def expect() -> Any:
        call = deliver()
        assert call is not None
        secrets.append(call.secret)
        return call

    hook.expect = expect  # type: ignore[method-assign]
    job_context = context_with(double, tmp_path, hook)
    states = run_job(new_job(tmp_path), job_context)
    (secret,) = secrets
    assert secret not in f"{job_context!r} {states!r}"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []
