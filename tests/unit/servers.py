# SPDX-License-Identifier: GPL-3.0-or-later
"""Real storages on loopback, in processes that end with the tests, and a scripted server.

rclone and SeaweedFS check signatures; the mock servers that are often used for this accept wrong ones.
"""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from aws_request_signer import UNSIGNED_PAYLOAD, AwsRequestSigner

from addon.service.storage.s3 import S3Config

from .helpers import wait_until

BUCKET = "media"
OTHER_BUCKET = "private"
VIRTUAL_HOST = "s3.localhost"

# Waits for the end of its standard input, which ends however the tests end, and then kills the server.
_GUARD = "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdin=-3); sys.stdin.read(); p.kill(); p.wait()"
_STS_KEY = "c3R1ZGlvLXNpZ25pbmcta2V5LW9mLTMyLWxldHRlcnMhIQ=="


@dataclass(frozen=True)
class S3Server:
    """Server that accepts the key of `config` and has its bucket."""

    name: str
    config: S3Config
    limited: S3Config | None = None
    """Settings of OTHER_BUCKET with a key that is valid for BUCKET only."""


def program(name: str) -> str:
    """Return the path of a program from a package. Skip the test if the package has none for this machine."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip(f"{name} has no package for this kind of machine")
    return found


@contextmanager
def _running(command: list[str], log: Path) -> Generator[None, None, None]:
    with log.open("wb") as output:
        guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD, *command], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(10)


@contextmanager
def rclone(*serve: str, folder: Path, log: Path) -> Generator[str, None, None]:
    """Run `rclone serve` for a folder and yield its URL."""
    command = [program("rclone"), "serve", *serve, "--addr", "127.0.0.1:0", "--config", str(log.with_suffix(".conf"))]
    with _running([*command, str(folder)], log):
        wait_until(lambda: " on [http" in log.read_text())
        found = re.search(r" on \[(http://[\d.:]+)/\]", log.read_text())
        assert found is not None
        yield found[1]


@contextmanager
def files_for_anyone(folder: Path) -> Generator[str, None, None]:
    """Serve a folder's files publicly, as a server next to a WebDAV may do, and yield its URL."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *rest: Any) -> None:
            super().__init__(*rest, directory=str(folder))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with _serving(Handler) as address:
        yield address


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close their connection."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Generator[str, None, None]:
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def rclone_s3(folder: Path) -> Generator[S3Server, None, None]:
    (folder / "files" / BUCKET).mkdir(parents=True)
    # Real secrets also contain slashes and plus signs.
    key, secret = "AKIDRCLONE", "rclone/secret+0123456789"
    with rclone("s3", "--auth-key", f"{key},{secret}", folder=folder / "files", log=folder / "log") as endpoint:
        yield S3Server("rclone", S3Config(endpoint, BUCKET, access_key=key, secret_key=secret))


@contextmanager
def seaweedfs(folder: Path) -> Generator[S3Server, None, None]:
    """Run SeaweedFS with two buckets, a key for both, a key for BUCKET only, and session tokens on request."""
    data = folder / "data"
    data.mkdir()
    admin = {"accessKey": "AKIDWEED", "secretKey": "weed/secret+0123456789"}
    limited = {"accessKey": "AKIDLIMITED", "secretKey": "limited/secret+0123456789"}
    rights = [f"{right}:{BUCKET}" for right in ("Read", "Write", "List")]
    identities = [
        {"name": "admin", "credentials": [admin], "actions": ["Admin"], "policyNames": ["all"]},
        {"name": "limited", "credentials": [limited], "actions": rights},
    ]
    everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}
    sts = {"issuer": "tests", "signingKey": _STS_KEY, "tokenDuration": "1h", "maxSessionLength": "12h"}
    policies = [{"name": "all", "document": {"Version": "2012-10-17", "Statement": [everything]}}]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    iam = {"sts": sts, "policy": {"defaultEffect": "Deny", "storeType": "memory"}, "policies": policies, "roles": []}
    (folder / "iam.json").write_text(json.dumps(iam))
    ports = free_ports(8)
    endpoint = f"http://127.0.0.1:{ports[6]}"
    config = S3Config(endpoint, BUCKET, access_key=admin["accessKey"], secret_key=admin["secretKey"])
    others = replace(config, bucket=OTHER_BUCKET, access_key=limited["accessKey"], secret_key=limited["secretKey"])
    try:
        with _running(_weed(folder, data, ports), folder / "log"):
            wait_until(lambda: all(_make_bucket(config, bucket) for bucket in (BUCKET, OTHER_BUCKET)), 60)
            yield S3Server("seaweedfs", config, others)
    finally:
        for role, port in zip(("master", "volume", "filer", "s3"), ports[1::2], strict=True):
            (Path(tempfile.gettempdir()) / f"seaweedfs-{role}-grpc-{port}.sock").unlink(missing_ok=True)


def _weed(folder: Path, data: Path, ports: list[int]) -> list[str]:
    roles = ("master", "volume", "filer", "s3")
    numbers = [f"-{role}.port{suffix}" for role in roles for suffix in ("", ".grpc")]
    return [
        *(program("weed"), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"),
        *(f"{name}={port}" for name, port in zip(numbers, ports, strict=True)),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
        *(f"-s3.config={folder / 's3.json'}", f"-s3.iam.config={folder / 'iam.json'}", "-s3.autoCreateBucket=false"),
        f"-s3.domainName={VIRTUAL_HOST}",
        # Stores clips in the filer, so that nothing waits for a new volume.
        "-filer.saveToFilerLimit=100000000",
        *(f"-filer.localSocket={folder / 'filer.sock'}", f"-s3.localSocket={folder / 's3.sock'}"),
    ]


def _make_bucket(config: S3Config, bucket: str) -> bool:
    signer = AwsRequestSigner(config.region, config.access_key, config.secret_key, "s3")
    url = f"{config.endpoint}/{bucket}"
    with suppress(requests.RequestException):
        answer = requests.put(url, headers=signer.sign_with_headers("PUT", url, {}, UNSIGNED_PAYLOAD), timeout=5)
        return answer.status_code in (200, 409)
    return False


def with_session_token(config: S3Config) -> S3Config:
    """Return settings with temporary credentials from SeaweedFS, which are valid for an hour."""
    signer = AwsRequestSigner(config.region, config.access_key, config.secret_key, "sts")
    body = urlencode({"Action": "GetFederationToken", "Version": "2011-06-15", "Name": "artist"}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{config.endpoint}/"
    headers |= signer.sign_with_headers("POST", url, headers, hashlib.sha256(body).hexdigest())
    answer = requests.post(url, body, headers=headers, timeout=10).text

    def said(name: str) -> str:
        found = re.search(f"<{name}>(.*?)</{name}>", answer)
        assert found is not None, answer
        return found[1]

    key, secret, token = said("AccessKeyId"), said("SecretAccessKey"), said("SessionToken")
    return replace(config, access_key=key, secret_key=secret, session_token=token)


def free_ports(count: int) -> list[int]:
    claimed = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in claimed]
    for sock in claimed:
        sock.close()
    return ports


@dataclass(frozen=True)
class Seen:
    """Received request."""

    method: str
    target: str
    """Path and query, unchanged."""
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Scripted:
    """Server that stores what is put there, unless it is scripted to respond otherwise."""

    def __init__(self) -> None:
        self.address = ""
        self.seen: list[Seen] = []
        """Received requests."""
        self.replies: list[Reply] = []
        """Responses to the next requests; the last one is repeated."""
        self.instead: dict[str, Reply] = {}
        """Responses to all requests of a method."""
        self.answer: Callable[[Seen], Reply | None] = lambda seen: None
        """Function that returns the response to a request, or None for the default."""
        self.late = 0
        """Number of requests for which a stored file is not found yet."""
        self._kept: dict[str, bytes] = {}

    def reply(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        if (answer := self.answer(seen)) is not None:
            return answer
        if self.replies:
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if seen.method in self.instead:
            return self.instead[seen.method]
        path = seen.target.partition("?")[0]
        match seen.method:
            case "PUT":
                self._kept[path] = seen.body
                return Reply(201)
            case "DELETE":
                return Reply(202) if self._kept.pop(path, None) is not None else Reply(404)
            case _ if self.late:
                self.late -= 1
                return Reply(404)
            case _:
                return Reply(200, self._kept[path]) if path in self._kept else Reply(404)


@contextmanager
def answering() -> Generator[Scripted, None, None]:
    scripted = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = scripted.reply(Seen(self.command, self.path, headers, body))
            self.send_response_only(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_DELETE = do_PUT

    with _serving(Handler) as scripted.address:
        yield scripted
