# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that the double is as strict as the service: it rejects what eachlabs-api.md says is rejected."""

import http.client
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.standin.server import openapi_file

from .helpers import Double, wait_until

Call = Callable[..., requests.Response]
PRESIGN = {"content_type": "video/mp4", "file_type": "video", "expires_in_seconds": 3600}


@pytest.fixture
def api(double: Double) -> Call:
    """Send a request with the key in both headers."""

    def call(method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> requests.Response:
        key = {"X-API-Key": double.key, "Authorization": f"Bearer {double.key}"}
        sent = key if headers is None else headers
        return requests.request(method, double.base_url + path, json=body, headers=sent, timeout=10)

    return call


@pytest.fixture
def ticket(api: Call) -> dict[str, Any]:
    """Request an upload URL."""
    return api("POST", "/v1/upload/presign", PRESIGN).json()


def required(ticket: dict[str, Any]) -> dict[str, str]:
    return {**ticket["required_headers"], "Content-Type": "video/mp4"}


def put(ticket: dict[str, Any], data: object, **changes: str | None) -> requests.Response:
    """Upload. `changes` replace headers by name, with _ for -, or remove them."""
    headers = {name.lower(): value for name, value in required(ticket).items()}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}  # type: ignore[dict-item]
    kept = {name: value for name, value in headers.items() if value is not None}
    return requests.put(ticket["presigned_url"], data=data, headers=kept, timeout=10)  # type: ignore[arg-type]


@pytest.fixture
def stored(ticket: dict[str, Any], clip: Path) -> str:
    """Public URL of a clip in storage."""
    assert put(ticket, clip.read_bytes()).status_code == 200
    return ticket["public_url"]


def requested_at(video: object, **fields: object) -> dict[str, Any]:
    return {"model": "mmaudio", "version": "0.0.1", "input": {"video": video, "seed": 1, **fields}}


@pytest.mark.parametrize("missing", ["X-API-Key", "Authorization", "both", "wrong", "another scheme"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/prediction/"),
        ("GET", "/v1/prediction/run"),
        ("POST", "/v1/prediction/run/cancel"),
        ("POST", "/v1/upload/presign"),
        ("DELETE", "/v1/files/file"),
        ("GET", "/v1/executions"),
    ],
)
def test_requests_without_the_key_are_rejected(missing: str, method: str, path: str, api: Call, double: Double) -> None:
    headers = {"X-API-Key": double.key, "Authorization": f"Bearer {double.key}"}
    headers.pop(missing, None)
    match missing:
        case "both":
            headers = {}
        case "wrong":
            headers = {"X-API-Key": "other", "Authorization": "Bearer other"}
        case "another scheme":
            headers["Authorization"] = double.key
        case _:
            pass
    answer = api(method, path, PRESIGN if method == "POST" else None, headers)
    assert answer.status_code == 401
    assert "key" in answer.json()["error"]
    assert api("GET", "/v1/model?slug=mmaudio", None, {}).json()["slug"] == "mmaudio"


@pytest.mark.parametrize(
    ("video", "reason"),
    [
        ("http://cdn.standin.example/uploads/a.mp4", "public https"),
        ("https://localhost/a.mp4", "public https"),
        ("https://127.0.0.1/a.mp4", "public https"),
        ("https://192.168.0.2/a.mp4", "public https"),
        ("https://[::1]/a.mp4", "public https"),
        ("data:video/mp4;base64,AAAA", "public https"),
        ("file:///clip.mp4", "public https"),
        ("https://cdn.standin.example/uploads/unknown.mp4", "could not be fetched"),
        ("", "required"),
        (7, "wrong type"),
        (None, "wrong type"),
    ],
)
def test_a_video_that_is_not_public_is_refused(video: object, reason: str, api: Call, double: Double) -> None:
    answer = api("POST", "/v1/prediction/", requested_at(video))
    assert answer.status_code == 400
    assert reason in answer.json()["details"]
    assert double.state()["runs"] == []


@pytest.mark.parametrize("state", ["not uploaded", "deleted"])
def test_a_video_that_is_not_there_is_refused(state: str, api: Call, ticket: dict[str, Any], clip: Path) -> None:
    if state == "deleted":
        assert put(ticket, clip.read_bytes()).status_code == 200
        assert api("DELETE", f"/v1/files/{ticket['id']}").status_code == 204
    answer = api("POST", "/v1/prediction/", requested_at(ticket["public_url"]))
    assert (answer.status_code, answer.json()["details"]) == (400, "video could not be fetched")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", 7),
        ("negative_prompt", None),
        ("duration", "8"),
        ("duration", True),
        ("duration", 0),
        ("num_steps", 25.5),
        ("num_steps", 0),
        ("cfg_strength", "4.5"),
        ("seed", 1.0),
        ("seed", "1"),
        ("steps", 25),
    ],
)
def test_a_field_that_is_wrong_or_unknown_is_refused_by_name(field: str, value: object, api: Call, stored: str) -> None:
    answer = api("POST", "/v1/prediction/", requested_at(stored, **{field: value}))
    assert answer.status_code == 400
    assert field in answer.json()["details"] or "positive" in answer.json()["details"]


@pytest.mark.skipif(openapi_file() is None, reason="the vendor's OpenAPI file is not beside this checkout")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/prediction/", {"input": {}}),
        ("/v1/prediction/", {"model": "mmaudio"}),
        ("/v1/prediction/", {"model": 7, "input": {}}),
        ("/v1/upload/presign", {"content_type": "video/mp4", "expires_in_seconds": "3600"}),
        ("/v1/upload/presign", {}),
    ],
)
def test_a_body_against_the_vendors_description_is_refused(path: str, body: object, api: Call) -> None:
    answer = api("POST", path, body)
    assert answer.status_code == 400
    assert "against the OpenAPI file" in answer.json()["error"]


def test_a_body_that_is_no_json_object_is_refused(double: Double, api: Call) -> None:
    key = {"X-API-Key": double.key, "Authorization": f"Bearer {double.key}"}
    for body in ("", "{", "[]"):
        answer = requests.post(f"{double.base_url}/v1/prediction/", data=body, headers=key, timeout=10)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"content_type": "video/quicktime"},
        {"content_type": None},
        {"x_amz_acl": None},
        {"x_amz_acl": "public-read"},
        {"x_amz_meta_file_id": None},
    ],
)
def test_an_upload_without_the_signed_headers_is_refused(
    changes: dict[str, str | None], ticket: dict[str, Any], double: Double
) -> None:
    assert put(ticket, b"clip", **changes).status_code == 403
    assert [upload["live"] for upload in double.state()["uploads"]] == [False]


@pytest.mark.parametrize("change", [lambda url: url[:-1], lambda url: url.split("?")[0], lambda url: url + "&a=b"])
def test_an_upload_with_another_signature_is_refused(change: Callable[[str], str], ticket: dict[str, Any]) -> None:
    assert put({**ticket, "presigned_url": change(ticket["presigned_url"])}, b"clip").status_code == 403


def test_an_upload_of_unknown_length_is_refused(ticket: dict[str, Any]) -> None:
    parts = urlsplit(ticket["presigned_url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    headers = {**required(ticket), "Transfer-Encoding": "chunked"}
    # Only the headers are sent: the response comes before the body, and the connection is then closed.
    connection.putrequest("PUT", f"{parts.path}?{parts.query}")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


@pytest.mark.parametrize("length", [100_000_001, 2**40])
def test_an_upload_of_more_than_100_mb_is_refused_by_its_length(length: int, ticket: dict[str, Any]) -> None:
    parts = urlsplit(ticket["presigned_url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("PUT", f"{parts.path}?{parts.query}", headers={**required(ticket), "Content-Length": str(length)})
    assert connection.getresponse().status == 413
    connection.close()


def test_an_upload_that_broke_off_is_not_live(ticket: dict[str, Any], double: Double) -> None:
    parts = urlsplit(ticket["presigned_url"])
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("PUT", f"{parts.path}?{parts.query}", b"half", {**required(ticket), "Content-Length": "1000"})
    assert connection.sock is not None
    # No more bytes follow; when the double has closed the connection too, it has processed the upload.
    connection.sock.shutdown(socket.SHUT_WR)
    while connection.sock.recv(4096):
        pass
    connection.close()
    assert [upload["live"] for upload in double.state()["uploads"]] == [False]


@pytest.mark.parametrize("credential", ["X-API-Key", "Authorization", "query"])
def test_a_key_at_another_host_is_recorded(credential: str, ticket: dict[str, Any], double: Double) -> None:
    url = ticket["presigned_url"] + (f"&key={double.key}" if credential == "query" else "")
    headers = {} if credential == "query" else {credential: double.key}
    answer = requests.put(url, data=b"clip", headers={**required(ticket), **headers}, timeout=10)
    assert answer.status_code == 400
    assert double.state()["violations"] == [f"credentials were sent with PUT {urlsplit(url).path}"]


def test_a_file_may_be_deleted_twice(api: Call, stored: str, ticket: dict[str, Any], double: Double) -> None:
    statuses = [api("DELETE", f"/v1/files/{ticket['id']}").status_code for _ in range(2)]
    assert statuses == [204, 204]
    assert api("DELETE", f"/v1/files/{uuid.uuid4()}").status_code in (204, 404)
    assert [upload["deleted"] for upload in double.state()["uploads"]] == [True]


def test_an_eleventh_run_at_a_time_is_refused_until_one_has_ended(api: Call, stored: str, double: Double) -> None:
    double.set(run_seconds=10)
    double.inject("run", "fail", times=11)
    runs = [api("POST", "/v1/prediction/", requested_at(stored)).json()["predictionID"] for _ in range(10)]
    refused = api("POST", "/v1/prediction/", requested_at(stored))
    assert refused.status_code == 429
    assert "10 concurrent" in refused.json()["details"]
    assert api("POST", f"/v1/prediction/{runs[0]}/cancel").json()["status"] == "cancelled"
    assert api("GET", f"/v1/prediction/{runs[0]}").json()["status"] == "cancelled"
    assert api("POST", "/v1/prediction/", requested_at(stored)).status_code == 200
    assert len(double.state()["runs"]) == 11
    assert double.state()["peak_concurrent"] == 10


def test_more_than_a_hundred_creates_a_minute_are_refused(api: Call, stored: str, double: Double) -> None:
    double.set(concurrent=1000)
    # They are only counted, so no sound is made.
    double.inject("run", "fail", times=101)
    statuses = [api("POST", "/v1/prediction/", requested_at(stored)).status_code for _ in range(101)]
    assert statuses == [200] * 100 + [429]


@pytest.mark.parametrize(("form", "right", "wrong"), [("slash", "/", ""), ("no slash", "", "/")])
@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 405])
@pytest.mark.parametrize("location", ["absolute", "relative"])
def test_only_one_form_of_the_create_url_is_accepted(
    *, form: str, right: str, wrong: str, status: int, location: str, api: Call, stored: str, double: Double
) -> None:
    double.set(create_form=form, other_form=status, location=location)
    url, key = f"{double.base_url}/v1/prediction", {"X-API-Key": double.key, "Authorization": f"Bearer {double.key}"}
    answer = requests.post(url + wrong, json=requested_at(stored), headers=key, timeout=10, allow_redirects=False)
    target = ("/v1/prediction" if location == "relative" else url) + right
    assert (answer.status_code, answer.headers.get("Location")) == (status, target if status < 400 else None)
    assert double.state()["runs"] == []
    assert api("POST", f"/v1/prediction{right}", requested_at(stored)).status_code == 200


def test_an_unknown_run_or_model_is_not_found(api: Call, stored: str) -> None:
    assert api("GET", "/v1/prediction/unknown").status_code == 404
    assert api("POST", "/v1/prediction/unknown/cancel").status_code == 404
    assert api("POST", "/v1/prediction/", {**requested_at(stored), "model": "other"}).status_code == 404


def test_a_run_goes_through_its_states_to_its_result(api: Call, stored: str, double: Double) -> None:
    double.set(run_seconds=0.3)
    run = api("POST", "/v1/prediction/", requested_at(stored, duration=1.28)).json()["predictionID"]
    seen: list[dict[str, Any]] = []

    def ended() -> bool:
        seen.append(api("GET", f"/v1/prediction/{run}").json())
        return seen[-1]["status"] in ("success", "error")

    wait_until(ended)
    assert list(dict.fromkeys(body["status"] for body in seen)) == ["created", "starting", "processing", "success"]
    assert {body["output"] for body in seen[:-1]} == {""}
    assert seen[-1]["input"]["video"] == stored
    assert requests.get(seen[-1]["output"], timeout=10).content[4:8] == b"ftyp"
    (row,) = api("GET", "/v1/executions?model=mmaudio&limit=100").json()["executions"]
    assert (row["id"], row["status"], "input" in row) == (run, "success", False)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=many", "from=yesterday", "from=2026-01-01T00:00:00", "from=1767225600"]
)
def test_a_list_of_runs_with_a_wrong_question_is_refused(query: str, api: Call) -> None:
    assert api("GET", f"/v1/executions?{query}").status_code == 400


def test_a_list_of_runs_is_the_newest_of_those_asked_for(api: Call, stored: str) -> None:
    runs = [api("POST", "/v1/prediction/", requested_at(stored)).json()["predictionID"] for _ in range(3)]
    rows = api("GET", "/v1/executions?limit=2&from=2026-01-01T00:00:00Z").json()["executions"]
    assert [row["id"] for row in rows] == [runs[2], runs[1]]
    assert api("GET", "/v1/executions?from=2100-01-01T00:00:00Z").json()["executions"] == []
    assert api("GET", "/v1/executions?model=other").json()["executions"] == []
