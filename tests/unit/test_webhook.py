# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the webhook: a call ends a wait early, and any other request is rejected and changes nothing."""

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from addon.failure import Cancelled, Failure
from addon.service.eachlabs import webhook
from addon.service.eachlabs.webhook import BODY_BYTES_MAX, CONNECTIONS_MAX, Call, Webhook, WebhookConfig

from .helpers import Double, Service, fields, wait_for_success, wait_until

pytestmark = pytest.mark.oldest

HOST = "hook.studio.example"
PUBLIC = f"https://{HOST}/mmaudio"
RUN = "run-1"
SOON = 10.0
"""Timeout in seconds for what happens at once."""


@pytest.fixture
def hook() -> Iterator[Webhook]:
    hook = Webhook(WebhookConfig(PUBLIC, 0))
    yield hook
    hook.stop()


def expected(hook: Webhook) -> Call:
    """Return the expected call of an active webhook."""
    call = hook.expect()
    assert call is not None
    return call


def body_for(run: str, **more: object) -> bytes:
    return json.dumps(
        {"exec_id": run, "status": "succeeded", "output": "https://cdn.example/a.mp4", "error": "", **more}
    ).encode()


def post(port: int, secret: str | None, body: bytes, method: str = "POST", path: str = "/mmaudio") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
    try:
        connection.request(method, path, body, {} if secret is None else {"X-Webhook-Secret": secret})
        return connection.getresponse().status
    finally:
        connection.close()


def responses_to(port: int, request: bytes) -> bytes:
    """Return the whole response to a raw request."""
    with socket.create_connection(("127.0.0.1", port), SOON) as connection:
        connection.sendall(request)
        return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while block := connection.recv(65536):
            answer += block
    except ConnectionError:
        pass
    return answer


def wait_ends(call: Call, seconds: float = SOON) -> bool:
    return call.wait(seconds, threading.Event())


def test_a_call_ends_the_wait_at_once(hook: Webhook) -> None:
    with expected(hook) as call:
        call.expect_run(RUN)
        began = time.monotonic()
        caller = threading.Thread(target=lambda: post(hook.port, call.secret, body_for(RUN)))
        caller.start()
        assert wait_ends(call)
        assert time.monotonic() - began < SOON / 2
        caller.join()
        assert not wait_ends(call, 0)


@pytest.mark.parametrize("name", ["exec_id", "execution_id", "predictionID", "id", "flow_id"])
def test_the_run_id_may_be_in_any_of_its_fields(name: str, hook: Webhook) -> None:
    with expected(hook) as call:
        call.expect_run(RUN)
        body = json.dumps({name: RUN, "status": "failed", "output": [{"error": "no"}]}).encode()
        assert post(hook.port, call.secret, body) == 204
        assert wait_ends(call, 0)


def test_a_call_before_the_run_is_known_counts(hook: Webhook) -> None:
    with expected(hook) as call:
        for run in ("other", RUN):
            assert post(hook.port, call.secret, body_for(run)) == 204
        assert not wait_ends(call, 0)
        call.expect_run(RUN)
        assert wait_ends(call, 0)


def test_a_call_for_another_run_before_ours_is_known_does_not(hook: Webhook) -> None:
    with expected(hook) as call:
        assert post(hook.port, call.secret, body_for("other")) == 204
        call.expect_run(RUN)
        assert not wait_ends(call, 0)


def test_the_same_call_may_come_again(hook: Webhook) -> None:
    with expected(hook) as call:
        call.expect_run(RUN)
        for _ in range(2):
            assert post(hook.port, call.secret, body_for(RUN)) == 204
        assert wait_ends(call, 0)
        assert not wait_ends(call, 0)
        assert post(hook.port, call.secret, body_for(RUN)) == 204
        assert wait_ends(call, 0)


def test_each_jobs_wait_is_ended_by_its_own_call(hook: Webhook) -> None:
    calls = [expected(hook) for _ in range(4)]
    assert len({call.secret for call in calls}) == 4
    for number, call in enumerate(calls):
        call.expect_run(f"run-{number}")
    # A call for the right run with another job's secret is rejected.
    assert post(hook.port, calls[1].secret, body_for("run-2")) == 404
    assert post(hook.port, calls[2].secret, body_for("run-2")) == 204
    assert [wait_ends(call, 0) for call in calls] == [False, False, True, False]


def test_a_wait_ends_when_it_is_cancelled(hook: Webhook) -> None:
    cancel = threading.Event()
    with expected(hook) as call:
        threading.Timer(0.05, cancel.set).start()
        began = time.monotonic()
        with pytest.raises(Cancelled):
            call.wait(SOON, cancel)
        assert time.monotonic() - began < SOON / 2


def test_without_a_call_the_wait_lasts_as_long_as_it_should(hook: Webhook) -> None:
    with expected(hook) as call:
        began = time.monotonic()
        assert not wait_ends(call, 0.25)
        assert 0.25 <= time.monotonic() - began < SOON / 2


def wrong(**changes: object) -> Callable[[int, str], int]:
    """Return a valid call with these changes."""

    def send(port: int, secret: str) -> int:
        right: dict[str, object] = {"secret": secret, "body": body_for(RUN), "method": "POST"}
        return post(port, **(right | changes))  # pyright: ignore[reportArgumentType]  # as given

    return send


def raw(head: str, body: bytes = b"") -> Callable[[int, str], int]:
    """Return a request with these header lines; `{secret}` and `{length}` are filled in."""

    def send(port: int, secret: str) -> int:
        lines = head.format(secret=secret, length=len(body_for(RUN))).replace("\n", "\r\n")
        answer = responses_to(port, f"POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n".encode() + (body or body_for(RUN)))
        return int(answer.split()[1])

    return send


SECRET = "X-Webhook-Secret: {secret}"
LENGTH = "Content-Length: {length}"
REFUSED = [
    ("wrong secret", wrong(secret="wrong"), 403),
    ("no secret", wrong(secret=None), 403),
    ("empty secret", wrong(secret=""), 403),
    ("odd secret", wrong(secret="\xff\xfe"), 403),
    ("two secrets", raw(f"{LENGTH}\n{SECRET}\n{SECRET}"), 403),
    ("unknown run", wrong(body=body_for("another-run")), 404),
    ("no run", wrong(body=b'{"status": "succeeded"}'), 400),
    ("a number for a run", wrong(body=b'{"exec_id": 1}'), 400),
    ("an empty run", wrong(body=b'{"exec_id": ""}'), 400),
    ("no object", wrong(body=b'["exec_id", "run-1"]'), 400),
    ("no JSON", wrong(body=b"exec_id=run-1"), 400),
    ("deep JSON", wrong(body=b"[" * BODY_BYTES_MAX), 400),
    ("no UTF-8", wrong(body=b'{"exec_id": "\xff"}'), 400),
    *((method, wrong(method=method), 405) for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO")),
    ("too long", raw(f"Content-Length: {BODY_BYTES_MAX + 1}\n{SECRET}", b" "), 413),
    ("a length of many digits", raw(f"Content-Length: {'9' * 5000}\n{SECRET}", b" "), 413),
    ("a negative length", raw(f"Content-Length: -1\n{SECRET}"), 411),
    ("a length that is none", raw(f"Content-Length: 0x10\n{SECRET}"), 411),
    ("no length", raw(SECRET), 411),
    ("two lengths", raw(f"{LENGTH}\n{LENGTH}\n{SECRET}"), 411),
    ("chunks", raw(f"Transfer-Encoding: chunked\n{SECRET}", b"1\r\n \r\n0\r\n\r\n"), 411),
    ("chunks with a length", raw(f"Transfer-Encoding: chunked\n{LENGTH}\n{SECRET}"), 411),
]


@pytest.mark.parametrize(("send", "status"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_every_other_request_is_rejected_and_changes_nothing(
    *, send: Callable[[int, str], int], status: int, hook: Webhook
) -> None:
    with expected(hook) as call:
        call.expect_run(RUN)
        assert send(hook.port, call.secret) == status
        assert not wait_ends(call, 0)
        assert post(hook.port, call.secret, body_for(RUN)) == 204
        assert wait_ends(call, 0)


def test_an_error_response_repeats_nothing(hook: Webhook) -> None:
    with expected(hook):
        answer = responses_to(hook.port, b"FOO /<script> HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"script" not in answer
    assert b"Python" not in answer


def test_the_largest_body_is_accepted(hook: Webhook) -> None:
    body = body_for(RUN, padding="")
    body = body_for(RUN, padding="x" * (BODY_BYTES_MAX - len(body)))
    assert len(body) == BODY_BYTES_MAX
    with expected(hook) as call:
        call.expect_run(RUN)
        assert post(hook.port, call.secret, body) == 204
        assert wait_ends(call, 0)


@pytest.mark.parametrize(
    "start",
    [b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_silent_client_is_disconnected(start: bytes, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "READ_SECONDS", 0.1)
    with expected(hook):
        began = time.monotonic()
        assert b"204" not in responses_to(hook.port, start)
        assert time.monotonic() - began < SOON / 2


def test_a_slow_client_is_disconnected(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "REQUEST_SECONDS", 0.3)
    with expected(hook), socket.create_connection(("127.0.0.1", hook.port), SOON) as connection:
        began = time.monotonic()
        connection.sendall(b"POST / HTTP/1.1\r\nX-Long: ")
        connection.settimeout(0.02)
        open_still = True
        while open_still and time.monotonic() - began < SOON:
            try:
                connection.sendall(b"x")
                open_still = connection.recv(1) != b""
            except TimeoutError:
                continue
            except OSError:
                open_still = False
        assert 0.2 < time.monotonic() - began < SOON / 2


def test_the_number_of_connections_is_limited(hook: Webhook) -> None:
    with expected(hook) as call:
        call.expect_run(RUN)
        others = set(threading.enumerate())

        def hearing() -> int:
            fresh = set(threading.enumerate()) - others
            return sum("process_request_thread" in thread.name for thread in fresh)

        crowd = [socket.create_connection(("127.0.0.1", hook.port), SOON) for _ in range(CONNECTIONS_MAX)]
        wait_until(lambda: hearing() == CONNECTIONS_MAX)
        assert responses_to(hook.port, b"") == b""
        assert hearing() == CONNECTIONS_MAX
        for one in crowd:
            one.close()
        wait_until(lambda: hearing() == 0)
        assert post(hook.port, call.secret, body_for(RUN)) == 204


def heard(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


def test_it_listens_from_the_first_job_to_the_last(hook: Webhook) -> None:
    assert not hook.listening
    first, second = expected(hook), expected(hook)
    port = hook.port
    assert heard(port)
    first.close()
    first.close()
    assert hook.listening
    assert heard(port)
    second.close()
    assert not hook.listening
    assert not heard(port)
    with expected(hook) as third:
        # The same port as before, since the tunnel forwards to it.
        assert hook.port == port
        third.expect_run(RUN)
        assert post(port, first.secret, body_for(RUN)) == 403
        assert post(port, third.secret, body_for(RUN)) == 204


def test_it_stops_with_the_addon(hook: Webhook) -> None:
    call = expected(hook)
    call.expect_run(RUN)
    for _ in range(2):
        hook.stop()
        assert not heard(hook.port)
        assert hook.expect() is None
        assert not heard(hook.port)
    assert wait_ends(call), "nobody waits for a call that will not come"
    call.close()


def test_a_stopped_webhook_expects_no_call() -> None:
    hook = Webhook(WebhookConfig("http://10.0.0.1/a", -1))
    hook.stop()
    assert hook.expect() is None


@pytest.mark.parametrize("_round", range(10))
def test_no_job_opens_the_port_after_the_stop(_round: int, hook: Webhook) -> None:
    """Runs that are created while the webhook is stopped must not open its port again."""
    ordering, stopping = [threading.Event() for _ in range(8)], threading.Event()

    def job(begun: threading.Event) -> None:
        while call := hook.expect():
            begun.set()
            if not stopping.is_set():
                call.close()

    jobs = [threading.Thread(target=job, args=(begun,)) for begun in ordering]
    with expected(hook):
        for one in jobs:
            one.start()
        assert all(begun.wait(SOON) for begun in ordering)
        stopping.set()
        hook.stop()
        assert not hook.listening
    for one in jobs:
        one.join(SOON)
        assert not one.is_alive()
    assert not hook.listening
    assert not heard(hook.port)


def test_the_next_webhook_can_use_the_port_at_once(hook: Webhook) -> None:
    """A new public URL with the same port, while calls are expected, one is being received and one was just answered."""
    waiting, answered = expected(hook), expected(hook)
    answered.expect_run(RUN)
    with socket.create_connection(("127.0.0.1", hook.port), SOON) as speaking:
        speaking.sendall(b"POST /mmaudio HTTP/1.1\r\nContent-Length: 9\r\n")
        assert post(hook.port, answered.secret, body_for(RUN)) == 204
        hook.stop()
        other = Webhook(WebhookConfig(f"https://{HOST}/other", hook.port))
        with expected(other) as call:
            call.expect_run(RUN)
            waiting.close()
            answered.close()
            assert post(other.port, answered.secret, body_for(RUN)) == 403
            assert post(other.port, call.secret, body_for(RUN)) == 204
            assert wait_ends(call)


def test_jobs_may_come_and_go_at_the_same_time(hook: Webhook) -> None:
    statuses: list[int] = []

    def job(number: int) -> None:
        for round_ in range(5):
            with expected(hook) as call:
                run = f"run-{number}-{round_}"
                call.expect_run(run)
                statuses.append(post(hook.port, call.secret, body_for(run)))
                assert wait_ends(call)
                statuses.append(0)

    jobs = [threading.Thread(target=job, args=(number,)) for number in range(6)]
    for one in jobs:
        one.start()
    for one in jobs:
        one.join(60)
    assert (statuses.count(204), statuses.count(0)) == (30, 30)
    assert not hook.listening


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="only Linux hears all of 127.0.0.0/8 on a wildcard address")
def test_it_listens_on_loopback_only(hook: Webhook) -> None:
    with expected(hook):
        assert heard(hook.port)
        assert not heard(hook.port, "127.0.0.2")


def test_a_port_in_use_is_reported(hook: Webhook) -> None:
    with expected(hook):
        other = Webhook(WebhookConfig(PUBLIC, hook.port))
        with pytest.raises(Failure) as raised:
            expected(other)
        assert raised.value.code == "webhook_port"
        assert str(hook.port) in raised.value.message
        assert "another port" in raised.value.hint
        assert not other.listening
    with expected(other):
        assert other.listening


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_invalid_port_is_rejected(port: int) -> None:
    with pytest.raises(Failure, match=f"The port {port} is invalid"):
        Webhook(WebhookConfig(PUBLIC, port)).expect()


@pytest.mark.parametrize("url", ["", "http://hook.example", "https://localhost/a", "https://127.0.0.1:8787", "hook.example"])
def test_the_public_url_must_be_public(url: str) -> None:
    with pytest.raises(Failure) as raised:
        Webhook(WebhookConfig(url, 0)).expect()
    assert (raised.value.code, "webhook" in raised.value.hint) == ("unsafe_url", True)


@pytest.fixture
def reachable_call(hook: Webhook, double: Double) -> Iterator[Call]:
    """Expected call that the double can send, as through the user's tunnel."""
    with expected(hook) as call:
        double.set_outbound(tunnels={HOST: hook.port})
        yield call


def calls_of(double: Double) -> list[int]:
    return [call["status"] for call in double.state()["webhook_calls"]]


def test_a_call_is_followed_by_a_poll(reachable_call: Call, service: Service, double: Double, video: str) -> None:
    run = service.start_run(fields(video), webhook=reachable_call.fields)
    reachable_call.expect_run(run)
    assert wait_ends(reachable_call)
    seen = service.poll(run)
    assert (seen.status, seen.output_url is not None) == ("success", True)
    wait_until(lambda: calls_of(double) == [204])
    assert double.state()["violations"] == []


@pytest.mark.parametrize(
    ("order", "wakes", "statuses"),
    [
        ({"do": "twice"}, True, [204, 204]),
        ({"do": "late", "seconds": 0.3}, True, [204]),
        ({"do": "newest"}, True, [204]),
        ({"do": "early"}, True, [204, 204]),
        ({"do": "wrong_secret"}, False, [403, 403, 403]),
        ({"do": "unknown_run"}, False, [404, 404, 404]),
        ({"do": "never"}, False, []),
    ],
    ids=lambda value: value["do"] if isinstance(value, dict) else "",
)
def test_the_run_is_fetched_after_every_form_of_call(
    *,
    order: dict[str, object],
    wakes: bool,
    statuses: list[int],
    reachable_call: Call,
    service: Service,
    double: Double,
    video: str,
) -> None:
    double.inject("webhook", **order)  # pyright: ignore[reportArgumentType]  # as given
    run = service.start_run(fields(video), webhook=reachable_call.fields)
    reachable_call.expect_run(run)
    assert wait_for_success(service, run).output_url is not None
    wait_until(lambda: len(calls_of(double)) == len(statuses))
    assert calls_of(double) == statuses
    assert wait_ends(reachable_call, SOON if wakes else 0) is wakes


def test_a_failed_run_calls_too_and_a_cancelled_one_does_not(
    reachable_call: Call, service: Service, double: Double, video: str
) -> None:
    double.set(run_seconds=0.4)
    run = service.start_run(fields(video), webhook=reachable_call.fields)
    service.cancel(run)
    double.set(run_seconds=0.05)
    double.inject("run", "fail", reason="out of memory")
    failed = service.start_run(fields(video), webhook=reachable_call.fields)
    reachable_call.expect_run(failed)
    assert wait_ends(reachable_call)
    assert service.poll(failed).status == "error"
    # The double notes a call when it has the response to it.
    wait_until(lambda: bool(double.state()["webhook_calls"]))
    assert {call["run"] for call in double.state()["webhook_calls"]} == {failed}


def test_a_call_that_is_not_received_is_sent_three_times(
    hook: Webhook, service: Service, double: Double, video: str
) -> None:
    with expected(hook) as call:
        double.set_outbound(tunnels={HOST: hook.port})
    assert not hook.listening
    run = service.start_run(fields(video), webhook=call.fields)
    assert wait_for_success(service, run).output_url is not None
    wait_until(lambda: calls_of(double) == [0, 0, 0])


@pytest.mark.parametrize("url", ["http://hook.studio.example", "https://localhost:8787/a", "https://127.0.0.1", "nowhere"])
def test_the_double_rejects_urls_that_the_service_could_not_call(url: str, service: Service, video: str) -> None:
    with pytest.raises(Failure) as raised:
        service.start_run(fields(video), webhook={"webhook_url": url, "webhook_secret": "s"})
    assert (raised.value.code, "webhook_url" in raised.value.message) == ("invalid_input", True)


def test_the_secret_is_never_shown(
    *, reachable_call: Call, hook: Webhook, service: Service, double: Double, video: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    double.respond("create", {"error": f"no webhook with {reachable_call.secret}"}, 400)
    with pytest.raises(Failure) as raised:
        service.start_run(fields(video), webhook=reachable_call.fields)
    assert "no webhook with [key]" in raised.value.message
    run = service.start_run(fields(video), webhook=reachable_call.fields)
    reachable_call.expect_run(run)
    assert wait_ends(reachable_call)
    logs = "\n".join(f"{record.getMessage()} {record.args!r}" for record in caplog.records)
    assert reachable_call.secret not in f"{hook!r} {reachable_call!r} {service!r} {raised.value!r} {logs}"
    assert double.requests("POST", "/v1/prediction")
