# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs with a webhook: a call ends their wait; without one they end all the same."""

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
from addon.jobs.work import model_run
from addon.jobs.work.context import JobContext
from addon.jobs.work.pipeline import Pipeline, Stop
from addon.jobs.work.state import JobState
from addon.service.eachlabs.webhook import Webhook, WebhookConfig

from .parts import Double, context_for, go, new_job, services_in, until
from .servers import free_ports

pytestmark = pytest.mark.usefixtures("without_aud")

HOST = "hook.studio.example"
NEVER = 600.0
"""Seconds between polls that no test waits for: what ends in time was called."""


@pytest.fixture
def hook(double: Double) -> Iterator[Webhook]:
    (port,) = free_ports(1)
    double.outside(tunnels={HOST: port}, pause=0.01)
    hook = Webhook(WebhookConfig(f"https://{HOST}/mmaudio", port))
    yield hook
    hook.stop()


def tools_with(double: Double, folder: Path, hook: Webhook) -> JobContext:
    return replace(context_for(double, folder), webhook=hook)


def polls(double: Double) -> int:
    return len(double.requests("GET", "/v1/prediction/"))


@pytest.mark.parametrize("takes", [1, 3])
def test_a_call_has_the_run_polled_at_once(
    takes: int, hook: Webhook, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run, "_POLL_WITH_WEBHOOK_SECONDS", NEVER)
    double.set(run_seconds=0.6)
    began = time.monotonic()
    end = go(new_job(tmp_path, takes=takes), tools_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, end.note) == (Stage.PLACING, None, "")
    assert time.monotonic() - began < NEVER / 10
    assert {call["status"] for call in double.state()["calls"]} == {204}
    assert polls(double) == 2 * takes, "once when it was ordered, once when it was called"
    assert not hook.listening


@pytest.mark.parametrize("order", [{"do": "twice"}, {"do": "late", "seconds": 0.5}], ids=lambda order: order["do"])
def test_a_call_that_comes_twice_or_late_ends_one_wait(
    order: dict[str, Any], hook: Webhook, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run, "_POLL_WITH_WEBHOOK_SECONDS", NEVER)
    double.set(run_seconds=0.6)
    double.order("webhook", **order)
    end = go(new_job(tmp_path), tools_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, end.note, len(double.state()["runs"])) == (Stage.PLACING, None, "", 1)
    assert polls(double) == 2, "once when it was ordered, once when it was called"
    assert double.state()["calls"][0]["status"] == 204


@pytest.mark.parametrize("do", ["never", "wrong_secret", "unknown_run"])
def test_without_a_good_call_it_is_polled_more_slowly(
    do: str, hook: Webhook, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run, "_POLL_WITH_WEBHOOK_SECONDS", 0.5)
    double.set(run_seconds=1.2)
    double.order("webhook", do)
    end = go(new_job(tmp_path), tools_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    assert 2 < polls(double) <= 5
    assert not hook.listening


def test_polls_beside_a_call_are_rarer_than_without_one() -> None:
    slower: Any = model_run
    assert slower._POLL_WITH_WEBHOOK_SECONDS > slower._POLL_SLOWER_SECONDS > slower._POLL_SECONDS


def test_a_call_that_comes_too_early_is_not_believed(
    hook: Webhook, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is rung while the run still goes on: the poll says so, and polling goes on as without a webhook."""
    monkeypatch.setattr(model_run, "_POLL_WITH_WEBHOOK_SECONDS", NEVER)
    monkeypatch.setattr(model_run, "_POLL_SECONDS", 0.05)
    double.set(run_seconds=1.0)
    double.order("webhook", "early")
    states = go(new_job(tmp_path), tools_with(double, tmp_path, hook))
    assert states[-1].stage is Stage.PLACING
    assert polls(double) > 3


def test_the_bar_goes_on_while_a_call_is_waited_for(
    hook: Webhook, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run, "_POLL_WITH_WEBHOOK_SECONDS", NEVER)
    monkeypatch.setattr(model_run, "_POLL_SECONDS", 0.1)
    double.set(run_seconds=1.0)
    states = go(new_job(tmp_path), tools_with(double, tmp_path, hook))
    told = {state.progress.done for state in states if state.stage is Stage.PREDICTING and state.progress}
    assert len(told) > 4


def test_a_port_that_is_taken_keeps_no_job_from_its_end(double: Double, tmp_path: Path, hook: Webhook) -> None:
    other = Webhook(WebhookConfig(f"https://{HOST}/other", hook.port))
    call = other.expect()
    assert call is not None
    with call:
        end = go(new_job(tmp_path), tools_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    assert f"Port {hook.port}" in end.note
    assert "polling" in end.note
    assert double.state()["calls"] == []


def test_an_address_that_cannot_be_called_keeps_no_job_from_its_end(double: Double, tmp_path: Path) -> None:
    hook = Webhook(WebhookConfig("http://10.0.0.1/mmaudio", 0))
    end = go(new_job(tmp_path), tools_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, "https" in end.note) == (Stage.PLACING, None, True)


def test_a_job_whose_webhook_was_stopped_polls_and_says_nothing(
    hook: Webhook, double: Double, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook.stop()
    end = go(new_job(tmp_path), tools_with(double, tmp_path, hook))[-1]
    assert (end.stage, end.error, end.note) == (Stage.PLACING, None, "")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert double.state()["runs"][0]["webhook_url"] == ""


def test_a_run_that_was_ordered_before_is_polled_as_ever(
    hook: Webhook, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run, "_POLL_WITH_WEBHOOK_SECONDS", NEVER)
    double.set(run_seconds=0.6)
    double.order("get", "status", status=400, body="{}")
    failed = go(new_job(tmp_path), context_for(double, tmp_path))[-1]
    assert failed.runs[0].prediction_id
    end = go(replace(failed, stage=Stage.QUEUED, error=None), tools_with(double, tmp_path, hook))[-1]
    assert (end.stage, len(double.state()["runs"]), double.state()["calls"]) == (Stage.PLACING, 1, [])


def test_a_job_that_waits_for_its_call_can_be_cancelled_and_the_listener_stops(
    hook: Webhook, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run, "_POLL_WITH_WEBHOOK_SECONDS", NEVER)
    double.set(run_seconds=30)
    stop = Stop()
    states: list[Job] = []
    services = services_in(tmp_path)
    state = JobState(new_job(tmp_path), states.append, services.journal.save)
    thread = threading.Thread(target=Pipeline(state, tools_with(double, tmp_path, hook), stop, services).run)
    thread.start()
    until(lambda: polls(double) == 1)
    assert hook.listening
    stop.set()
    thread.join(20)
    services.journal.close()
    assert (states[-1].stage, hook.listening) == (Stage.CANCELLED, False)
    assert len(double.state()["cancelled"]) == 1


def test_the_secret_of_a_call_is_not_kept(hook: Webhook, double: Double, tmp_path: Path) -> None:
    secrets: list[str] = []
    deliver = hook.expect

    def expect() -> Any:
        call = deliver()
        assert call is not None
        secrets.append(call.secret)
        return call

    hook.expect = expect  # type: ignore[method-assign]
    job_context = tools_with(double, tmp_path, hook)
    states = go(new_job(tmp_path), job_context)
    (secret,) = secrets
    assert secret not in f"{job_context!r} {states!r}"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []
