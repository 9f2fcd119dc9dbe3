# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of create URLs with and without a trailing slash: each create call makes one run, no other URL gets the key."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from addon.failure import Cancelled, DiskFailure, Failure
from addon.jobs.model.run import Stage
from addon.service.eachlabs.errors import RateLimited
from addon.service.eachlabs.trailing_slash import redirects_by_slash, toggle_slash
from addon.service.net.response import Response
from addon.service.storage import Published
from addon.service.storage.eachlabs import EachlabsStorage

from .helpers import Double, InstantTransport, Service, context_for, fields, new_job, run_job, wait_until
from .raw_server import raw_server
from .servers import Reply, Scripted, Seen

SLASH, NO_SLASH = "/v1/prediction/", "/v1/prediction"
FORMS = [("slash", SLASH), ("no slash", NO_SLASH)]
OTHER_FORM = [(404, ""), (405, ""), *((status, at) for status in (301, 302, 307, 308) for at in ("absolute", "relative"))]
ALWAYS = 99
DETAILS = "unknown model mmaudio"
BODY = {"status": "error", "message": "refused", "details": DETAILS}


def creates(double: Double) -> list[str]:
    """Return the paths of all create calls."""
    return [request["path"] for request in double.requests("POST", NO_SLASH) if "cancel" not in request["path"]]


def runs(double: Double) -> list[str]:
    return [run["id"] for run in double.state()["runs"]]


@pytest.mark.parametrize(("form", "path"), FORMS)
@pytest.mark.parametrize(("status", "location"), OTHER_FORM)
def test_every_form_creates_one_run_and_is_used_at_once_the_next_time(
    *, form: str, path: str, status: int, location: str, double: Double, video: str, transport: InstantTransport
) -> None:
    double.set(create_form=form, other_form=status, location=location)
    paths: dict[str, str] = {}
    first = Service(double.key, double.base_url, transport, paths).start_run(fields(video, seed=1))
    assert creates(double) == ([SLASH] if form == "slash" else [SLASH, NO_SLASH])
    other_job = Service(double.key, f"{double.base_url}/", transport, paths)
    second = other_job.start_run(fields(video, seed=2))
    assert creates(double)[1 if form == "slash" else 2 :] == [path]
    assert runs(double) == [first, second]
    assert transport.waited == []


@pytest.mark.usefixtures("without_aud")
@pytest.mark.parametrize("form", ["slash", "no slash"])
@pytest.mark.parametrize("status", [307, 404])
def test_a_whole_job_is_done_in_each_form(form: str, status: int, double: Double, tmp_path: Path) -> None:
    double.set(create_form=form, other_form=status)
    assert run_job(new_job(tmp_path), context_for(double, tmp_path))[-1].stage is Stage.PLACING
    assert len(runs(double)) == 1
    assert double.state()["violations"] == []


def test_a_service_may_change_its_form(service: Service, double: Double, video: str) -> None:
    for number, (form, status) in enumerate([("no slash", 404), ("slash", 404), ("no slash", 308), ("slash", 307)]):
        double.set(create_form=form, other_form=status)
        service.start_run(fields(video, seed=number))
    assert creates(double) == [SLASH, NO_SLASH, NO_SLASH, SLASH, SLASH, NO_SLASH, NO_SLASH, SLASH]
    assert len(runs(double)) == 4


def test_a_form_that_worked_is_remembered_for_its_base_url_only(
    double: Double, video: str, transport: InstantTransport
) -> None:
    double.set(create_form="no slash")
    paths: dict[str, str] = {}
    for host in ("127.0.0.1", "localhost"):
        Service(double.key, double.base_url.replace("127.0.0.1", host), transport, paths).start_run(fields(video))
    assert creates(double) == [SLASH, NO_SLASH, SLASH, NO_SLASH]


def test_a_form_that_failed_is_not_remembered(service: Service, double: Double, video: str) -> None:
    double.set(create_form="no slash", other_form=307)
    double.respond("create", BODY, 400)
    with pytest.raises(Failure):
        service.start_run(fields(video))
    double.set(create_form="slash")
    service.start_run(fields(video))
    assert creates(double) == [SLASH, NO_SLASH, SLASH]


@pytest.mark.parametrize("status", [301, 307, 404, 405])
def test_both_requests_carry_the_same_body_and_key(status: int, transport: InstantTransport, scripted: Scripted) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.target == SLASH:
            return Reply(status, headers={"Location": NO_SLASH} if status < 400 else {})
        return Reply(200, b'{"predictionID": "run"}')

    scripted.answer = answer
    assert Service("k3y", scripted.address, transport).start_run(fields("https://cdn.example/clip.mp4")) == "run"
    first, second = scripted.seen
    assert (first.target, second.target) == (SLASH, NO_SLASH)
    assert first.method == second.method == "POST"
    assert first.body == second.body
    assert json.loads(second.body)["input"] == fields("https://cdn.example/clip.mp4")
    assert [(seen.headers["x-api-key"], seen.headers["authorization"]) for seen in scripted.seen] == [
        ("k3y", "Bearer k3y")
    ] * 2


Calls = dict[str, Callable[[Service, InstantTransport], object]]
CALLS: Calls = {
    "GET /v1/prediction/run": lambda service, _: service.poll("run"),
    "POST /v1/prediction/run/cancel": lambda service, _: service.cancel("run"),
    "GET /v1/executions": lambda service, _: service.find_run(fields("https://cdn.example/clip.mp4"), 0.0),
    "POST /v1/upload/presign": lambda service, _: service.call("POST", "/v1/upload/presign", {"content_type": "video/mp4"}),
    "DELETE /v1/files/file": lambda service, transport: EachlabsStorage(service, transport).delete(Published("file", "")),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_every_call_follows_a_redirect_by_the_slash(
    name: str, status: int, transport: InstantTransport, scripted: Scripted
) -> None:
    def answer(seen: Seen) -> Reply:
        path = seen.target.partition("?")[0]
        return Reply(200, b"{}") if path.endswith("/") else Reply(status, headers={"Location": toggle_slash(seen.target)})

    scripted.answer = answer
    CALLS[name](Service("k3y", scripted.address, transport), transport)
    for first, second in zip(scripted.seen[::2], scripted.seen[1::2], strict=True):
        assert f"{first.method} {first.target}".startswith(name)
        assert second.target == toggle_slash(first.target) != first.target
        assert (second.method, second.body) == (first.method, first.body)
        assert second.headers["x-api-key"] == "k3y"
    assert scripted.seen


def test_only_a_create_tries_a_404_in_the_other_form(transport: InstantTransport, scripted: Scripted) -> None:
    scripted.answer = lambda _: Reply(404)
    with pytest.raises(Failure):
        Service("k3y", scripted.address, transport).cancel("run")
    assert [seen.target for seen in scripted.seen] == ["/v1/prediction/run/cancel"]


# {api} and {other} are ports; only the first is the service's.
ELSEWHERE = [
    "http://127.0.0.1:{other}/v1/prediction",
    "https://127.0.0.1:{other}/v1/prediction",
    "//127.0.0.1:{other}/v1/prediction",
    "http://127.0.0.1:{api}@127.0.0.1:{other}/v1/prediction",
    "http://127.0.0.1:{other}\\@127.0.0.1:{api}/v1/prediction",
    "http://127.0.0.1:{other}#@127.0.0.1:{api}/v1/prediction",
    "http://127.0.0.1:{other}?@127.0.0.1:{api}/v1/prediction",
    "\\\\127.0.0.1:{other}/v1/prediction",
    "/\\127.0.0.1:{other}/v1/prediction",
    "http:\\\\127.0.0.1:{other}/v1/prediction",
    "http://localhost:{api}/v1/prediction",
    "http://127.0.0.1.:{api}/v1/prediction",
    "http://[::1]:{api}/v1/prediction",
    "https://127.0.0.1:{api}/v1/prediction",
    "http://127.0.0.1/v1/prediction",
    "http://user@127.0.0.1:{api}/v1/prediction",
    "http://@127.0.0.1:{api}/v1/prediction",
    "http://127.0.0.1:{api}/v1/predictions",
    "http://127.0.0.1:{api}/v1/prediction?a=b",
    "http://127.0.0.1:{api}/v1/prediction#a",
    "/v1/prediction/",
    "/v1/prediction/?a=b",
    "/v1/prediction//",
    "/v1//prediction",
    "//v1/prediction",
    "///v1/prediction",
    "..//prediction",
    "/v1/%70rediction",
    "/V1/prediction",
    "/v1/prediction;a",
    "/v1/pre\tdiction",
    "/v1/prediction, /v1/prediction",
    "prediction",
    "http:/v1/prediction",
    "http:///v1/prediction",
    "http://[bad/v1/prediction",
    "http://127.0.0.1:{api}0000/v1/prediction",
    "javascript:alert(1)",
    "",
]


@pytest.mark.parametrize("location", ELSEWHERE)
@pytest.mark.parametrize("status", [301, 307])
def test_other_redirects_are_not_followed(status: int, location: str, service: Service, double: Double, video: str) -> None:
    port = int(double.base_url.rpartition(":")[2])
    with raw_server(lambda _connection, _server: None) as other:
        headers = {"Location": location.format(api=port, other=other.port)}
        double.respond("create", "", status, headers=headers, times=ALWAYS)
        with pytest.raises(Failure, match="unexpected response") as raised:
            service.start_run(fields(video))
        assert other.connections == 0
    assert raised.value.code == "bad_answer"
    assert creates(double) == [SLASH]
    assert runs(double) == []


@pytest.mark.parametrize("status", [300, 303, 304, 305, 200, 404, 500])
def test_only_redirects_that_keep_the_method_are_followed(status: int) -> None:
    url = "https://api.example/v1/prediction/"
    assert not redirects_by_slash(Response(status, {"Location": toggle_slash(url)}, b""), url)


@pytest.mark.parametrize(
    ("url", "location", "follows"),
    [
        ("https://api.example/v1/prediction/", "https://api.example/v1/prediction", True),
        ("https://api.example/v1/prediction", "https://api.example/v1/prediction/", True),
        ("https://api.example/v1/prediction", "/v1/prediction/", True),
        ("https://api.example/v1/prediction/", "../prediction", True),
        ("https://api.example/v1/prediction", "prediction/", True),
        ("https://api.example/v1/prediction/", "HTTPS://API.Example:443/v1/prediction", True),
        ("https://api.example:443/v1/prediction/", "https://api.example/v1/prediction", True),
        ("https://api.example/v1/prediction/", "//api.example/v1/prediction", True),
        ("https://api.example/at/v1/prediction/", "/at/v1/prediction", True),
        ("https://api.example/v1/executions?a=b%3A/", "/v1/executions/?a=b%3A/", True),
        ("https://api.example/v1/executions?a=b%3A/", "/v1/executions?a=b%3A", False),
        ("https://api.example/v1/executions?a=b", "/v1/executions/", False),
        ("https://api.example/v1/executions?a=b", "/v1/executions/?a=b&c=d", False),
        ("https://api.example/at/v1/prediction/", "/v1/prediction", False),
        ("https://api.example/v1/prediction/", "http://api.example/v1/prediction", False),
        ("https://api.example/v1/prediction/", "http://api.example:443/v1/prediction", False),
        ("https://api.example/v1/prediction/", "https://api.example:80/v1/prediction", False),
        ("https://api.example/v1/prediction/", "https://api.example.evil.example/v1/prediction", False),
        ("https://api.example/v1/prediction/", "https://evil.example/v1/prediction", False),
        ("https://api.example/v1/prediction/", "//evil.example/v1/prediction", False),
        ("https://api.example/v1/prediction/", "https://api.example\u3002evil.example/v1/prediction", False),
        ("https://api.example/v1/prediction/", "https://\uff41pi.example/v1/prediction", False),
        ("https://api.example/v1/prediction/", " /v1/prediction", False),
    ],
)
def test_a_redirect_is_compared_part_by_part(url: str, location: str, follows: bool) -> None:
    assert redirects_by_slash(Response(307, {"Location": location}, b""), url) is follows


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_forms_that_redirect_to_each_other_end_after_one_round(
    status: int, transport: InstantTransport, scripted: Scripted
) -> None:
    scripted.answer = lambda seen: Reply(status, headers={"Location": toggle_slash(seen.target)})
    service = Service("k3y", scripted.address, transport)
    for call in (lambda: service.start_run(fields("https://cdn.example/clip.mp4")), lambda: service.poll("run")):
        scripted.seen.clear()
        with pytest.raises(Failure, match="unexpected response") as raised:
            call()
        assert raised.value.code == "bad_answer"
        assert len(scripted.seen) == 2
    assert transport.waited == []


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (405, "bad_answer")])
@pytest.mark.parametrize("other_form", [404, 405, 307])
@pytest.mark.parametrize("known", [False, True])
def test_if_both_forms_fail_the_first_error_is_reported(
    *, status: int, code: str, other_form: int, known: bool, service: Service, double: Double, video: str
) -> None:
    double.set(other_form=other_form)
    started = [service.start_run(fields(video, seed=2))] if known else []
    double.respond("create", BODY, status, times=ALWAYS)
    with pytest.raises(Failure) as raised:
        service.start_run(fields(video))
    assert raised.value.code == code
    assert DETAILS in raised.value.message
    assert f"HTTP {status}" in raised.value.message
    assert creates(double)[len(started) :] == [SLASH, NO_SLASH]
    assert runs(double) == started


@pytest.mark.parametrize(
    ("status", "code"), [(400, "invalid_input"), (401, "bad_key"), (402, "balance"), (403, "bad_key"), (404, "not_found")]
)
def test_after_a_redirect_the_second_response_is_reported(
    status: int, code: str, service: Service, double: Double, video: str
) -> None:
    double.set(create_form="no slash", other_form=307)
    double.respond("create", BODY, status, times=ALWAYS)
    with pytest.raises(Failure) as raised:
        service.start_run(fields(video))
    assert (raised.value.code, DETAILS in raised.value.message) == (code, True)
    assert creates(double) == [SLASH, NO_SLASH]


@pytest.mark.parametrize(("status", "code"), [(400, "invalid_input"), (401, "bad_key"), (402, "balance")])
def test_after_a_404_an_error_about_the_request_is_reported(
    status: int, code: str, service: Service, double: Double, video: str
) -> None:
    double.set(create_form="no slash", other_form=404)
    double.respond("create", BODY, status, times=ALWAYS)
    with pytest.raises(Failure) as raised:
        service.start_run(fields(video))
    assert (raised.value.code, DETAILS in raised.value.message) == (code, True)
    assert creates(double) == [SLASH, NO_SLASH]


def test_the_other_form_is_not_tried_after_a_wrong_key(double: Double, transport: InstantTransport) -> None:
    double.set(create_form="no slash", other_form=404)
    with pytest.raises(Failure) as raised:
        Service("other", double.base_url, transport).start_run(fields("https://cdn.example/clip.mp4"))
    assert raised.value.code == "bad_key"
    assert creates(double) == [SLASH]


LOST = [
    pytest.param({"do": "drop"}, id="dropped"),
    pytest.param({"do": "status", "status": 503}, id="503"),
    pytest.param({"do": "status", "status": 200}, id="empty"),
]


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("other_form", [307, 404])
@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_response_to_the_second_request_is_settled(
    *, fault: dict[str, Any], other_form: int, carried_out: bool, service: Service, double: Double, video: str
) -> None:
    double.set(create_form="no slash", other_form=other_form)
    order: dict[str, Any] = {**fault, "carried_out": True} if carried_out else fault
    double.inject("create", **order)
    run = service.start_run(fields(video))
    assert runs(double) == [run]
    assert creates(double) == [SLASH, NO_SLASH] * (1 if carried_out else 2)
    assert double.requests("GET", "/v1/executions")


def test_the_other_form_is_not_tried_after_a_lost_response(service: Service, double: Double, video: str) -> None:
    double.inject("create", "drop", carried_out=True)
    run = service.start_run(fields(video))
    assert runs(double) == [run]
    assert creates(double) == [SLASH]


class Recorder:
    """Slot and upload that record their use."""

    def __init__(self, double: Double) -> None:
        self.events: list[str] = []
        self.act: Callable[[int], None] = lambda _number: None
        self._double = double

    @contextmanager
    def creating(self) -> Generator[None, None, None]:
        before = len(creates(self._double))
        self.events.append("turn")
        refused: list[str] = []
        try:
            yield
        except RateLimited as failure:
            details = failure.message.partition(": ")[2].partition(" (HTTP")[0]
            refused.append(f"refused: {details}, {failure.retry_after:g}")
            raise
        finally:
            self.events += [f"{len(creates(self._double)) - before} sent", *refused]

    def upload(self, video: str) -> Any:
        return SimpleNamespace(url=video, is_live=self._is_live)

    def _is_live(self, _now: float) -> bool:
        self.events.append("check")
        self.act(self.events.count("check"))
        return True


@pytest.mark.parametrize("other_form", [307, 404])
def test_the_second_request_needs_a_slot_as_the_first(other_form: int, service: Service, double: Double, video: str) -> None:
    double.set(create_form="no slash", other_form=other_form)
    double.respond("create", {"error": "too many"}, 429, headers={"Retry-After": "2"})
    recorder = Recorder(double)
    service.start_run(fields(video), slot=recorder, clip=recorder.upload(video))
    once = ["turn", "check", "1 sent"]
    assert recorder.events == [*once, *once, "refused: too many, 2", *once, *once]
    assert len(runs(double)) == 1


@pytest.mark.parametrize("other_form", [307, 404])
@pytest.mark.parametrize("why", ["cancelled", "a clip that has lapsed"])
def test_a_job_can_be_stopped_between_both_requests(
    *, other_form: int, why: str, service: Service, double: Double, video: str, transport: InstantTransport
) -> None:
    def stop(number: int) -> None:
        if number == 2:
            if why == "cancelled":
                transport.cancel.set()
            else:
                raise DiskFailure("The clip is gone.")

    double.set(create_form="no slash", other_form=other_form)
    recorder = Recorder(double)
    recorder.act = stop
    with pytest.raises(Cancelled if why == "cancelled" else Failure):
        service.start_run(fields(video), slot=recorder, clip=recorder.upload(video))
    assert creates(double) == [SLASH]
    assert runs(double) == []


@pytest.mark.parametrize("other_form", [307, 404])
def test_a_cancel_during_the_second_request_still_reads_the_id(
    other_form: int, service: Service, double: Double, video: str, transport: InstantTransport
) -> None:
    double.set(create_form="no slash", other_form=other_form)
    double.inject("create", "stall", seconds=0.5)

    def cancel() -> None:
        wait_until(lambda: len(creates(double)) == 2 and not runs(double))
        transport.cancel.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    run = service.start_run(fields(video))
    thread.join()
    assert transport.cancel.is_set()
    assert runs(double) == [run]
