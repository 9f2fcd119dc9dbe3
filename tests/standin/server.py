# SPDX-License-Identifier: GPL-3.0-or-later
"""The double's two hosts on loopback: the API, which requires the key, and the file storage, which must never receive it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

from .faults import Action, Faults, FaultyHandler
from .service import BYTES_MAX, ErrorResponse, Service, as_json


def openapi_file() -> Path | None:
    """Return the vendor's OpenAPI file, or None if it is not beside the checkout."""
    path = Path(__file__).parents[3] / "shared" / "eachlabs-openapi.json"
    return path if path.is_file() else None


class Double:
    """Both servers, with the state they share and the requests they received."""

    def __init__(self, service: Service, port: int = 0) -> None:
        self.service = service
        self.faults = Faults()
        self.requests: list[dict[str, Any]] = []
        self._schema = _Schema(openapi_file())
        self._servers = [_Server(("127.0.0.1", port), Api, self), _Server(("127.0.0.1", 0), Files, self)]
        api, files = (server.server_address[1] for server in self._servers)
        service.api_url = f"http://127.0.0.1:{api}"
        # Another name of the same machine: to a client it is a different host, which must not receive the key.
        service.files_url = f"http://localhost:{files}"

    def start(self) -> None:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def clear_history(self) -> None:
        service = self.service
        for records in (self.requests, service.violations, self.faults.triggered, service.uploads, service.outbound.calls):
            records.clear()

    def check_schema(self, path: str, body: object) -> None:
        self._schema.check(path, body)

    def state(self) -> dict[str, Any]:
        faults = {"triggered": self.faults.triggered}
        return {"requests": self.requests, "violations": self.service.violations, **faults, **self.service.state()}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], double: Double) -> None:
        super().__init__(address, handler)
        self.double = double

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: tests make clients close connections."""


class _Schema:
    """Validator of request bodies against the vendor's OpenAPI file; accepts everything without that file."""

    def __init__(self, path: Path | None) -> None:
        self._schemas: dict[str, Any] = {}
        if path is None:
            return
        api = json.loads(path.read_text())
        for route, operations in api["paths"].items():
            content = operations.get("post", {}).get("requestBody", {}).get("content", {})
            if content:
                reference = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
                self._schemas[route] = api["components"]["schemas"][reference]

    def check(self, path: str, body: object) -> None:
        schema = self._schemas.get(path)
        if schema is None:
            return
        try:
            jsonschema.validate(body, schema)
        except jsonschema.ValidationError as error:
            raise ErrorResponse(400, {"error": f"against the OpenAPI file: {error.message}"}) from None


class _Handler(FaultyHandler):
    """Request handler of both hosts."""

    host = ""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_DELETE = do_GET

    @property
    def double(self) -> Double:
        assert isinstance(self.server, _Server)
        return self.server.double

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        if not parts.path.startswith("/_standin"):
            self.double.requests.append(
                {
                    "host": self.host,
                    "method": self.command,
                    "path": parts.path,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "time": time.time(),
                }
            )
        try:
            route, action = self.route(self.command, parts.path, parts.query)
            self._respond(route, action)
        except ErrorResponse as error:
            body = b"" if error.body is None else as_json(error.body)
            self.reply(error.status, body, error.headers)

    def _respond(self, route: str, action: Action) -> None:
        """Perform the request and respond, with the faults that are injected at this route."""
        status, body, headers = 0, b"", {}
        for fault in self.double.faults.trigger(route):
            match fault["do"]:
                case "status":
                    if "carried_out" in fault:
                        action()
                    else:
                        self.body()
                    status, body, headers = fault["status"], fault.get("body", "").encode(), fault.get("headers", {})
                case "headers":
                    headers = fault["headers"]
                case "stall":
                    time.sleep(fault["seconds"])
                case _:
                    self.apply_fault(fault, action)
                    return
        if not status:
            status, body = action()
        self.reply(status, body, headers)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-Id", f"standin-{len(self.double.requests)}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        """Read the body of the request."""
        if "Content-Length" not in self.headers and self.command in ("PUT", "POST"):
            if self.headers.get("Transfer-Encoding"):
                self.close_connection = True
                raise ErrorResponse(411, {"error": "MissingContentLength"})
            return b""
        length = int(self.headers.get("Content-Length", 0))
        if length > BYTES_MAX:
            self.close_connection = True
            raise ErrorResponse(413, {"error": "EntityTooLarge"})
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            raise ErrorResponse(400, {"error": "IncompleteBody"})
        return body

    def json(self) -> dict[str, Any]:
        """Read the body of the request, which must be a JSON object."""
        try:
            value = json.loads(self.body())
        except ValueError:
            raise ErrorResponse(400, {"error": "the body is not JSON"}) from None
        if not isinstance(value, dict):
            raise ErrorResponse(400, {"error": "the body is not an object"})
        return value

    def route(self, method: str, path: str, query: str) -> tuple[str, Action]:
        """Return the name of the route, at which faults are injected, and the action that performs the request."""
        raise NotImplementedError


class Api(_Handler):
    """The API, and the control interface for tests."""

    host = "api"

    def route(self, method: str, path: str, query: str) -> tuple[str, Action]:
        if path.startswith("/_standin"):
            return "control", lambda: self._control(method, path)
        service = self.double.service
        steps = path.strip("/").split("/")
        if steps[:1] != ["v1"]:
            raise ErrorResponse(404, {"error": "not found"})
        if not (method == "GET" and steps == ["v1", "model"]):
            self._check_key()
        match method, steps[1:]:
            case "POST", ["upload", "presign"]:
                return "presign", lambda: (200, as_json(service.presign(self._checked("/v1/upload/presign"))))
            case "POST", ["prediction"]:
                self._check_create_form(path)
                return "create", self._create
            case "GET", ["prediction", run_id]:
                return "get", lambda: (200, as_json(service.get(run_id)))
            case "POST", ["prediction", run_id, "cancel"]:
                return "cancel", lambda: (200, as_json(service.cancel(run_id)))
            case "DELETE", ["files", file_id]:
                return "delete", lambda: (204, self._delete(file_id))
            case "GET", ["executions"]:
                return "executions", lambda: (200, as_json(service.executions(parse_qs(query))))
            case "GET", ["model"]:
                return "model", lambda: (200, as_json({"title": "MMAudio", "slug": "mmaudio", "request_schema": {}}))
            case _:
                raise ErrorResponse(404, {"error": "not found"})

    def _check_key(self) -> None:
        key = self.double.service.key
        if self.headers.get("X-API-Key") != key or self.headers.get("Authorization") != f"Bearer {key}":
            self.body()
            raise ErrorResponse(401, {"error": "Invalid or missing API key"})

    def _check_create_form(self, path: str) -> None:
        """Reject the form of the create path, with or without a trailing slash, that the settings don't allow."""
        service = self.double.service
        accepted = "/v1/prediction/" if service.create_form == "slash" else "/v1/prediction"
        if path == accepted:
            return
        self.body()
        if service.other_form not in (301, 302, 307, 308):
            raise ErrorResponse(service.other_form, {"error": "no such path"})
        host = service.api_url if service.location == "absolute" else ""
        raise ErrorResponse(service.other_form, None, {"Location": host + accepted})

    def _checked(self, path: str) -> dict[str, Any]:
        body = self.json()
        self.double.check_schema(path, body)
        return body

    def _create(self) -> tuple[int, bytes]:
        body = self._checked("/v1/prediction")
        faults = self.double.faults
        run_faults = faults.trigger("run", body.get("input"))
        return 200, as_json(self.double.service.create(body, run_faults, faults.trigger("webhook")))

    def _delete(self, file_id: str) -> bytes:
        self.double.service.delete(file_id)
        return b""

    def _control(self, method: str, path: str) -> tuple[int, bytes]:
        """Serve the control interface, not part of the real service: tests inject faults and read the state through it."""
        match method, path:
            case "GET", "/_standin/state":
                return 200, as_json(self.double.state())
            case "POST", "/_standin/faults":
                self.double.faults.inject(self.json())
                return 200, b"{}"
            case "POST", "/_standin/settings":
                for name, value in self.json().items():
                    setattr(self.double.service, name, value)
                return 200, b"{}"
            case "POST", "/_standin/outbound":
                for name, value in self.json().items():
                    setattr(self.double.service.outbound, name, value)
                return 200, b"{}"
            case "DELETE", "/_standin/faults":
                self.double.faults.clear()
                return 200, b"{}"
            case "DELETE", "/_standin/history":
                self.double.clear_history()
                return 200, b"{}"
            case _:
                raise ErrorResponse(404, {"error": "not found"})


class Files(_Handler):
    """Storage of uploads and results; a request with the key is recorded as a violation."""

    host = "files"

    def route(self, method: str, path: str, query: str) -> tuple[str, Action]:
        service = self.double.service
        received = " ".join(self.headers.values()) + self.path
        if service.key in received or "authorization" in {name.lower() for name in self.headers}:
            service.violations.append(f"credentials were sent with {method} {path}")
            self.body()
            raise ErrorResponse(400, {"error": "credentials do not belong here"})
        match method, path.strip("/").split("/"):
            case "PUT", ["put", file_id]:
                return "put", lambda: (200, self._put(file_id, query))
            case "GET", ["outputs", name]:
                return "output", lambda: (200, service.output(name.removesuffix(".mp4")))
            case _:
                raise ErrorResponse(404, {"error": "not found"})

    def _put(self, file_id: str, query: str) -> bytes:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.double.service.put(file_id, query, headers, self.body())
        return b""


def serve(folder: Path, key: str, *, run_seconds: float, concurrent: int) -> Double:
    folder.mkdir(parents=True, exist_ok=True)
    double = Double(Service(folder, key, run_seconds=run_seconds, concurrent=concurrent))
    double.start()
    return double
