# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault table: each row is a whole job against the double, over real sockets, with one fault on its way.

Only the clock of waits is left out, and Blender's `aud`: a result counts as heard when PyAV finds sound in it. What must
hold is read from the double's own state.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av
import pytest
from av.error import FFmpegError

from addon.jobs.limits import Limits
from addon.jobs.model.job import Job
from addon.jobs.model.run import Stage
from addon.jobs.work import context, model_run, pipeline
from addon.jobs.work import services as work_services
from addon.media.sound import Conformed, NoSound, RunResult
from addon.service.net import deadline, download
from addon.service.net import transport as net

from .fault_table import DONE, ROWS, Row
from .parts import Double, Quick, Service, context_for, finished, go, new_job
from .wire import Authority, proxy_by_name, stands_before, wire

STRIP = "Shot 1"
API, FILES, OTHER = "api.example", "files.example", "other.example"


@dataclass(frozen=True)
class Seen:
    """What came of a row: `runs` are those that may bring a sound; `lost` those that did, and that no take has."""

    row: Row
    runs: int
    lost: int


seen: list[Seen] = []


def heard(
    results: Sequence[RunResult], _length: object, target: Path, _check_cancel: object, *, offset: Fraction
) -> Conformed:
    """Keeps what came where there is sound in it; decoding and joining is `aud`'s work."""
    for number, result in enumerate(results):
        try:
            with av.open(str(result.file)) as file:
                assert sum(frame.samples for frame in file.decode(audio=0)) > 0
        except (FFmpegError, IndexError) as fault:
            raise NoSound("The result holds no sound.", number) from fault
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(result.file.read_bytes() for result in results))
    return Conformed(44_100, 0.0)


@pytest.fixture(autouse=True)
def clockless(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def transport(cancel: threading.Event, *, loopback_allowed: bool) -> Quick:
        """All threads of a job wait by one clock, as the limits do."""
        made = Quick(cancel, loopback_allowed=loopback_allowed)
        made.waited = waited
        return made

    monkeypatch.setattr(context, "Transport", transport)
    monkeypatch.setattr(work_services, "Limits", lambda file: Limits(file, lambda: time.time() + sum(waited)))
    monkeypatch.setattr(pipeline, "conform", heard)
    # What a flood has to fill before it is too much.
    monkeypatch.setattr(download, "FILE_BYTES_MAX", 8 * 1024**2)


@pytest.fixture(scope="module")
def large_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of many blocks, so that there is a middle of its upload: the rest of it is a box that players skip."""
    large = tmp_path_factory.mktemp("large") / "clip.mp4"
    size = 512 * 1024
    large.write_bytes(clip.read_bytes() + size.to_bytes(4, "big") + b"free" + bytes(size - 8))
    return large


@pytest.fixture
def public_address(
    double: Double, service: Service, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The double's, as if it were the real service's: other names, TLS, a proxy that knows the way."""
    presign = {"content_type": "video/mp4", "file_type": "video"}
    files_url = service.call("POST", "/v1/upload/presign", presign)["presigned_url"].partition("/put")[0]
    authority = Authority(tmp_path_factory.mktemp("authority"))
    context = authority.server(API, FILES, OTHER)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    ports = [urlsplit(url).port or 0 for url in (double.base_url, files_url)]
    with wire(stands_before(ports[0]), context) as api, wire(stands_before(ports[1]), context) as files:
        names = {API: api.port, FILES: files.port, OTHER: files.port}
        with wire(proxy_by_name(names)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            double.set(files_url=f"https://{FILES}")
            yield f"https://{API}"
            double.set(files_url=files_url)


def attempt(job: Job, double: Double, folder: Path, clip: Path, base_url: str) -> Job:
    """The job's end. Its clip is there already; nothing may be rendered."""
    work = folder / "work" / job.id
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(clip, work / "clip-000.mp4")
    return go(job, replace(context_for(double, folder, "refuse"), base_url=base_url))[-1]


def retried(job: Job) -> Job:
    """What Retry makes of it: see `generation.retry`."""
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
        # It came from the service, so there is nothing to be set.
        assert "preferences" not in error.hint
        assert "Retry" in error.hint


def result_of(run: str, service: Service, transport: Quick, folder: Path) -> bytes:
    """The sound that the double has for a run."""
    url = finished(service, run).output_url
    assert url is not None
    transport.fetch(url, folder / f"{run}.mp4", lambda done, total: None)
    return (folder / f"{run}.mp4").read_bytes()


def check_nothing_stays(double: Double, folder: Path, take: Path) -> None:
    """In storage, half on disk, or anywhere that it doesn't belong."""
    state = double.state()
    assert [upload["id"] for upload in state["uploads"] if upload["live"]] == []
    assert state["violations"] == []
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert [file for file in files if not file.parts[0].startswith("jobs.")] == [take.relative_to(folder)]


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brings deadlines near that go by the clock of the machine."""
    monkeypatch.setattr(net, "READ_SECONDS", 0.5)
    monkeypatch.setattr(deadline, "RESPONSE_SECONDS", 1.0)
    monkeypatch.setattr(deadline, "BYTES_PER_SECOND_MIN", 1e9)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_what_is_paid_for_arrives_once_in_spite_of(
    *,
    row: Row,
    request: pytest.FixtureRequest,
    double: Double,
    service: Service,
    transport: Quick,
    large_clip: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base_url = request.getfixturevalue("public_address") if row.public else double.base_url
    for order in row.orders:
        double.order(**order)
    with monkeypatch.context() as soon:
        if row.hurried:
            hurry(soon)
        if row.ends == "run_timeout":
            soon.setattr(model_run, "_WAIT_MAX_SECONDS", 0.3)
        end = attempt(new_job(tmp_path, STRIP), double, tmp_path, large_clip, base_url)
    assert {order["at"] for order in row.orders} <= set(double.state()["struck"])
    assert len(double.state()["runs"]) == row.created
    if row.ends != DONE:
        check_error(end, row)
        # A file has its name when it is whole, and what failed has brought none.
        assert {path.name for path in (tmp_path / "work").rglob("*")} <= {end.id, "clip-000.mp4"}
        double.clear()
        end = attempt(retried(end), double, tmp_path, large_clip, base_url)
    assert (end.stage, end.error) == (Stage.PLACING, None)
    (take,) = end.takes
    assert take.file is not None
    check_nothing_stays(double, tmp_path, take.file)
    runs = [run["id"] for run in double.state()["runs"]][0 if row.brings else row.created :]
    results = [result_of(run, service, transport, tmp_path_factory.mktemp("results")) for run in runs]
    seen.append(Seen(row, len(runs), sum(result != take.file.read_bytes() for result in results)))
    assert (seen[-1].runs, seen[-1].lost) == (1, 0)


def test_all_rows_were_seen(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Of those that were asked for: all, as a rule."""
    asked = [item for item in request.session.items if test_what_is_paid_for_arrives_once_in_spite_of.__name__ in item.name]
    survived = [one.row for one in seen if (one.runs, one.lost) == (1, 0)]
    most, lost = max((one.runs for one in seen), default=0), sum(one.lost for one in seen)
    record_property(
        "fault table",
        f"{len(survived)} of {len(asked)} rows survived, runs per job at most {most}, results lost {lost}",
    )
    assert len(survived) == len(asked)
