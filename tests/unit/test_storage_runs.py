# SPDX-License-Identifier: GPL-3.0-or-later
"""A run reads its clip wherever it was published, and only while it is there."""

import time
from pathlib import Path

import pytest

from addon.failure import Failure
from addon.service.storage.given_url import GivenUrlConfig
from addon.service.storage.http_put import HttpPutConfig

from .parts import Double, Quick, Service, fields, finished, unheard, until
from .servers import S3Server, Scripted

PUBLIC = "https://clips.studio.example"


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_a_run_reads_its_clip_from_a_bucket(
    *, rclone_server: S3Server, service: Service, transport: Quick, double: Double, clip: Path
) -> None:
    storage = rclone_server.config.open(service, transport)
    published = storage.publish(clip, *unheard)
    with pytest.raises(Failure, match="must be a public https URL"):
        service.start_run(fields(published.url))
    double.outside(storages=[rclone_server.config.endpoint])
    assert finished(service, service.start_run(fields(published.url))).output_url is not None
    assert double.state()["runs"][0]["clip"]["bytes"] == clip.stat().st_size
    storage.delete(published)
    with pytest.raises(Failure, match="could not be fetched"):
        service.start_run(fields(published.url))
    assert double.state()["violations"] == []


def test_a_run_reads_its_clip_from_behind_a_public_address(
    *, scripted: Scripted, service: Service, transport: Quick, double: Double, clip: Path
) -> None:
    storage = HttpPutConfig(scripted.address + "/{name}", PUBLIC + "/{name}").open(service, transport)
    published = storage.publish(clip, *unheard)
    with pytest.raises(Failure, match="could not be fetched"):
        service.start_run(fields(published.url))
    double.outside(tunnels={PUBLIC.removeprefix("https://"): port_of(scripted.address)})
    assert finished(service, service.start_run(fields(published.url))).output_url is not None
    given = GivenUrlConfig(published.url + "?take=2").open(service, transport)
    assert finished(service, service.start_run(fields(given.publish(Path(), *unheard).url))).output_url is not None


def test_of_two_takes_that_share_a_clip_the_right_one_is_adopted(service: Service, double: Double, video: str) -> None:
    first = service.start_run(fields(video, seed=1))
    double.order("create", "drop", carried_out=True)
    second = service.start_run(fields(video, seed=2))
    assert [run["input"]["seed"] for run in double.state()["runs"]] == [1, 2]
    assert second == double.state()["runs"][1]["id"]
    double.order("create", "drop")
    third = service.start_run(fields(video, seed=3))
    assert len({first, second, third}) == len(double.state()["runs"]) == 3


@pytest.mark.parametrize(("told", "same"), [(7, True), (7.0, True), ("7", True), (None, True), (8, False), ("70", False)])
def test_a_seed_is_known_again_however_it_is_written(
    *, told: object, same: bool, service: Service, double: Double, video: str
) -> None:
    run = service.start_run(fields(video, seed=7))
    double.answer("get", {"id": run, "input": {"video": video, "seed": told}}, times=99)
    assert service.find_run(fields(video, seed=7), time.time() - 60) == (run if same else None)


def test_a_clip_that_is_gone_when_its_run_begins_fails_it(
    *, scripted: Scripted, service: Service, transport: Quick, double: Double, clip: Path
) -> None:
    double.outside(storages=[scripted.address])
    double.set(run_seconds=0.4)
    template = scripted.address + "/{name}"
    storage = HttpPutConfig(template, template).open(service, transport)
    published = storage.publish(clip, *unheard)
    run = service.start_run(fields(published.url))
    storage.delete(published)
    until(lambda: service.poll(run).status == "error")
    assert "could not be fetched" in service.poll(run).reason
