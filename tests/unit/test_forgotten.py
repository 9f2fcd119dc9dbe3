# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of runs that the service no longer knows, and of deleted results: when they are given up, and what a retry does."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from addon.failure import Failure
from addon.jobs.model.job import Job
from addon.jobs.model.run import Run, RunIndex, Stage
from addon.jobs.store.job_json import from_bytes, to_bytes
from addon.jobs.work.connections import account_of
from addon.jobs.work.context import JobContext
from addon.service.eachlabs import executions, mmaudio
from addon.service.eachlabs.client import EachlabsClient
from addon.service.net.clock import Clock

from .helpers import Double, InstantTransport, context_for, new_job, run_job, wait_until

ALWAYS = 10_000
FIRST = RunIndex(0, 0)
HOUR, DAY = 3600.0, 24 * 3600.0
NEW_RUN = "Retry starts a new run."

pytestmark = pytest.mark.usefixtures("without_aud")


def fast_context(double: Double, folder: Path) -> JobContext:
    return context_for(double, folder, clock=Clock(200))


def requested_at(double: Double, folder: Path, *, age: float = HOUR, **options: Any) -> Job:
    """Return a job whose runs were created this many seconds ago and could not be polled since."""
    double.inject("get", "status", status=401, body="{}", times=ALWAYS)
    if "takes" in options:
        # Until all are created: after the first failure no further run is.
        double.inject("get", "stall", seconds=0.5, times=options["takes"])
    job = run_job(new_job(folder, **options), fast_context(double, folder))[-1]
    double.clear_faults()
    assert (job.stage, job.error and job.error.code) == (Stage.FAILED, "bad_key")
    assert all(run.prediction_id for run in job.runs)
    for part in job.run_indexes:
        job = job.with_run(part, requested_at=time.time() - age)
    return job


def forget_runs(double: Double) -> None:
    double.set(runs={})


def retried(job: Job, double: Double, folder: Path, **changes: Any) -> Job:
    """Run the job that Retry starts, see `retrying.retry`."""
    again = replace(job, stage=Stage.QUEUED, progress=None, error=None) if job.paid else Job.new(job.request)
    return run_job(again, replace(fast_context(double, folder), **changes))[-1]


def only(job: Job) -> Run:
    (run,) = job.runs
    return run


def code_of(job: Job) -> str:
    assert job.stage is Stage.FAILED
    assert job.error is not None
    assert job.error.message.startswith("“Shot 1”")
    assert job.error.hint.endswith(".")
    return job.error.code


def hint_of(job: Job) -> str:
    assert job.error is not None
    return job.error.hint


def test_a_forgotten_run_is_given_up_and_a_retry_creates_a_new_one_at_the_stated_cost(
    double: Double, tmp_path: Path
) -> None:
    job = requested_at(double, tmp_path)
    assert job.runs_to_create() == 0
    forget_runs(double)
    end = retried(job, double, tmp_path)
    assert (code_of(end), len(double.state()["runs"])) == ("run_forgotten", 0)
    assert "no longer knows the run" in (end.error.message if end.error else "")
    assert NEW_RUN in hint_of(end)
    assert (end.paid, only(end).superseded_ids) == (False, (only(job).prediction_id,))
    assert end.runs_to_create() == 1
    again = retried(end, double, tmp_path)
    assert (again.stage, again.error, len(double.state()["runs"])) == (Stage.PLACING, None, 1)


def is_kept(job: Job, before: Job) -> bool:
    """Return whether a retry would poll the same run."""
    return (only(job).prediction_id, job.paid, job.runs_to_create()) == (only(before).prediction_id, True, 0)


@pytest.mark.parametrize("age", [1.0, 9 * 60.0, -5 * HOUR])
def test_a_run_that_is_not_found_soon_after_its_creation_is_not_given_up(age: float, double: Double, tmp_path: Path) -> None:
    job = requested_at(double, tmp_path, age=age)
    forget_runs(double)
    end = retried(job, double, tmp_path)
    assert (code_of(end), is_kept(end, job)) == ("not_found", True)
    assert "without a new run" in hint_of(end)
    assert double.requests("GET", "/v1/executions") == []


def test_a_run_that_is_still_listed_is_not_given_up_and_is_fetched_later(double: Double, tmp_path: Path) -> None:
    job = requested_at(double, tmp_path)
    double.inject("get", "status", status=404, body="{}", times=5)
    end = retried(job, double, tmp_path)
    assert (code_of(end), is_kept(end, job)) == ("not_found", True)
    assert "still lists it" in hint_of(end)
    again = retried(end, double, tmp_path)
    assert (again.stage, len(double.state()["runs"])) == (Stage.PLACING, 1)


LISTS: dict[str, dict[str, Any]] = {
    "down": {"status": 503, "body": "{}"},
    "refused": {"status": 400, "body": '{"error": "no"}'},
    "not there": {"status": 404, "body": ""},
    "empty": {"status": 200, "body": ""},
    "no JSON": {"status": 200, "body": "<html>Sign in</html>"},
    "no list": {"status": 200, "body": "{}"},
    "null": {"status": 200, "body": '{"executions": null}'},
    "odd": {"status": 200, "body": '{"executions": [{"number": 7}]}'},
    "endless": {"status": 200, "body": json.dumps({"executions": [{"id": f"other-{n}"} for n in range(100)]})},
}


@pytest.mark.parametrize("answer", LISTS.values(), ids=LISTS)
def test_no_run_is_given_up_if_the_list_cannot_be_read(answer: dict[str, Any], double: Double, tmp_path: Path) -> None:
    job = requested_at(double, tmp_path)
    forget_runs(double)
    double.inject("executions", "status", **answer, times=ALWAYS)
    end = retried(job, double, tmp_path)
    assert (code_of(end), is_kept(end, job)) == ("not_found", True)
    assert "The list of runs could not be read" in hint_of(end)
    double.clear_faults()
    assert code_of(retried(end, double, tmp_path)) == "run_forgotten"


def asked(wanted: str, since: float, until: float, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, list[dict[str, str]]]:
    """Return whether the run is found in a list of three pages, and the queries that were sent."""
    monkeypatch.setattr(executions, "PAGE_SIZE", 2)
    queries: list[dict[str, str]] = []

    def get(_method: str, path: str) -> dict[str, Any]:
        queries.append(dict(parse_qsl(urlsplit(path).query)))
        rows = ["a", "b", "c", "d", "e"][int(queries[-1]["offset"]) :][:2]
        return {"executions": [{"id": row} for row in rows]}

    transport = InstantTransport()
    client = EachlabsClient("k3y", "http://127.0.0.1:9", transport)
    monkeypatch.setattr(client, "call", get)
    try:
        return executions.lists_run(client, transport, wanted, since, until), queries
    finally:
        transport.close()


def test_the_list_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    found, queries = asked("e", now - DAY, now + DAY, monkeypatch)
    assert (found, [query["offset"] for query in queries]) == (True, ["0", "2", "4"])
    assert datetime.fromisoformat(queries[0]["from"]).timestamp() == pytest.approx(now - DAY, abs=1)
    # A service may reject a time in the future.
    assert [query.get("to") for query in queries] == [None] * 3
    assert asked("f", now - DAY, now + DAY, monkeypatch)[0] is False


def test_for_an_old_run_only_the_days_around_it_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    requested_at = time.time() - 30 * DAY
    _, queries = asked("a", requested_at - DAY, requested_at + DAY, monkeypatch)
    assert datetime.fromisoformat(queries[0]["to"]).timestamp() == pytest.approx(requested_at + DAY, abs=1)


def test_an_endless_list_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "LIST_PAGES_MAX", 2)
    with pytest.raises(Failure, match="too many runs"):
        asked("e", 0.0, DAY, monkeypatch)


def by_other_name(double: Double) -> str:
    """Return another URL of the double, which makes it another account."""
    return double.base_url.replace("127.0.0.1", "localhost")


def test_a_run_of_another_key_or_url_is_not_given_up(double: Double, tmp_path: Path) -> None:
    job = requested_at(double, tmp_path)
    double.inject("get", "status", status=404, body="{}", times=5)
    end = retried(job, double, tmp_path, base_url=by_other_name(double))
    assert (code_of(end), is_kept(end, job)) == ("other_account", True)
    assert double.requests("GET", "/v1/executions") == []
    again = retried(end, double, tmp_path)
    assert (again.stage, len(double.state()["runs"])) == (Stage.PLACING, 1)


def test_a_lost_create_call_of_another_key_or_url_is_not_repeated(double: Double, tmp_path: Path) -> None:
    double.inject("create", "drop", carried_out=True)
    double.inject("executions", "status", status=503, body="{}", times=ALWAYS)
    job = run_job(new_job(tmp_path), fast_context(double, tmp_path))[-1]
    double.clear_faults()
    assert code_of(job) == "unsettled"
    double.inject("executions", "status", status=200, body='{"executions": []}', times=ALWAYS)
    end = retried(job, double, tmp_path, base_url=by_other_name(double))
    assert (code_of(end), end.paid, len(double.state()["runs"])) == ("other_account", True, 1)
    wait_until(lambda: double.state()["runs"][0]["status"] == "success")
    stays = run_job(
        replace(end, stage=Stage.QUEUED),
        replace(fast_context(double, tmp_path), base_url=by_other_name(double)),
        cancel_when=lambda state: only(state).stage is Stage.PREDICTING,
    )[-1]
    assert (stays.stage, stays.paid) == (Stage.CANCELLED, True)
    double.clear_faults()
    again = retried(replace(stays, stage=Stage.FAILED), double, tmp_path)
    assert (again.stage, again.error, len(double.state()["runs"])) == (Stage.PLACING, None, 1)


def test_a_run_of_an_older_record_is_not_given_up(double: Double, tmp_path: Path) -> None:
    job = requested_at(double, tmp_path).with_run(FIRST, account="")
    forget_runs(double)
    end = retried(job, double, tmp_path)
    assert (code_of(end), is_kept(end, job)) == ("not_found", True)
    assert "generate the sound again" in hint_of(end)


def test_a_record_names_the_account_by_a_digest_and_older_ones_are_read(double: Double, tmp_path: Path) -> None:
    job = requested_at(double, tmp_path)
    record = to_bytes(job)
    digest = account_of(double.key, double.base_url)
    assert (only(job).account, len(digest)) == (digest, 32)
    assert (digest.encode() in record, double.key.encode() in record) == (True, False)
    older = json.loads(record)
    for run in older["takes"][0]["runs"]:
        del run["account"]
    assert from_bytes(json.dumps(older).encode(), job.id) == job.with_run(FIRST, account="")


GNEW_RUN: dict[str, Callable[[Double], None]] = {
    "result_gone": lambda double: double.inject("output", "status", status=404, body="", times=ALWAYS),
    "no_result": lambda double: double.respond("get", {"status": "success", "output": ""}, times=ALWAYS),
}


@pytest.mark.parametrize(("code", "go_wrong"), GNEW_RUN.items(), ids=GNEW_RUN)
def test_a_missing_result_is_requested_again_until_it_may_be_deleted(
    code: str, go_wrong: Callable[[Double], None], double: Double, tmp_path: Path
) -> None:
    job = requested_at(double, tmp_path, age=DAY - HOUR)
    go_wrong(double)
    end = retried(job, double, tmp_path)
    assert (code_of(end), is_kept(end, job)) == (code, True)
    assert "Retry looks for it again" in hint_of(end)
    end = retried(end.with_run(FIRST, requested_at=time.time() - DAY - 1), double, tmp_path)
    assert (code_of(end), end.paid, NEW_RUN in hint_of(end)) == (code, False, True)
    assert end.runs_to_create() == 1
    double.clear_faults()
    again = retried(end, double, tmp_path)
    assert (again.stage, len(double.state()["runs"])) == (Stage.PLACING, 2)


def test_only_the_forgotten_one_of_several_runs_is_created_again(double: Double, tmp_path: Path) -> None:
    job = requested_at(double, tmp_path, takes=3)
    runs = {run["id"] for run in double.state()["runs"]}
    job = job.with_run(RunIndex(0, 1), prediction_id=(lost := "a-run-of-long-ago"))
    end = retried(job, double, tmp_path)
    assert [run.error.code if run.error else "" for run in end.runs] == ["", "run_forgotten", ""]
    assert [take.file is not None for take in end.takes] == [True, False, True]
    assert end.runs_to_create() == 1
    again = retried(end, double, tmp_path)
    assert [take.file is not None for take in again.takes] == [True] * 3
    assert (len(double.state()["runs"]), again.runs[1].superseded_ids) == (len(runs) + 1, (lost,))


def test_a_retry_that_only_fetches_creates_no_run_even_if_one_failed(double: Double, tmp_path: Path) -> None:
    double.inject("run", "fail", reason="out of memory")
    job = requested_at(double, tmp_path, takes=2)
    assert (job.runs_to_create(), len(double.state()["runs"])) == (0, 2)
    end = retried(job, double, tmp_path)
    assert sorted(run.error.code if run.error else "" for run in end.runs) == ["", "run_failed"]
    assert (len(double.state()["runs"]), end.runs_to_create()) == (2, 1)
    again = retried(end, double, tmp_path)
    assert [take.file is not None for take in again.takes] == [True, True]
    assert len(double.state()["runs"]) == 3


def test_a_retry_creates_only_the_runs_that_are_missing(tmp_path: Path) -> None:
    job = replace(new_job(tmp_path, takes=3), stage=Stage.FAILED)
    assert job.runs_to_create() == 3
    known = job.with_run(FIRST, requested_at=1.0, prediction_id="a", stage=Stage.PREDICTING)
    assert known.runs_to_create() == 2
    assert known.with_run(RunIndex(0, 1), requested_at=1.0, video="https://cdn.example/lost.mp4").runs_to_create() == 2
    assert known.with_run(RunIndex(0, 1), prediction_id="b", result=tmp_path / "b.mp4").runs_to_create() == 1
    assert known.with_take(2, file=tmp_path / "c.wav").runs_to_create() == 1
    # The cancelled run has ended when the retry begins.
    cancelled = replace(known, stage=Stage.CANCELLED)
    assert (cancelled.runs_to_create(), cancelled.runs_to_create(cleaning_up=True)) == (2, 3)
    assert known.runs_to_create(cleaning_up=True) == 2


def test_the_expected_price_is_that_of_a_run_of_five_seconds() -> None:
    assert pytest.approx(0.0054) == mmaudio.EXPECTED_RUN_USD
    assert [mmaudio.price_text(count * mmaudio.EXPECTED_RUN_USD) for count in (1, 20)] == ["$0.005", "$0.11"]


def test_a_cancel_before_the_create_call_searches_no_run(double: Double, tmp_path: Path) -> None:
    end = run_job(
        new_job(tmp_path), fast_context(double, tmp_path), cancel_when=lambda job: only(job).requested_at is not None
    )[-1]
    assert (end.stage, end.paid, double.state()["runs"]) == (Stage.CANCELLED, False, [])
    assert double.requests("GET", "/v1/executions") == []
