# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of the Eachlabs API: one HTTP request for each call. No bpy.

The brief and the vendor's newest documentation differ in places (the header of the key, the form of the create URL, the
names of statuses, the shape of errors and outputs); both are accepted.
"""

import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

from ...failure import Failure
from ..net.addresses import check_url, is_loopback
from ..net.errors import TemporaryInvalidResponse
from ..net.response import Response
from ..net.transport import Transport
from . import mmaudio
from .errors import failure_of
from .responses import Prediction, json_object, prediction_of
from .trailing_slash import redirects_by_slash, toggle_slash

BASE_URL = "https://api.eachlabs.ai"
SITE_URL = "https://www.eachlabs.ai"
DASHBOARD_URL = f"{SITE_URL}/dashboard"
KEYS_URL = f"{DASHBOARD_URL}/api-keys"

# The brief's; the vendor's documentation has it without the slash.
_CREATE_PATH = "/v1/prediction/"

CreatePaths = MutableMapping[str, str]
"""Base URL to the path of the latest successful create call there. Shared by the clients of all jobs."""


class UnknownCreatePath(Exception):
    """The service knows the create URL only in its other form. Nothing was created."""

    def __init__(self, failure: Failure, *, redirects: bool) -> None:
        """`redirects`: the response redirects to the other form, so the path is certainly the cause."""
        super().__init__(failure.message)
        self.failure = failure
        self.redirects = redirects


class KeyAuth(AuthBase):
    """Authentication with the API key, in both headers that the service has used. For the host of the API only."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        r.headers["X-API-Key"] = self._key
        r.headers["Authorization"] = f"Bearer {self._key}"
        return r


def check_base_url(base_url: str) -> None:
    """Raise UnsafeUrl unless `base_url` is https, which may be in the local network, or plain http to this machine."""
    check_url(base_url, loopback_allowed=True, private_allowed=True)


def is_local(base_url: str) -> bool:
    """Return whether the service runs on this machine, as in tests. Only then may other URLs be plain http."""
    return is_loopback(urlsplit(base_url).hostname or "")


class EachlabsClient:
    """Client with one key and one base URL, for one thread. All methods raise TemporaryFailure, Failure, Cancelled."""

    def __init__(self, key: str, base_url: str, transport: Transport, create_paths: CreatePaths | None = None) -> None:
        check_base_url(base_url)
        self._key = key
        self._base = base_url.rstrip("/")
        self._transport = transport
        self._secrets = [key]
        self._create_paths = {} if create_paths is None else create_paths
        self._clock_ahead = 0.0
        """Seconds by which the service's clock is ahead of this machine's, which may be wrong by hours."""

    @property
    def create_paths(self) -> tuple[str, str]:
        """Create path in the form that worked last, then in the other form."""
        path = self._create_paths.get(self._base, _CREATE_PATH)
        return path, toggle_slash(path)

    def create(self, path: str, run_input: Mapping[str, Any], webhook: Mapping[str, str] | None = None) -> str:
        """Create a run by a POST request to one of the `create_paths`, and return its id. A cancel doesn't interrupt it.

        `webhook` has the fields of a `Call`. Raise UnknownCreatePath for a redirect by the trailing slash, a 404 and a
        405, which create nothing.
        """
        body = {"model": mmaudio.MODEL, "version": mmaudio.VERSION, "input": dict(run_input), **(webhook or {})}
        self._secrets += [webhook["webhook_secret"]] if webhook else []
        response = self._send("POST", path, body, cancellable=False)
        redirects = redirects_by_slash(response, self._base + path)
        if redirects or response.status in (404, 405):
            raise UnknownCreatePath(failure_of(response, self._secrets), redirects=redirects)
        created = self._read(response, path)
        prediction_id = created.get("predictionID") or created.get("id")
        if not isinstance(prediction_id, str) or not prediction_id:
            raise TemporaryInvalidResponse("Eachlabs started a run, but did not return its id.")
        self._create_paths[self._base] = path
        return prediction_id

    def get(self, prediction_id: str) -> Prediction:
        return prediction_of(prediction_id, self.call("GET", _path_of(prediction_id)), self._secrets)

    def input_of(self, prediction_id: str) -> object:
        """Return the `input` that a run was created with."""
        return self.call("GET", _path_of(prediction_id)).get("input")

    def cancel(self, prediction_id: str) -> None:
        """Request the run's cancellation. It may finish nevertheless, and may be billed."""
        self.call("POST", f"{_path_of(prediction_id)}/cancel")

    def executions(self, since: float, until: float | None, *, limit: int, offset: int) -> list[str | None]:
        """Return one page of the ids of all runs of the organization, newest first, with None for each invalid one.

        `since` and `until` are in seconds since the epoch, by this machine's clock.
        """
        query: dict[str, str | int] = {"model": mmaudio.MODEL, "from": self._rfc3339(since), "limit": limit}
        if until is not None:
            query["to"] = self._rfc3339(until)
        rows = self.call("GET", f"/v1/executions?{urlencode({**query, 'offset': offset})}").get("executions")
        ids = [row.get("id") if isinstance(row, dict) else None for row in rows] if isinstance(rows, list) else [None]
        return [run_id if isinstance(run_id, str) and run_id else None for run_id in ids]

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request and return the response's JSON object, {} for an empty body.

        A redirect is followed once if its URL differs by the trailing slash alone, with the same method, body and key. No
        other redirect is followed.
        """
        response = self._send(method, path, body)
        if redirects_by_slash(response, self._base + path):
            path = toggle_slash(path)
            response = self._send(method, path, body)
        return self._read(response, path)

    def _send(self, method: str, path: str, body: object, *, cancellable: bool = True) -> Response:
        response = self._transport.send(
            method,
            self._base + path,
            auth=KeyAuth(self._key),
            json=body,
            cancellable=cancellable,
            private_allowed=True,
        )
        if response.date is not None:
            self._clock_ahead = response.date - time.time()
        return response

    def _read(self, response: Response, path: str) -> dict[str, Any]:
        if 200 <= response.status < 300:
            return json_object(response, path)
        raise failure_of(response, self._secrets)

    def _rfc3339(self, seconds: float) -> str:
        """Convert a time of this machine's clock to the service's clock, and format it."""
        return datetime.fromtimestamp(seconds + self._clock_ahead, UTC).isoformat(timespec="seconds")


def _path_of(prediction_id: str) -> str:
    return f"/v1/prediction/{quote(prediction_id, safe='')}"
