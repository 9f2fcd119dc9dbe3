# SPDX-License-Identifier: GPL-3.0-or-later
"""Predictions at Eachlabs, and what its errors mean. No bpy.

The brief and the vendor's newest documentation differ in places (the key's header, the words for a status, the
shape of errors and outputs); both are accepted.
"""

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

from ...failure import Failure
from ..net.addresses import check_url, is_loopback, redact
from ..net.errors import TemporaryFailure
from ..net.trailing_slash import redirects_by_slash, toggle_slash
from ..net.transport import STAGE_SECONDS, Response, Transport
from . import mmaudio
from .executions import is_listed
from .responses import Prediction, error_text, is_same, json_object, prediction_of, request_id

BASE_URL = "https://api.eachlabs.ai"
KEYS_URL = "https://www.eachlabs.ai/dashboard/api-keys"

# The brief's; the vendor's documentation has it without the slash.
_CREATE_PATH = "/v1/prediction/"
_create_paths: dict[str, str] = {}
"""Base URL -> path of the latest create that succeeded there, for all clients of this process."""

_SET_KEY = "Set the key in Preferences > Add-ons > MMAudio for the Sequencer."

# Status -> (code, what happened, what to do). What is not here falls to `_failure`.
_ERRORS = {
    400: ("invalid_input", "Eachlabs refused the request as invalid", "Change the settings named here and generate again."),
    401: ("bad_key", "Eachlabs did not accept the API key", _SET_KEY),
    402: ("balance", "The balance at Eachlabs is too low for this run", "Add credit at eachlabs.ai, then retry."),
    403: ("bad_key", "Eachlabs does not allow this API key to do that", _SET_KEY),
    404: ("not_found", "Eachlabs does not know the model or run", "Check the service's address in the preferences."),
    413: ("too_large", "The clip is larger than Eachlabs accepts", "Shorten the strip."),
}
_UNEXPECTED = ("bad_answer", "Eachlabs gave an unexpected answer", "Retry in a while.")

# A created run shows up in the list of executions after a moment: how long to wait before each look for it, in seconds. Over
# half a minute, growing apart: a lost answer is rare, and a run that is paid for twice is worse than the wait.
_SETTLE_SECONDS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0)
_CREATE_ATTEMPTS = 6
# A 429 creates nothing and says that one has to wait: it doesn't count as an attempt, and time alone bounds how often it
# may come. Whoever else uses the key, on another machine, may have all its places for as long as a batch takes.
REFUSED_SECONDS = 15 * 60.0
# A service's clocks need not agree to the second.
_CLOCK_SECONDS = 60.0
# The list of executions comes in pages; in a minute a key can start a hundred runs, and an organization has several keys.
_PAGE = 100
_PAGES_MAX = 10


class Turn(Protocol):
    """A place in the line of those who want a run created."""

    def creating(self) -> AbstractContextManager[None]:
        """Around each call that creates the run; waits until it may be sent."""
        ...

    def refused(self, said: str, after: float) -> None:
        """The service would not: `said` is why, `after` for how many seconds it wants to be left alone."""
        ...


class RateLimited(TemporaryFailure):
    """Too many runs, or too many created a minute: nothing was created."""

    def __init__(self, message: str, said: str, after: float) -> None:
        super().__init__("rate_limited", message, "Retry when other runs have ended.", sent=False, after=after)
        self.said = said


class KeyAuth(AuthBase):
    """The key, in both headers that the service has asked for. Used for the API's host alone."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        r.headers["X-API-Key"] = self._key
        r.headers["Authorization"] = f"Bearer {self._key}"
        return r


def check_base_url(base_url: str) -> None:
    """Raises Failure unless `base_url` is https, also to the local network, or plain http to this machine."""
    check_url(base_url, loopback_allowed=True, private_allowed=True)


class Eachlabs:
    """A client for one job: one key, one base URL, one transport."""

    def __init__(self, key: str, base_url: str, transport: Transport) -> None:
        check_base_url(base_url)
        self._key = key
        self._base = base_url.rstrip("/")
        self._transport = transport
        self._secrets = [key]
        self._ahead = 0.0
        self.unsettled = False
        """Whether the answer to the latest create was lost, and whether it has started a run is not known."""

    def create(
        self,
        fields: Mapping[str, str | int | float],
        superseded_ids: Collection[str] = (),
        *,
        turn: Turn | None = None,
        check: Callable[[], None] = lambda: None,
        webhook: Mapping[str, str] | None = None,
    ) -> str:
        """Starts a run, exactly one, and returns its id.

        fields   the model's `input`
        spent    see `find_run`
        turn     waits until one more may be created, before each time it is asked for
        check    called when that wait is over; raises Failure where the run is not to be created any more
        webhook  `Call.fields`, for the service to call back
        """
        began = time.time()
        self.unsettled = False
        patient_until = self._transport.now() + REFUSED_SECONDS
        order = {"model": mmaudio.MODEL, "version": mmaudio.VERSION, "input": dict(fields), **(webhook or {})}
        self._secrets += [webhook["webhook_secret"]] if webhook else []

        def post(path: str) -> Response:
            with turn.creating() if turn else contextlib.nullcontext():
                check()
                return self._send("POST", path, order, cancellable=False)

        def ask() -> str:
            try:
                return self._create_once(post)
            except RateLimited as refused:
                if turn:
                    turn.refused(refused.said, refused.after)
                raise
            except TemporaryFailure as fault:
                self.unsettled = fault.sent
                started = self.find_run(fields, began, superseded_ids) if fault.sent else None
                self.unsettled = False
                if started is None:
                    raise
                return started

        def attempt() -> str:
            left = patient_until - self._transport.now()
            try:
                return self._transport.retry(ask, of=RateLimited, attempts=math.inf, seconds=left)
            except RateLimited as refused:
                raise Failure(refused.code, refused.message, refused.hint) from None

        return self._transport.retry(attempt, attempts=_CREATE_ATTEMPTS, seconds=REFUSED_SECONDS + STAGE_SECONDS)

    def get(self, prediction_id: str) -> Prediction:
        """The run as it is now. One that has just been created may not be known everywhere yet: it is asked for again."""

        def ask() -> dict[str, Any]:
            try:
                return self.call_once("GET", f"/v1/prediction/{quote(prediction_id, safe='')}")
            except Failure as failure:
                if failure.code != "not_found":
                    raise
                raise TemporaryFailure(failure.code, failure.message, failure.hint) from None

        return prediction_of(prediction_id, self._transport.retry(ask), self._secrets)

    def cancel(self, prediction_id: str) -> None:
        """Asks for the run's end. Best effort: it may still finish, and may be billed."""
        self.call("POST", f"/v1/prediction/{quote(prediction_id, safe='')}/cancel")

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """A call that may safely be repeated, tried a few times; see `call_once`."""
        return self._transport.retry(lambda: self.call_once(method, path, body))

    def call_once(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One call; returns the answer's JSON object, {} for an empty one. Raises TryAgain, Failure, Cancelled.

        Follows a redirect once if its URL differs by the trailing slash alone, with the same method, body and key. Follows
        no other redirect.
        """
        response = self._send(method, path, body)
        if redirects_by_slash(response, self._base + path):
            path = toggle_slash(path)
            response = self._send(method, path, body)
        return self._read(response, path)

    def _create_once(self, post: Callable[[str], Response]) -> str:
        """Creates a run by one `post` to the create path, and a second to its other form if the server asks for that one.

        A redirect by the slash, a 404 and a 405 create nothing, so the second request can't create a second run.
        """
        path = _create_paths.get(self._base, _CREATE_PATH)
        response = post(path)
        redirected = redirects_by_slash(response, self._base + path)
        if redirected or response.status in (404, 405):
            other = toggle_slash(path)
            second = post(other)
            unknown = second.status in (404, 405) or redirects_by_slash(second, self._base + other)
            # If neither form is known, the path is not what is wrong: the first answer says what is, such as the model.
            if redirected or not unknown:
                path, response = other, second
        created = self._read(response, path)
        prediction_id = created.get("predictionID") or created.get("id")
        if not isinstance(prediction_id, str) or not prediction_id:
            raise TemporaryFailure("bad_answer", "Eachlabs started a run without telling its number.", "Retry in a while.")
        _create_paths[self._base] = path
        return prediction_id

    def _send(self, method: str, path: str, body: object = None, *, cancellable: bool = True) -> Response:
        url = self._base + path
        auth = KeyAuth(self._key)
        response = self._transport.send(method, url, auth=auth, json=body, cancellable=cancellable, private_allowed=True)
        self._heed_clock(response.headers)
        return response

    def _read(self, response: Response, path: str) -> dict[str, Any]:
        if 200 <= response.status < 300:
            return json_object(response, path)
        raise self._failure(response)

    def find_run(
        self, fields: Mapping[str, str | int | float], since: float, superseded_ids: Collection[str] = ()
    ) -> str | None:
        """Finds the run that a lost answer may have started: by its video, which no other job has, and its seed, which no
        other take of it has. `since` in seconds since the epoch; runs that are known to be `spent` don't count.
        """
        try:
            for seconds in _SETTLE_SECONDS:
                self._transport.wait(seconds)
                for candidate in self._executions(since - _CLOCK_SECONDS):
                    if candidate in superseded_ids:
                        continue
                    sent = self.call("GET", f"/v1/prediction/{quote(candidate, safe='')}").get("input")
                    if isinstance(sent, dict) and is_same(sent, fields):
                        return candidate
        except Failure as fault:
            raise Failure(
                "unsettled",
                f"The answer to the start of the run was lost, and whether it runs could not be found out: {fault.message}",
                "Look at the runs on the Eachlabs dashboard before you retry, since it may be billed.",
            ) from None
        return None

    def lists_run(self, prediction_id: str, since: float, until: float) -> bool:
        """Whether the list of executions has the run, created between these times. Raises Failure if it can't be read."""
        return is_listed(prediction_id, lambda path: self.call("GET", path), since + self._ahead, until + self._ahead)

    def _executions(self, since: float) -> Iterator[str]:
        """The numbers of the runs that the whole organization has started since then, newest first."""
        start = datetime.fromtimestamp(since + self._ahead, UTC).isoformat(timespec="seconds")
        for page in range(_PAGES_MAX):
            query = {"model": mmaudio.MODEL, "from": start, "limit": _PAGE, "offset": page * _PAGE}
            rows = self.call("GET", f"/v1/executions?{urlencode(query)}").get("executions")
            rows = rows if isinstance(rows, list) else []
            for row in rows:
                run = row.get("id") if isinstance(row, dict) else None
                if isinstance(run, str) and run:
                    yield run
            if len(rows) < _PAGE:
                return

    def _heed_clock(self, headers: Mapping[str, str]) -> None:
        """Notes by how many seconds the service's clock is ahead of this machine's, which may be hours off."""
        with contextlib.suppress(TypeError, ValueError):
            self._ahead = parsedate_to_datetime(headers.get("Date", "")).timestamp() - time.time()

    def _failure(self, response: Response) -> Failure:
        told = error_text(response, *self._secrets)
        tail = f": {told}" if told else ""
        tail += redact(f" (HTTP {response.status}{request_id(response)}).", *self._secrets)
        if response.status == 429:
            text = f"Eachlabs has too many runs of this key under way{tail}"
            # The one refusal that promises that nothing was created.
            return RateLimited(text, told, response.retry_after)
        if response.status == 409:
            text = f"Eachlabs is not yet done with this file{tail}"
            return TemporaryFailure("busy", text, "Retry in a while.", sent=False, after=response.retry_after)
        if response.status >= 500:
            text = f"Eachlabs has trouble of its own{tail}"
            hint = "Nothing is wrong with the strip: retry in a while."
            return TemporaryFailure("service_down", text, hint, after=response.retry_after)
        code, what, hint = _ERRORS.get(response.status, _UNEXPECTED)
        return Failure(code, what + tail, hint)


def is_local(base_url: str) -> bool:
    """Whether the service is this machine itself, as in tests; only then may anything else be plain http."""
    return is_loopback(urlsplit(base_url).hostname or "")
