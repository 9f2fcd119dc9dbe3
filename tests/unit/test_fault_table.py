# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the fault table: each row is a whole job against the double, over real sockets, with one fault.

Waits are short, and Blender's `aud` is replaced: a result counts as audible if PyAV finds sound in it. Outcomes are
read from the state of the double.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av
import pytest
from av.error import FFmpegError

from addon.jobs.model.job import Job
from addon.jobs.model.run import Stage
from addon.jobs.work import pipeline
from addon.jobs.work.context import JobContext
from addon.media.sound import Conformed, NoSound, RunResult
from addon.service.eachlabs.results import download
from addon.service.net.clock import Clock
from addon.service.net.deadline import Bounds

from .fault_table import DONE, ROWS, Row
from .helpers import FAST, Double, InstantTransport, Service, context_for, new_job, run_job, wait_for_success
from .raw_server import Authority, forward_to, proxy_by_name, raw_server

STRIP = "Shot 1"
API, FILES, OTHER = "api.example", "files.example", "other.example"


@dataclass(frozen=True)
class Seen:
    """Outcome of a row: `runs` are those that may return a sound, `lost` those that did, but whose sound no take has."""

    row: Row
    runs: int
    lost: int


seen: list[Seen] = []


def keep_sound(
    results: Sequence[RunResult],
    _length: object,
    target: Path,
    _check_cancel: object,
    *,
    offset: Fraction,
    lufs: float | None,
) -> Conformed:
    """Replacement for `conform` that checks results for sound and keeps them, without decoding and joining by `aud`."""
    for number, result in enumerate(results):
        try:
            with av.open(str(result.file)) as file:
                assert sum(frame.samples for frame in file.decode(audio=0)) > 0
        except (FFmpegError, IndexError) as fault:
            raise NoSound("The result holds no sound.", number) from fault
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(result.file.read_bytes() for result in results))
    return Conformed(44_100, 0.0)


# An endless response is rejected at this size.
BOUNDS = Bounds(file_bytes_max=8 * 1024**2)
FASTEST = Clock(300)
# Short timeouts of requests, which last as long by any clock.
SHORT = replace(BOUNDS, read_seconds=0.5, response_seconds=1.0, bytes_per_second_min=1e9)


@pytest.fixture(autouse=True)
def without_aud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "conform", keep_sound)


@pytest.fixture(scope="module")
def large_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clip of many chunks, so that its upload can be interrupted in the middle. Most of it is a box that players skip."""
    large = tmp_path_factory.mktemp("large") / "clip.mp4"
    size = 512 * 1024
    large.write_bytes(clip.read_bytes() + size.to_bytes(4, "big") + b"free" + bytes(size - 8))
    return large


@pytest.fixture
def public_address(
    double: Double, service: Service, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Make the double look like the real service: with public names, TLS and a proxy that connects to it."""
    presign = {"content_type": "video/mp4", "file_type": "video"}
    files_url = service.call("POST", "/v1/upload/presign", presign)["presigned_url"].partition("/put")[0]
    authority = Authority(tmp_path_factory.mktemp("authority"))
    context = authority.server(API, FILES, OTHER)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    ports = [urlsplit(url).port or 0 for url in (double.base_url, files_url)]
    with raw_server(forward_to(ports[0]), context) as api, raw_server(forward_to(ports[1]), context) as files:
        names = {API: api.port, FILES: files.port, OTHER: files.port}
        with raw_server(proxy_by_name(names)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            double.set(files_url=f"https://{FILES}")
            yield f"https://{API}"
            double.set(files_url=files_url)


def attempt(job: Job, clip: Path, job_context: JobContext) -> Job:
    """Run the job to its end. Its clip exists, so nothing may be rendered."""
    work = job_context.folder(job.id)
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(clip, work / "clip-000.mp4")
    return run_job(job, job_context)[-1]


def retried(job: Job) -> Job:
    """Return the job that Retry starts, see `retrying.retry`."""
    return replace(job, stage=Stage.QUEUED, progress=None, error=None) if job.paid else Job.new(job.request)


def check_error(job: Job, row: Row) -> None:
    assert job.stage is Stage.FAILED
    error = job.error
    assert error is not None
    assert error.code == row.ends, error.message
    assert error.message.startswith(f"“{STRIP}”: ")
    assert error.message.endswith(".")
    assert error.hint.endswith(".")
    if error.code == "unsafe_url":
        # The URL came from the service, so no setting is wrong.
        assert "preferences" not in error.hint
        assert "Retry" in error.hint


def result_of(run: str, service: Service, transport: InstantTransport, folder: Path) -> bytes:
    """Return the sound that the double has made for a run."""
    url = wait_for_success(service, run).output_url
    assert url is not None
    download(transport, url, folder / f"{run}.mp4", lambda done, total: None)
    return (folder / f"{run}.mp4").read_bytes()


def check_nothing_stays(double: Double, folder: Path, take: Path) -> None:
    """Check that nothing is left in storage, incomplete on disk or outside the folders."""
    state = double.state()
    assert [upload["id"] for upload in state["uploads"] if upload["live"]] == []
    assert state["violations"] == []
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert [file for file in files if not file.parts[0].startswith("jobs.")] == [take.relative_to(folder)]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_paid_result_arrives_once_despite(
    *,
    row: Row,
    request: pytest.FixtureRequest,
    double: Double,
    service: Service,
    transport: InstantTransport,
    large_clip: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    base_url = request.getfixturevalue("public_address") if row.public else double.base_url
    for order in row.orders:
        double.inject(**order)
    bounds, clock = (SHORT, FAST) if row.short_timeouts else (BOUNDS, FASTEST)
    job_context = replace(context_for(double, tmp_path, "refuse", clock), base_url=base_url, bounds=bounds)
    end = attempt(new_job(tmp_path, STRIP), large_clip, job_context)
    assert {order["at"] for order in row.orders} <= set(double.state()["triggered"])
    assert len(double.state()["runs"]) == row.created
    if row.ends != DONE:
        check_error(end, row)
        # A file gets its name when it is complete, so a failed download leaves none.
        assert {path.name for path in (tmp_path / "work").rglob("*")} <= {end.id, "clip-000.mp4"}
        double.clear_faults()
        end = attempt(retried(end), large_clip, replace(job_context, bounds=BOUNDS))
    assert (end.stage, end.error) == (Stage.PLACING, None)
    (take,) = end.takes
    assert take.file is not None
    check_nothing_stays(double, tmp_path, take.file)
    runs = [run["id"] for run in double.state()["runs"]][0 if row.has_sound else row.created :]
    results = [result_of(run, service, transport, tmp_path_factory.mktemp("results")) for run in runs]
    seen.append(Seen(row, len(runs), sum(result != take.file.read_bytes() for result in results)))
    assert (seen[-1].runs, seen[-1].lost) == (1, 0)


def test_all_rows_were_run(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Check that all selected rows were run."""
    asked = [item for item in request.session.items if test_a_paid_result_arrives_once_despite.__name__ in item.name]
    survived = [one.row for one in seen if (one.runs, one.lost) == (1, 0)]
    most, lost = max((one.runs for one in seen), default=0), sum(one.lost for one in seen)
    record_property(
        "fault table",
        f"{len(survived)} of {len(asked)} rows survived, runs per job at most {most}, results lost {lost}",
    )
    assert len(survived) == len(asked)
