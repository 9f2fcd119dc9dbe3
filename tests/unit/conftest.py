# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the unit tests: the add-on without bpy, the service double, storages and a clip."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.addon_package  # noqa: F401  # pyright: ignore[reportUnusedImport]
from addon.jobs.work import pipeline
from addon.jobs.work.runner import Runner
from addon.service.storage.eachlabs import EachlabsStorage

from .helpers import RUN_SECONDS, Double, InstantTransport, Service, cancel_all, concatenate, no_callbacks, write_clip
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
    """Bypass this machine's proxy for loopback addresses."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def double(_double: Double, direct: None) -> Double:
    """Service double without faults and without the state of other tests."""
    _double.reset()
    return _double


@pytest.fixture
def transport() -> Iterator[InstantTransport]:
    transport = InstantTransport()
    yield transport
    transport.close()


@pytest.fixture
def service(double: Double, transport: InstantTransport) -> Service:
    return Service(double.key, double.base_url, transport)


@pytest.fixture
def storage(service: Service, transport: InstantTransport) -> EachlabsStorage:
    return EachlabsStorage(service, transport)


@pytest.fixture
def any_service(transport: InstantTransport) -> Service:
    """Client for storages that send nothing to the service; nothing listens at its URL."""
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
    """Clip of 1.5 seconds."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=36)


@pytest.fixture
def video(storage: EachlabsStorage, clip: Path) -> str:
    """URL of a clip in the double's storage."""
    return storage.publish(clip, *no_callbacks).url


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Runner with its journal in the test's folder. Its active jobs are cancelled after the test."""
    made = Runner()
    made.open(tmp_path)
    yield made
    cancel_all(made)
    made.close(20)


@pytest.fixture
def without_aud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concatenate downloaded results instead of decoding and joining them, which needs `aud`."""
    monkeypatch.setattr(pipeline, "conform", concatenate)
