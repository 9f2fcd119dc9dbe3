# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that a run reads its clip from each storage, and only while it exists."""

import time
from pathlib import Path

import pytest

from addon.failure import Failure
from addon.service.storage.given_url import GivenUrlConfig
from addon.service.storage.http_put import HttpPutConfig

from .helpers import Double, InstantTransport, Service, fields, no_callbacks, wait_for_success, wait_until
from .servers import S3Server, Scripted

PUBLIC = "https://clips.studio.example"


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_a_run_reads_its_clip_from_a_bucket(
    *, rclone_server: S3Server, service: Service, transport: InstantTransport, double: Double, clip: Path
) -> None:
    storage = rclone_server.config.open(service, transport)
    published = storage.publish(clip, *no_callbacks)
    with pytest.raises(Failure, match="must be a public https URL"):
        service.start_run(fields(published.url))
    double.set_outbound(storages=[rclone_server.config.endpoint])
    assert wait_for_success(service, service.start_run(fields(published.url))).output_url is not None
    assert double.state()["runs"][0]["clip"]["bytes"] == clip.stat().st_size
    storage.delete(published)
    with pytest.raises(Failure, match="could not be fetched"):
        service.start_run(fields(published.url))
    assert double.state()["violations"] == []


def test_a_run_reads_its_clip_at_a_public_url(
    *, scripted: Scripted, service: Service, transport: InstantTransport, double: Double, clip: Path
) -> None:
    storage = HttpPutConfig(scripted.address + "/{name}", PUBLIC + "/{name}").open(service, transport)
    published = storage.publish(clip, *no_callbacks)
    with pytest.raises(Failure, match="could not be fetched"):
        service.start_run(fields(published.url))
    double.set_outbound(tunnels={PUBLIC.removeprefix("https://"): port_of(scripted.address)})
    assert wait_for_success(service, service.start_run(fields(published.url))).output_url is not None
    given = GivenUrlConfig(published.url + "?take=2").open(service, transport)
    assert (
        wait_for_success(service, service.start_run(fields(given.publish(Path(), *no_callbacks).url))).output_url is not None
    )


def test_the_right_one_of_two_takes_with_the_same_clip_is_adopted(service: Service, double: Double, video: str) -> None:
    first = service.start_run(fields(video, seed=1))
    double.inject("create", "drop", carried_out=True)
    second = service.start_run(fields(video, seed=2))
    assert [run["input"]["seed"] for run in double.state()["runs"]] == [1, 2]
    assert second == double.state()["runs"][1]["id"]
    double.inject("create", "drop")
    third = service.start_run(fields(video, seed=3))
    assert len({first, second, third}) == len(double.state()["runs"]) == 3


@pytest.mark.parametrize(("told", "same"), [(7, True), (7.0, True), ("7", True), (None, True), (8, False), ("70", False)])
def test_a_seed_is_recognized_in_every_format(
    *, told: object, same: bool, service: Service, double: Double, video: str
) -> None:
    run = service.start_run(fields(video, seed=7))
    double.respond("get", {"id": run, "input": {"video": video, "seed": told}}, times=99)
    assert service.find_run(fields(video, seed=7), time.time() - 60) == (run if same else None)


def test_a_run_fails_if_its_clip_is_missing(
    *, scripted: Scripted, service: Service, transport: InstantTransport, double: Double, clip: Path
) -> None:
    double.set_outbound(storages=[scripted.address])
    double.set(run_seconds=0.4)
    template = scripted.address + "/{name}"
    storage = HttpPutConfig(template, template).open(service, transport)
    published = storage.publish(clip, *no_callbacks)
    run = service.start_run(fields(published.url))
    storage.delete(published)
    wait_until(lambda: service.poll(run).status == "error")
    assert "could not be fetched" in service.poll(run).reason
