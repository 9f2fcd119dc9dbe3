# SPDX-License-Identifier: GPL-3.0-or-later
"""What all unit tests share: the add-on without its Blender half, the double, a clip."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

import tests.bare  # noqa: F401  # pyright: ignore[reportUnusedImport]
from addon.jobs.work import pipeline
from addon.jobs.work.runner import Runner
from addon.media.sound import Conformed, RunResult
from addon.service.storage.eachlabs import EachlabsStorage

from .parts import RUN_SECONDS, Double, Quick, Service, cancel_all, unheard, write_clip
from .servers import S3Server, Scripted, answering, rclone_s3, seaweedfs


@pytest.fixture(scope="session")
def _double() -> Iterator[Double]:
    double = Double(run_seconds=RUN_SECONDS)
    try:
        yield double
    finally:
        double.stop()


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of this machine has no say over loopback."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def double(_double: Double, direct: None) -> Double:
    """The double, well-behaved, without memory of other tests."""
    _double.begin()
    return _double


@pytest.fixture
def transport() -> Iterator[Quick]:
    quick = Quick()
    yield quick
    quick.close()


@pytest.fixture
def service(double: Double, transport: Quick) -> Service:
    return Service(double.key, double.base_url, transport)


@pytest.fixture
def storage(service: Service, transport: Quick) -> EachlabsStorage:
    return EachlabsStorage(service, transport)


@pytest.fixture
def any_service(transport: Quick) -> Service:
    """For storages that ask nothing of the service; nobody answers there."""
    return Service("k3y", "http://127.0.0.1:9", transport)


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with seaweedfs(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture
def scripted(direct: None) -> Iterator[Scripted]:
    with answering() as server:
        yield server


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second and a half of a small picture."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=36)


@pytest.fixture
def video(storage: EachlabsStorage, clip: Path) -> str:
    """The address of a clip in the double's storage."""
    return storage.publish(clip, *unheard).url


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Runs jobs whose journal is in the test's own folder; what is still under way is cancelled."""
    made = Runner()
    made.open(tmp_path)
    yield made
    cancel_all(made)
    made.close(20)


@pytest.fixture
def without_aud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a take go past its downloads: what came is put end to end, since decoding and joining is `aud`'s work."""

    def keep(
        results: Sequence[RunResult], _length: object, target: Path, _check_cancel: object, *, offset: Fraction
    ) -> Conformed:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(result.file.read_bytes() for result in results))
        return Conformed(44_100, 0.0)

    monkeypatch.setattr(pipeline, "conform", keep)
