# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of whole jobs with each storage: what is rendered, uploaded and left."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
import requests

from addon.jobs.model.job import Job
from addon.jobs.model.run import Stage
from addon.jobs.work.context import JobContext
from addon.jobs.work.runner import Runner
from addon.service.eachlabs.client import EachlabsClient
from addon.service.eachlabs.mmaudio import LONGEST_SECONDS
from addon.service.net.transport import Progress, Transport
from addon.service.storage import Published, Storage, StorageConfig
from addon.service.storage.eachlabs import EachlabsConfig
from addon.service.storage.given_url import LENGTH_NOTE, GivenUrlConfig
from addon.service.storage.http_put import HttpPutConfig
from addon.service.storage.s3 import S3Config

from .helpers import Double, context_for, new_job, run_job, wait_until
from .servers import BUCKET, Reply, S3Server, Scripted, Seen, files_for_anyone, rclone

pytestmark = pytest.mark.usefixtures("without_aud")


def context_with(double: Double, folder: Path, storage: StorageConfig, how: str = "render") -> JobContext:
    return replace(context_for(double, folder, how), storage=storage)


def with_clip_url(folder: Path, url: str, frames: int = 24, takes: int = 1) -> Job:
    job = new_job(folder, frames=frames, takes=takes)
    request = replace(job.request, options=replace(job.request.options, clip_url=url))
    return Job.new(request)


def rendered(folder: Path) -> bool:
    return (folder / "work" / "log.txt").exists()


def test_a_job_uses_a_bucket_and_leaves_it_empty(
    rclone_server: S3Server, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # render_double.py fails if it gets them.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rclone_server.config.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rclone_server.config.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    double.set_outbound(storages=[rclone_server.config.endpoint])
    states = run_job(new_job(tmp_path, takes=2), context_with(double, tmp_path, rclone_server.config))
    assert (states[-1].stage, states[-1].error) == (Stage.PLACING, None)
    assert double.state()["uploads"] == []
    (video,) = {run["input"]["video"] for run in double.state()["runs"]}
    assert video.startswith(f"{rclone_server.config.endpoint}/{BUCKET}/")
    assert requests.get(video, timeout=10).status_code == 404
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as journal:
        (record,) = journal.execute("SELECT record FROM jobs").fetchone()
    assert states[-1].id.encode() in record
    assert b"X-Amz-" not in record, "the link is forgotten when nothing needs it any more"


@pytest.fixture
def dav(tmp_path: Path, direct: None) -> Iterator[HttpPutConfig]:
    """WebDAV server with a login, and a public server of the same files."""
    files = tmp_path / "files"
    files.mkdir()
    login = ("--user", "julia", "--pass", "open sesame")
    with (
        rclone("webdav", *login, folder=files, log=tmp_path / "dav.log") as private,
        files_for_anyone(files) as public,
    ):
        yield HttpPutConfig(f"{private}/{{name}}", f"{public}/{{name}}", user="julia", password="open sesame")


def test_a_job_uses_a_webdav_and_leaves_it_empty(dav: HttpPutConfig, double: Double, tmp_path: Path) -> None:
    double.set_outbound(storages=[dav.public.removesuffix("/{name}")])
    end = run_job(new_job(tmp_path), context_with(double, tmp_path, dav))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    (run,) = double.state()["runs"]
    assert run["clip"]["bytes"] > 1000
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize("takes", [1, 3])
def test_with_a_clip_url_nothing_is_rendered_or_uploaded(takes: int, double: Double, video: str, tmp_path: Path) -> None:
    before = len(double.requests())
    states = run_job(with_clip_url(tmp_path, video, takes=takes), context_for(double, tmp_path, "refuse"))
    assert (states[-1].stage, states[-1].error) == (Stage.PLACING, None)
    assert not rendered(tmp_path)
    assert {Stage.EXPORTING, Stage.UPLOADING} & {run.stage for state in states for run in state.runs} == set()
    asked = {request["method"] for request in double.requests()[before:]}
    assert asked == {"POST", "GET"}, "neither PUT nor DELETE: the clip stays the artist's"
    assert {run["input"]["video"] for run in double.state()["runs"]} == {video}
    assert states[-1].note == LENGTH_NOTE


def test_a_long_strip_with_a_clip_url_is_one_run(double: Double, video: str, tmp_path: Path) -> None:
    job = with_clip_url(tmp_path, video, frames=24 * 20)
    assert len(new_job(tmp_path, frames=24 * 20).runs) == 3
    end = run_job(job, context_for(double, tmp_path, "refuse"))[-1]
    (run,) = double.state()["runs"]
    assert (end.stage, run["input"]["duration"]) == (Stage.PLACING, pytest.approx(20.16))
    assert run["input"]["duration"] > LONGEST_SECONDS


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (S3Config("https://s3.example", "media"), "storage_setup"),
        (HttpPutConfig("https://cdn.example/{name}", "https://10.0.0.1/{name}"), "unsafe_url"),
        (EachlabsConfig(1), "storage_setup"),
        (GivenUrlConfig(), "storage_setup"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_invalid_settings_are_reported_before_the_render(
    config: StorageConfig, code: str, double: Double, tmp_path: Path
) -> None:
    end = run_job(new_job(tmp_path), context_with(double, tmp_path, config))[-1]
    assert (end.stage, end.error and end.error.code) == (Stage.FAILED, code)
    assert end.error is not None
    assert end.error.message.startswith("“Shot 1”: ")
    assert not rendered(tmp_path)
    assert double.requests() == []


def test_a_paid_result_is_fetched_with_any_current_storage(double: Double, tmp_path: Path) -> None:
    double.inject("output", "status", status=404)
    failed = run_job(new_job(tmp_path), context_for(double, tmp_path))[-1]
    again = replace(failed, stage=Stage.QUEUED, error=None)
    end = run_job(again, context_with(double, tmp_path, S3Config(), "refuse"))[-1]
    assert (end.stage, end.error, len(double.state()["runs"])) == (Stage.PLACING, None, 1)


@pytest.mark.parametrize("now", ["eachlabs", "s3", "http_put"])
def test_a_clip_in_a_former_storage_fails_no_job_and_is_logged(
    *,
    now: str,
    rclone_server: S3Server,
    scripted: Scripted,
    double: Double,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    template = scripted.address + "/{name}"
    storage: StorageConfig = {
        "eachlabs": EachlabsConfig(),
        "s3": rclone_server.config,
        "http_put": HttpPutConfig(template, template),
    }[now]
    double.set_outbound(storages=[rclone_server.config.endpoint, scripted.address])
    # Its upload began before Blender was killed, so it is deleted and repeated.
    old = Published("c" * 32 + ".mp4", "https://old.example/" + "c" * 32 + ".mp4?sig=1")
    with caplog.at_level(logging.WARNING):
        end = run_job(new_job(tmp_path).with_clip(0, old), context_with(double, tmp_path, storage))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    assert "no longer configured" in caplog.text
    assert "old.example/" not in caplog.text
    assert [seen for seen in scripted.seen if old.id in seen.target] == []


def test_a_job_with_a_clip_needs_a_storage_for_it(double: Double, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = Published("c" * 32 + ".mp4", "https://old.example/" + "c" * 32 + ".mp4?sig=1")
    begun = new_job(tmp_path).with_clip(0, old)
    with caplog.at_level(logging.WARNING):
        failed = run_job(begun, context_with(double, tmp_path, GivenUrlConfig()))[-1]
    assert failed.error is not None
    assert (failed.stage, failed.error.code, rendered(tmp_path)) == (Stage.FAILED, "storage_setup", False)
    assert "choose another storage" in failed.error.hint
    assert "no longer configured" in caplog.text
    end = run_job(replace(failed, stage=Stage.QUEUED, error=None), context_for(double, tmp_path))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)


@dataclass(frozen=True)
class ShortLived:
    """each::storage, whose first `brief` clips have expired when their runs may begin."""

    label: ClassVar[str] = "brief"

    brief: int
    uploads: list[Published] = field(default_factory=list[Published], compare=False)

    def open(self, client: EachlabsClient, transport: Transport) -> "ShortLivedStorage":
        return ShortLivedStorage(self, EachlabsConfig().open(client, transport))


class ShortLivedStorage:
    needs_export = True
    private_allowed = False
    can_delete = True

    def __init__(self, config: ShortLived, true: Storage) -> None:
        self._config = config
        self._true = true

    def publish(self, clip: Path, progress: Progress, on_begin: Callable[[Published], None]) -> Published:
        published = self._true.publish(clip, progress, on_begin)
        self._config.uploads.append(published)
        expired = len(self._config.uploads) <= self._config.brief
        return replace(published, expires=time.time()) if expired else published

    def delete(self, published: Published, *, missing_ok: bool = True) -> None:
        self._true.delete(published, missing_ok=missing_ok)


def test_a_clip_that_expires_before_its_run_begins_is_uploaded_again_once_for_all_takes(
    double: Double, tmp_path: Path
) -> None:
    config = ShortLived(1)
    end = run_job(new_job(tmp_path, takes=3), context_with(double, tmp_path, config))[-1]
    assert (end.stage, end.error) == (Stage.PLACING, None)
    expired, live = config.uploads
    assert [run["input"]["video"] for run in double.state()["runs"]] == [live.url] * 3
    assert [upload["deleted"] for upload in double.state()["uploads"]] == [True, True]
    assert expired.url != live.url
    asked = [request["method"] for request in double.requests()]
    assert "POST" not in asked[asked.index("DELETE") :], "a run that was created before may still read the other one"


def test_no_run_is_created_if_clips_always_expire(double: Double, tmp_path: Path) -> None:
    end = run_job(new_job(tmp_path), context_with(double, tmp_path, ShortLived(99)))[-1]
    assert (end.stage, end.error and end.error.code) == (Stage.FAILED, "clip_lapsed")
    assert double.state()["runs"] == []
    assert not end.paid


@pytest.fixture
def job_context(scripted: Scripted, double: Double, tmp_path: Path) -> JobContext:
    """Context of jobs whose clips are uploaded to the scripted server."""
    template = scripted.address + "/{name}"
    double.set_outbound(storages=[scripted.address])
    return context_with(double, tmp_path, HttpPutConfig(template, template))


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner()
    made.open(tmp_path)
    yield made
    made.close(20)


def sent(scripted: Scripted) -> list[str]:
    """Return the add-on's requests to the storage; the service only reads."""
    return [seen.method for seen in scripted.seen if seen.method != "GET"]


def left_alone(runner: Runner, job_id: str) -> Job:
    """Wait until no thread works on the job, and return it."""

    def quiet() -> bool:
        runner.drain()
        return not runner.has_worker(job_id)

    wait_until(quiet)
    job = runner.job(job_id)
    assert job is not None
    return job


def test_a_failed_deletion_delays_no_sound_and_is_retried(
    scripted: Scripted, job_context: JobContext, runner: Runner, tmp_path: Path
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hold(seen: Seen) -> Reply | None:
        if seen.method != "DELETE":
            return None
        asked.set()
        go_on.wait(20)
        return Reply(403)

    scripted.answer = hold
    (job,) = jobs = [new_job(tmp_path, takes=2)]
    runner.add(jobs, job_context)
    assert asked.wait(20)
    runner.drain(1)
    now = runner.job(job.id)
    assert now is not None
    assert now.stage is Stage.PLACING, "its place is found while the deletion goes on"
    runner.update(job.id, lambda job: replace(job, stage=Stage.DONE))
    go_on.set()
    job = left_alone(runner, job.id)
    assert (job.stage, len(job.uploads)) == (Stage.DONE, 1)

    scripted.answer = lambda seen: None
    runner.clean_up(job, job_context)

    assert left_alone(runner, job.id).uploads == ()
    assert sent(scripted) == ["PUT", "DELETE", "DELETE"]
    (entry,) = runner.open(tmp_path).journal.all()
    assert entry.job is not None
    assert (entry.job.stage, entry.job.uploads) == (Stage.DONE, ())


def test_clearing_the_list_clears_the_storage_too(
    scripted: Scripted, job_context: JobContext, runner: Runner, double: Double, tmp_path: Path
) -> None:
    """The run may still read its clip, since its end was never confirmed."""
    double.inject("get", "status", status=400, times=9)
    (job,) = jobs = [new_job(tmp_path)]
    runner.add(jobs, job_context)
    job = left_alone(runner, job.id)
    assert (job.stage, len(job.uploads), job.deletable_uploads) == (Stage.FAILED, 1, ())

    runner.forget(job.id)

    wait_until(lambda: (runner.drain(), runner.open(tmp_path).journal.all())[1] == [])
    assert sent(scripted) == ["PUT", "DELETE"]


def test_a_clip_is_deleted_when_its_run_has_ended(
    scripted: Scripted, job_context: JobContext, double: Double, tmp_path: Path
) -> None:
    double.inject("output", "status", status=404, times=99)
    end = run_job(new_job(tmp_path), job_context)[-1]
    assert (end.stage, end.paid, end.uploads) == (Stage.FAILED, True, ())
    assert sent(scripted) == ["PUT", "DELETE"]
