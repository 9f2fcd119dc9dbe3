# SPDX-License-Identifier: GPL-3.0-or-later
"""What the double knows and refuses: uploads, runs, caps. No HTTP in here; each call answers (status, headers, body)."""

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
from .outside import Outside, is_public

MODEL = "mmaudio"
PUBLIC_HOST = "cdn.standin.example"
UPLOAD_LIFE_SECONDS = 15 * 60
BYTES_MAX = 100_000_000
CREATES_PER_MINUTE = 100
PRICE = 0.00108

_FIELDS: dict[str, tuple[type, ...]] = {
    "video": (str,),
    "prompt": (str,),
    "negative_prompt": (str,),
    "duration": (int, float),
    "num_steps": (int,),
    "cfg_strength": (int, float),
    "seed": (int,),
}


class Refused(Exception):
    """`body` None: an answer without one."""

    def __init__(self, status: int, body: dict[str, Any] | None, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


@dataclass
class Upload:
    id: str
    signature: str
    content_type: str
    headers: dict[str, str]
    issued: float
    life: int
    path: Path
    live: bool = False
    deleted: bool = False

    @property
    def url(self) -> str:
        return f"https://{PUBLIC_HOST}/uploads/{self.id}.mp4"


@dataclass
class Run:
    id: str
    input: dict[str, Any]
    began: float
    created_at: str
    status: str = "created"
    seconds: float = 0.0
    result: Path | None = None
    reason: str = ""
    clip: dict[str, Any] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    webhook_url: str = ""
    webhook_secret: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)

    @property
    def under_way(self) -> bool:
        return self.status in ("created", "starting", "processing")


class Service:
    def __init__(self, folder: Path, key: str, *, run_seconds: float, concurrent: int) -> None:
        self.key = key
        self.run_seconds = run_seconds
        self.concurrent = concurrent
        self.files_url = ""
        self.api_url = ""
        self.uploads: dict[str, Upload] = {}
        self.runs: dict[str, Run] = {}
        self.most_under_way = 0
        # As web frameworks that know one form of a path: "slash" or "no slash", what the other form is answered (404, 405,
        # 301, 302, 307, 308), and whether a redirect's Location is "absolute" or "relative".
        self.create_form = "slash"
        self.other_form = 404
        self.location = "absolute"
        self.cancelled: list[str] = []
        self.violations: list[str] = []
        self.outside = Outside()
        self._folder = folder
        self._creates: list[float] = []
        self._lock = threading.Lock()

    def presign(self, body: dict[str, Any]) -> dict[str, Any]:
        content_type = body.get("content_type")
        life = body.get("expires_in_seconds", 180 * 24 * 3600)
        if not isinstance(content_type, str) or "/" not in content_type:
            raise Refused(400, {"error": "content_type is required"})
        if not isinstance(life, int) or isinstance(life, bool):
            raise Refused(400, {"error": "expires_in_seconds must be an integer"})
        if body.get("file_type", "video") not in ("image", "video", "audio", "other"):
            raise Refused(400, {"error": "invalid file_type"})
        life = min(max(life, 60), 365 * 24 * 3600)
        file_id = str(uuid.uuid4())
        upload = Upload(
            id=file_id,
            signature=secrets.token_hex(16),
            content_type=content_type,
            headers={"x-amz-meta-file-id": file_id, "x-amz-acl": "private"},
            issued=time.time(),
            life=life,
            path=self._folder / f"{file_id}.mp4",
        )
        self.uploads[file_id] = upload
        return {
            "id": file_id,
            "presigned_url": f"{self.files_url}/put/{file_id}?X-Amz-Signature={upload.signature}",
            "public_url": upload.url,
            "expires_at": datetime.fromtimestamp(upload.issued + life, UTC).isoformat(),
            "required_headers": upload.headers,
        }

    def put(self, file_id: str, query: str, headers: dict[str, str], body: bytes) -> None:
        upload = self.uploads.get(file_id)
        if upload is None or upload.deleted or query != f"X-Amz-Signature={upload.signature}":
            raise Refused(403, {"error": "SignatureDoesNotMatch"})
        if time.time() - upload.issued > UPLOAD_LIFE_SECONDS:
            raise Refused(403, {"error": "Request has expired"})
        wanted = {**upload.headers, "content-type": upload.content_type}
        if any(headers.get(name) != value for name, value in wanted.items()):
            raise Refused(403, {"error": "a signed header is missing or differs"})
        if len(body) > BYTES_MAX:
            raise Refused(413, {"error": "EntityTooLarge"})
        upload.path.write_bytes(body)
        upload.live = True

    def delete(self, file_id: str) -> None:
        try:
            uuid.UUID(file_id)
        except ValueError:
            raise Refused(400, {"error": "id must be a uuid"}) from None
        upload = self.uploads.get(file_id)
        if upload is not None:
            upload.live = False
            upload.deleted = True
            upload.path.unlink(missing_ok=True)

    def create(
        self, body: dict[str, Any], orders: list[dict[str, Any]], calls: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """`orders` are for the run, `calls` for the webhook; see `Faults`."""
        if body.get("model") != MODEL:
            raise Refused(404, {"error": "model not found"})
        fields = body.get("input")
        if not isinstance(fields, dict):
            raise Refused(400, {"error": "input is required"})
        self._check_fields(fields)
        webhook_url, webhook_secret = body.get("webhook_url", ""), body.get("webhook_secret", "")
        if webhook_url and not (is_public(webhook_url) and isinstance(webhook_secret, str)):
            raise Refused(
                400, {"status": 400, "error": "invalid input", "details": "webhook_url must be a public https URL"}
            )
        with self._lock:
            self._check_caps()
            run = Run(uuid.uuid4().hex, fields, time.time(), datetime.now(UTC).isoformat(), orders=orders)
            run.webhook_url, run.webhook_secret, run.calls = webhook_url, webhook_secret, calls or []
            self.runs[run.id] = run
            self.most_under_way = max(self.most_under_way, self._under_way())
        if any(order["do"] == "early" for order in run.calls):
            self.outside.call(run.webhook_url, run.webhook_secret, run.id, _told(run, self.files_url))
        threading.Thread(target=self._work, args=(run,), daemon=True).start()
        return {"status": "success", "message": "Prediction created successfully", "predictionID": run.id}

    def get(self, run_id: str) -> dict[str, Any]:
        run = self._run(run_id)
        order = next((order for order in run.orders if order["do"] == "say"), None)
        if order is not None:
            return {"id": run.id, "predictionID": run.id, "input": run.input, **order["body"]}
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
        if run.under_way:
            run.status = "cancelled"
        self.cancelled.append(run_id)
        return {"status": "cancelled", "message": "Prediction canceled successfully", "predictionID": run_id}

    def executions(self, query: dict[str, list[str]]) -> dict[str, Any]:
        asked = query.get("limit", ["20"])[0]
        limit = int(asked) if asked.isdecimal() else 0
        if not 1 <= limit <= 100:
            raise Refused(400, {"error": "limit must be from 1 to 100"})
        skipped = query.get("offset", ["0"])[0]
        if not skipped.isdecimal():
            raise Refused(400, {"error": "offset must not be negative"})
        offset = int(skipped)
        try:
            since = datetime.fromisoformat(query.get("from", ["2000-01-01T00:00:00Z"])[0])
        except ValueError:
            raise Refused(400, {"error": "from must be RFC 3339"}) from None
        if since.tzinfo is None:
            raise Refused(400, {"error": "from must be RFC 3339"})
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
            if run.began >= since.timestamp() and query.get("model", [MODEL])[0] == MODEL
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
            raise Refused(404, {"error": "no such object"})
        return run.result.read_bytes()

    def state(self) -> dict[str, Any]:
        """What tests ask about."""
        return {
            "uploads": [
                {"id": u.id, "url": u.url, "live": u.live, "deleted": u.deleted, "life": u.life}
                for u in self.uploads.values()
            ],
            "runs": [
                {
                    "id": r.id,
                    "status": r.status,
                    "input": r.input,
                    "reason": r.reason,
                    "clip": r.clip,
                    "took": r.seconds,
                    "webhook_url": r.webhook_url,
                }
                for r in self.runs.values()
            ],
            "cancelled": self.cancelled,
            "most_under_way": self.most_under_way,
            "calls": self.outside.calls,
        }

    def _run(self, run_id: str) -> Run:
        if run_id not in self.runs:
            raise Refused(404, {"error": "Prediction not found"})
        return self.runs[run_id]

    def _under_way(self) -> int:
        return sum(run.under_way for run in self.runs.values())

    def _check_caps(self) -> None:
        now = time.time()
        self._creates = [moment for moment in self._creates if now - moment < 60]
        if len(self._creates) >= CREATES_PER_MINUTE:
            raise Refused(429, {"status": 429, "error": "rate limit", "details": f"{CREATES_PER_MINUTE} creates a minute"})
        if self._under_way() >= self.concurrent:
            details = f"maximum of {self.concurrent} concurrent predictions reached"
            raise Refused(429, {"status": 429, "error": "too many runs in flight", "details": details})
        self._creates.append(now)

    def _check_fields(self, fields: dict[str, Any]) -> None:
        unknown = sorted(set(fields) - set(_FIELDS))
        if unknown:
            raise Refused(400, {"status": 400, "error": "invalid input", "details": f"unknown field {unknown[0]}"})
        for name, value in fields.items():
            if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
                raise Refused(400, {"status": 400, "error": "invalid input", "details": f"{name} has the wrong type"})
        if not fields.get("video"):
            raise Refused(400, {"status": 400, "error": "invalid input", "details": "video is required"})
        if fields.get("duration", 8) <= 0 or fields.get("num_steps", 25) < 1:
            raise Refused(400, {"status": 400, "error": "invalid input", "details": "numbers must be positive"})
        self._check_video(fields["video"])

    def _check_video(self, url: str) -> None:
        if not is_public(url) and not self.outside.reaches_loopback(url):
            raise Refused(400, {"status": 400, "error": "invalid input", "details": "video must be a public https URL"})
        if self._video(url) is None:
            raise Refused(400, {"status": 400, "error": "invalid input", "details": "video could not be fetched"})

    def _video(self, url: str) -> bytes | None:
        """What the model would read there now."""
        upload = next((upload for upload in self.uploads.values() if upload.url == url), None)
        if upload is None:
            return self.outside.video(url)
        live = upload.live and time.time() <= upload.issued + upload.life
        return upload.path.read_bytes() if live else None

    def _work(self, run: Run) -> None:
        """One run, from start to end, on a thread of its own."""
        self._carry_out(run)
        if run.webhook_url and run.status in ("success", "error"):
            self._call_back(run)

    def _call_back(self, run: Run) -> None:
        orders = {order["do"]: order for order in run.calls}
        if "never" in orders:
            return
        time.sleep(orders.get("late", {}).get("seconds", 0))
        secret = "not the secret" if "wrong_secret" in orders else run.webhook_secret
        body = _told(run, self.files_url, newest="newest" in orders)
        if "unknown_run" in orders:
            body["exec_id"] = uuid.uuid4().hex
        for _ in range(2 if "twice" in orders else 1):
            self.outside.insist(run.webhook_url, secret, run.id, body)

    def _carry_out(self, run: Run) -> None:
        orders = {order["do"]: order for order in run.orders}
        for status in ("starting", "processing"):
            time.sleep(self.run_seconds / 2)
            if not run.under_way:
                return
            run.status = status
        if "cancel" in orders:
            run.status = "cancelled"
            return
        video = self._video(run.input["video"])
        clip = self._folder / f"{run.id}-clip.mp4"
        target = self._folder / f"{run.id}-result.mp4"
        try:
            if "fail" in orders:
                raise model.RunFailed(str(orders["fail"].get("reason", "out of memory")))
            if video is None:
                raise model.RunFailed("video could not be fetched")
            clip.write_bytes(video)
            run.clip = model.describe(clip)
            duration = float(run.input.get("duration", 8)) - orders.get("short", {}).get("seconds", 0)
            used = model.score(
                clip,
                target,
                duration=duration,
                seed=int(run.input.get("seed", 0)),
                signalled="signalled" in orders,
                silent="silent" in orders,
            )
            if model.segments(used) < model.segments(duration):
                # Its sound drifts away from its picture, without a silent end to show it.
                segments = f"{model.segments(used)} of {model.segments(duration)} segments of motion"
                self.violations.append(f"a clip fills {segments} for {duration} s")
        except model.RunFailed as fault:
            run.reason = str(fault)
            run.status = "error"
            return
        run.result = target
        run.seconds = max(time.time() - run.began, 0.001)
        if run.under_way:
            run.status = "success"


def _told(run: Run, files_url: str, *, newest: bool = False) -> dict[str, Any]:
    """What a webhook is sent: as the brief has it, or as the newest documentation does."""
    well = run.status == "success"
    url = f"{files_url}/outputs/{run.id}.mp4" if well else ""
    body: dict[str, Any] = {
        "exec_id": run.id,
        "status": "succeeded" if well else "failed",
        "output": url,
        "error": run.reason,
    }
    if newest:
        body |= {"flow_id": uuid.uuid4().hex, "output": [url] if well else [{"error": run.reason}]}
    return body


def as_json(body: object) -> bytes:
    return json.dumps(body).encode()
