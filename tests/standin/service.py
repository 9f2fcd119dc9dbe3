# SPDX-License-Identifier: GPL-3.0-or-later
"""Logic of the double, without HTTP: uploads, runs, limits and validation. Raises ErrorResponse for what is rejected."""

import json
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import model
from .outbound import Outbound, is_public

MODEL = "mmaudio"
PUBLIC_HOST = "cdn.standin.example"
PRESIGNED_URL_SECONDS = 15 * 60
BYTES_MAX = 100_000_000
CREATES_PER_MINUTE = 100
PRICE = 0.00108
"""US dollars per second of a run."""

_FIELDS: dict[str, tuple[type, ...]] = {
    "video": (str,),
    "prompt": (str,),
    "negative_prompt": (str,),
    "duration": (int, float),
    "num_steps": (int,),
    "cfg_strength": (int, float),
    "seed": (int,),
}


class ErrorResponse(Exception):
    """Error response; with `body` None, one without a body."""

    def __init__(self, status: int, body: dict[str, Any] | None, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


@dataclass
class Upload:
    """File that was announced by a presign call."""

    id: str
    signature: str
    content_type: str
    headers: dict[str, str]
    issued: float
    """Unix time."""
    lifetime: int
    """Seconds."""
    path: Path
    live: bool = False
    """Uploaded and not deleted."""
    deleted: bool = False

    @property
    def url(self) -> str:
        return f"https://{PUBLIC_HOST}/uploads/{self.id}.mp4"


@dataclass
class Run:
    """Run of the model."""

    id: str
    input: dict[str, Any]
    started: float
    """Unix time."""
    created_at: str
    status: str = "created"
    seconds: float = 0.0
    """Duration of the run."""
    result: Path | None = None
    reason: str = ""
    """Reason of the failure."""
    clip: dict[str, Any] = field(default_factory=dict)
    """Properties of the clip that was fetched, from `model.describe`."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    webhook_url: str = ""
    webhook_secret: str = ""
    webhook_faults: list[dict[str, Any]] = field(default_factory=list)

    @property
    def active(self) -> bool:
        return self.status in ("created", "starting", "processing")


class Service:
    """State of the service; tests set some of its attributes through the control interface."""

    def __init__(self, folder: Path, key: str, *, run_seconds: float, concurrent: int) -> None:
        self.key = key
        self.run_seconds = run_seconds
        self.concurrent = concurrent
        self.files_url = ""
        self.api_url = ""
        self.uploads: dict[str, Upload] = {}
        self.runs: dict[str, Run] = {}
        self.peak_concurrent = 0
        self.refused = 0
        """Create calls that got a 429 for a limit."""
        # Some web frameworks accept only one form of a path: "slash" or "no slash". The other form gets the status
        # `other_form` (404, 405, 301, 302, 307 or 308); the Location of a redirect is "absolute" or "relative".
        self.create_form = "slash"
        self.other_form = 404
        self.location = "absolute"
        self.cancelled: list[str] = []
        self.violations: list[str] = []
        self.outbound = Outbound()
        self._folder = folder
        self.minute = 60.0
        """Seconds in which CREATES_PER_MINUTE runs may be created. Shorter for an add-on with a faster clock."""
        self._creates: list[float] = []
        self._lock = threading.Lock()

    def presign(self, body: dict[str, Any]) -> dict[str, Any]:
        content_type = body.get("content_type")
        lifetime = body.get("expires_in_seconds", 180 * 24 * 3600)
        if not isinstance(content_type, str) or "/" not in content_type:
            raise ErrorResponse(400, {"error": "content_type is required"})
        if not isinstance(lifetime, int) or isinstance(lifetime, bool):
            raise ErrorResponse(400, {"error": "expires_in_seconds must be an integer"})
        if body.get("file_type", "video") not in ("image", "video", "audio", "other"):
            raise ErrorResponse(400, {"error": "invalid file_type"})
        lifetime = min(max(lifetime, 60), 365 * 24 * 3600)
        file_id = str(uuid.uuid4())
        upload = Upload(
            id=file_id,
            signature=secrets.token_hex(16),
            content_type=content_type,
            headers={"x-amz-meta-file-id": file_id, "x-amz-acl": "private"},
            issued=time.time(),
            lifetime=lifetime,
            path=self._folder / f"{file_id}.mp4",
        )
        self.uploads[file_id] = upload
        return {
            "id": file_id,
            "presigned_url": f"{self.files_url}/put/{file_id}?X-Amz-Signature={upload.signature}",
            "public_url": upload.url,
            "expires_at": datetime.fromtimestamp(upload.issued + lifetime, UTC).isoformat(),
            "required_headers": upload.headers,
        }

    def put(self, file_id: str, query: str, headers: dict[str, str], body: bytes) -> None:
        upload = self.uploads.get(file_id)
        if upload is None or upload.deleted or query != f"X-Amz-Signature={upload.signature}":
            raise ErrorResponse(403, {"error": "SignatureDoesNotMatch"})
        if time.time() - upload.issued > PRESIGNED_URL_SECONDS:
            raise ErrorResponse(403, {"error": "Request has expired"})
        required = {**upload.headers, "content-type": upload.content_type}
        if any(headers.get(name) != value for name, value in required.items()):
            raise ErrorResponse(403, {"error": "a signed header is missing or differs"})
        if len(body) > BYTES_MAX:
            raise ErrorResponse(413, {"error": "EntityTooLarge"})
        upload.path.write_bytes(body)
        upload.live = True

    def delete(self, file_id: str) -> None:
        try:
            uuid.UUID(file_id)
        except ValueError:
            raise ErrorResponse(400, {"error": "id must be a uuid"}) from None
        upload = self.uploads.get(file_id)
        if upload is not None:
            upload.live = False
            upload.deleted = True
            upload.path.unlink(missing_ok=True)

    def create(
        self, body: dict[str, Any], run_faults: list[dict[str, Any]], webhook_faults: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Create a run, with the faults of `Faults` for the run and for its webhook."""
        if body.get("model") != MODEL:
            raise ErrorResponse(404, {"error": "model not found"})
        fields = body.get("input")
        if not isinstance(fields, dict):
            raise ErrorResponse(400, {"error": "input is required"})
        self._check_fields(fields)
        webhook_url, webhook_secret = body.get("webhook_url", ""), body.get("webhook_secret", "")
        if webhook_url and not (is_public(webhook_url) and isinstance(webhook_secret, str)):
            raise ErrorResponse(
                400, {"status": 400, "error": "invalid input", "details": "webhook_url must be a public https URL"}
            )
        with self._lock:
            try:
                self._check_limits()
            except ErrorResponse:
                self.refused += 1
                raise
            run = Run(uuid.uuid4().hex, fields, time.time(), datetime.now(UTC).isoformat(), faults=run_faults)
            run.webhook_url, run.webhook_secret, run.webhook_faults = webhook_url, webhook_secret, webhook_faults or []
            self.runs[run.id] = run
            self.peak_concurrent = max(self.peak_concurrent, self._active_runs())
        if any(fault["do"] == "early" for fault in run.webhook_faults):
            self.outbound.call(run.webhook_url, run.webhook_secret, run.id, _webhook_body(run, self.files_url))
        threading.Thread(target=self._run_to_end, args=(run,), daemon=True).start()
        return {"status": "success", "message": "Prediction created successfully", "predictionID": run.id}

    def get(self, run_id: str) -> dict[str, Any]:
        run = self._run(run_id)
        fault = next((fault for fault in run.faults if fault["do"] == "respond"), None)
        if fault is not None:
            return {"id": run.id, "predictionID": run.id, "input": run.input, **fault["body"]}
        body: dict[str, Any] = {
            "id": run.id,
            "predictionID": run.id,
            "input": run.input,
            "status": run.status,
            "output": f"{self.files_url}/outputs/{run.id}.mp4" if run.status == "success" else "",
            "logs": None,
            "metrics": {"predict_time": run.seconds} if run.seconds else {},
            "urls": {
                "cancel": f"{self.api_url}/v1/prediction/{run.id}/cancel",
                "get": f"{self.api_url}/v1/prediction/{run.id}",
            },
        }
        if run.status == "success":
            body["metrics"]["cost"] = round(run.seconds * PRICE, 6)
        if run.status == "error":
            body |= {"message": "prediction failed", "details": run.reason}
        return body

    def cancel(self, run_id: str) -> dict[str, Any]:
        run = self._run(run_id)
        if run.active:
            run.status = "cancelled"
        self.cancelled.append(run_id)
        return {"status": "cancelled", "message": "Prediction canceled successfully", "predictionID": run_id}

    def executions(self, query: dict[str, list[str]]) -> dict[str, Any]:
        limit_text = query.get("limit", ["20"])[0]
        limit = int(limit_text) if limit_text.isdecimal() else 0
        if not 1 <= limit <= 100:
            raise ErrorResponse(400, {"error": "limit must be from 1 to 100"})
        offset_text = query.get("offset", ["0"])[0]
        if not offset_text.isdecimal():
            raise ErrorResponse(400, {"error": "offset must not be negative"})
        offset = int(offset_text)
        try:
            since = datetime.fromisoformat(query.get("from", ["2000-01-01T00:00:00Z"])[0])
        except ValueError:
            raise ErrorResponse(400, {"error": "from must be RFC 3339"}) from None
        if since.tzinfo is None:
            raise ErrorResponse(400, {"error": "from must be RFC 3339"})
        rows = [
            {
                "id": run.id,
                "model": MODEL,
                "status": run.status,
                "execution_cost": run.seconds * PRICE,
                "run_time": run.seconds,
                "created_at": run.created_at,
                "output": None,
            }
            for run in reversed(self.runs.values())
            if run.started >= since.timestamp() and query.get("model", [MODEL])[0] == MODEL
        ]
        return {
            "executions": rows[offset : offset + limit],
            "total_count": len(rows),
            "total_capped": False,
            "offset": offset,
            "limit": limit,
        }

    def output(self, run_id: str) -> bytes:
        run = self.runs.get(run_id)
        if run is None or run.result is None or run.status != "success":
            raise ErrorResponse(404, {"error": "no such object"})
        return run.result.read_bytes()

    def state(self) -> dict[str, Any]:
        """Return the state that tests can read, as JSON values."""
        return {
            "uploads": [
                {"id": u.id, "url": u.url, "live": u.live, "deleted": u.deleted, "lifetime": u.lifetime}
                for u in self.uploads.values()
            ],
            "runs": [
                {
                    "id": r.id,
                    "status": r.status,
                    "input": r.input,
                    "reason": r.reason,
                    "clip": r.clip,
                    "predict_time": r.seconds,
                    "webhook_url": r.webhook_url,
                }
                for r in self.runs.values()
            ],
            "cancelled": self.cancelled,
            "peak_concurrent": self.peak_concurrent,
            "refused": self.refused,
            "webhook_calls": self.outbound.calls,
        }

    def _run(self, run_id: str) -> Run:
        if run_id not in self.runs:
            raise ErrorResponse(404, {"error": "Prediction not found"})
        return self.runs[run_id]

    def _active_runs(self) -> int:
        return sum(run.active for run in self.runs.values())

    def _check_limits(self) -> None:
        """Count a create call. Raises ErrorResponse 429 if the rate limit or the number of runs in flight is exceeded."""
        now = time.time()
        self._creates = [created for created in self._creates if now - created < self.minute]
        if len(self._creates) >= CREATES_PER_MINUTE:
            raise ErrorResponse(
                429, {"status": 429, "error": "rate limit", "details": f"{CREATES_PER_MINUTE} creates a minute"}
            )
        if self._active_runs() >= self.concurrent:
            details = f"maximum of {self.concurrent} concurrent predictions reached"
            raise ErrorResponse(429, {"status": 429, "error": "too many runs in flight", "details": details})
        self._creates.append(now)

    def _check_fields(self, fields: dict[str, Any]) -> None:
        unknown = sorted(set(fields) - set(_FIELDS))
        if unknown:
            raise ErrorResponse(400, {"status": 400, "error": "invalid input", "details": f"unknown field {unknown[0]}"})
        for name, value in fields.items():
            if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
                raise ErrorResponse(400, {"status": 400, "error": "invalid input", "details": f"{name} has the wrong type"})
        if not fields.get("video"):
            raise ErrorResponse(400, {"status": 400, "error": "invalid input", "details": "video is required"})
        if fields.get("duration", 8) <= 0 or fields.get("num_steps", 25) < 1:
            raise ErrorResponse(400, {"status": 400, "error": "invalid input", "details": "numbers must be positive"})
        self._check_video(fields["video"])

    def _check_video(self, url: str) -> None:
        if not is_public(url) and not self.outbound.reaches_loopback(url):
            raise ErrorResponse(
                400, {"status": 400, "error": "invalid input", "details": "video must be a public https URL"}
            )
        if self._video(url) is None:
            raise ErrorResponse(400, {"status": 400, "error": "invalid input", "details": "video could not be fetched"})

    def _video(self, url: str) -> bytes | None:
        """Fetch the video as the model would now; return None if that fails."""
        upload = next((upload for upload in self.uploads.values() if upload.url == url), None)
        if upload is None:
            return self.outbound.video(url)
        live = upload.live and time.time() <= upload.issued + upload.lifetime
        return upload.path.read_bytes() if live else None

    def _run_to_end(self, run: Run) -> None:
        """Process a run and call its webhook; runs in a thread for each run."""
        self._process(run)
        if run.webhook_url and run.status in ("success", "error"):
            self._call_webhook(run)

    def _call_webhook(self, run: Run) -> None:
        faults = {fault["do"]: fault for fault in run.webhook_faults}
        if "never" in faults:
            return
        time.sleep(faults.get("late", {}).get("seconds", 0))
        secret = "not the secret" if "wrong_secret" in faults else run.webhook_secret
        body = _webhook_body(run, self.files_url, newest="newest" in faults)
        if "unknown_run" in faults:
            body["exec_id"] = uuid.uuid4().hex
        for _ in range(2 if "twice" in faults else 1):
            self.outbound.call_with_retries(run.webhook_url, secret, run.id, body)

    def _process(self, run: Run) -> None:
        """Take a run through its statuses and make its result."""
        faults = {fault["do"]: fault for fault in run.faults}
        for status in ("starting", "processing"):
            time.sleep(self.run_seconds / 2)
            if not run.active:
                return
            run.status = status
        if "cancel" in faults:
            run.status = "cancelled"
            return
        video = self._video(run.input["video"])
        file = self._folder / f"{run.id}-clip.mp4"
        target = self._folder / f"{run.id}-result.mp4"
        try:
            if "fail" in faults:
                raise model.RunFailed(str(faults["fail"].get("reason", "out of memory")))
            if video is None:
                raise model.RunFailed("video could not be fetched")
            file.write_bytes(video)
            clip = model.read_clip(file)
            run.clip = model.describe(clip)
            duration = float(run.input.get("duration", 8)) - faults.get("short", {}).get("seconds", 0)
            used = model.generate(
                clip,
                target,
                duration=duration,
                seed=int(run.input.get("seed", 0)),
                signalled="signalled" in faults,
                silent="silent" in faults,
            )
            if model.segments(used) < model.segments(duration):
                # The sound drifts from the picture, and no silence at the end gives it away.
                segments = f"{model.segments(used)} of {model.segments(duration)} segments of motion"
                self.violations.append(f"a clip fills {segments} for {duration} s")
        except model.RunFailed as error:
            run.reason = str(error)
            run.status = "error"
            return
        run.result = target
        run.seconds = max(time.time() - run.started, 0.001)
        if run.active:
            run.status = "success"


def _webhook_body(run: Run, files_url: str, *, newest: bool = False) -> dict[str, Any]:
    """Return the body of a webhook call: as in the vendor's API description, or as in its newest documentation."""
    succeeded = run.status == "success"
    url = f"{files_url}/outputs/{run.id}.mp4" if succeeded else ""
    body: dict[str, Any] = {
        "exec_id": run.id,
        "status": "succeeded" if succeeded else "failed",
        "output": url,
        "error": run.reason,
    }
    if newest:
        body |= {"flow_id": uuid.uuid4().hex, "output": [url] if succeeded else [{"error": run.reason}]}
    return body


def as_json(body: object) -> bytes:
    return json.dumps(body).encode()
