# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that the key is in no file and no output of the add-on, and in no requests except those to the API."""

import base64
import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits
from .test_resume import Blenders

KEY = "k3y/+=&%:0123456789-secret"

# Writes the environment and arguments that a background Blender is started with to a file, then runs the Blender script.
_WITNESS = """
import runpy, sys
from pathlib import Path
own = [Path("/proc/self", name).read_bytes() for name in ("environ", "cmdline")] if Path("/proc/self").exists() else []
Path({target!r}).write_bytes(b"\\n".join([*own, repr((sys.argv, dict(__import__("os").environ))).encode()]))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# sitecustomize.py, which Python runs at its start: logs at least what Blender logs with --debug.
_LOG_ALL = """
import logging
logging.basicConfig(level=logging.DEBUG, filename={target!r})
logging.debug("begun")
"""


def forms(key: str) -> set[bytes]:
    """Return the key in plain text, URL-encoded, JSON-encoded, and in base64 at each of the three alignments."""
    inside = {base64.b64encode(b"x" * before + key.encode())[4 if before else 0 : -4] for before in range(3)}
    return {key.encode(), quote(key, safe="").encode(), json.dumps(key).encode()[1:-1], *inside}


def leaks(*folders: Path) -> list[Path]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(form in path.read_bytes() for form in forms(KEY))]


def check_requests(standin: StandIn, before: int) -> None:
    """Assert that the key was sent with each request to the API, and to no other host."""
    with_key: dict[str, set[bool]] = {"api": set(), "files": set()}
    for request in standin.requests()[before:]:
        content = json.dumps([request["path"], request["headers"]]).encode()
        with_key[request["host"]].add(any(form in content for form in forms(KEY)))
    assert with_key == {"api": {True}, "files": {False}}


@pytest.fixture
def secret(addon: Any, standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Key with characters that must be escaped in URLs and in JSON."""
    original = standin.key
    standin.set(key=KEY)
    monkeypatch.setenv("EACHLABS_API_KEY", KEY)
    yield KEY
    standin.set(key=original)
    addon.preferences.key = ""
    addon.preferences.remember = True


@pytest.fixture
def small(project: Path) -> Path:
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    return project


@pytest.mark.version_dependent
@pytest.mark.parametrize("source", ["variable", "preference, not remembered"])
@pytest.mark.usefixtures("secret")
def test_the_key_is_sent_only_to_the_api(
    *,
    source: str,
    addon: Any,
    standin: StandIn,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if source != "variable":
        monkeypatch.delenv("EACHLABS_API_KEY")
        addon.preferences.remember = False
        addon.preferences.key = KEY
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "sqlite3", addon.generation.__name__.rpartition(".")[0]):
        caplog.set_level(logging.DEBUG, name)
    witness, started_with = small / "witness.py", small / "environment of the render"
    witness.write_text(_WITNESS.format(target=str(started_with)))
    python, script = addon.config.render_command()
    monkeypatch.setattr(addon.config, "render_command", lambda: (python, str(witness), script))
    before = len(standin.requests())
    strips = [edits.movie(small, frames=24, at=(8,), channel=channel, size=(320, 180)) for channel in (2, 4, 6)]

    (good,) = edits.generate(addon, strips[0])
    error = f'{{"error": "not you: Authorization: Bearer {KEY}, X-API-Key: {KEY}, {quote(KEY, safe="")}"}}'
    standin.inject("create", "status", status=400, body=error)
    (refused,) = edits.generate(addon, strips[1])
    (cancelled,) = edits.start(addon, strips[2])
    edits.wait_for_stage(addon, cancelled.id, "predicting")
    addon.session.current.runner.cancel(cancelled.id)
    (cancelled,) = edits.finish(addon, [cancelled.id])
    assert [job.stage for job in (good, refused, cancelled)] == ["done", "failed", "cancelled"]
    assert "not you" in refused.error.message

    bpy.ops.wm.save_as_mainfile(filepath=str(small / "done.blend"), compress=False)
    bpy.ops.wm.save_userpref()
    assert addon.command.run(["jobs", "--json"]) == 0
    # The jobs command has closed the journal: a file that SQLite has open must not be opened by other means.
    output = capfd.readouterr()
    (small / "output").write_text(output.out + output.err + str([good, refused, cancelled]))
    logged = [f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records]
    (small / "log").write_text("\n".join(logged))
    assert started_with.is_file()
    assert leaks(small, Path(os.environ["BLENDER_USER_RESOURCES"]), Path(bpy.app.tempdir)) == []
    check_requests(standin, before)


# Blender as a Python module writes no crash file; all that it leaves behind is in its temporary folder.
@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.usefixtures("secret")
def test_a_killed_or_crashed_blender_leaves_no_key_behind(
    ended_by: signal.Signals, standin: StandIn, small: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    edits.movie(small, frames=24, at=(8,), size=(320, 180))
    bpy.ops.wm.save_mainfile()
    user, temp, start = (tmp_path_factory.mktemp(name) for name in ("user", "temp", "start"))
    (start / "sitecustomize.py").write_text(_LOG_ALL.format(target=str(temp / "debug.log")))
    blenders = Blenders(user, standin, small / "project.blend")
    blenders.variables |= {"EACHLABS_API_KEY": KEY, "TMPDIR": str(temp), "PYTHONPATH": str(start)}
    before = len(standin.requests())
    standin.inject("get", "status", status=200, body=json.dumps({"status": "processing"}), times=10**6)

    process = blenders.start("work")
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if line.split() == ["stage", "predicting", "created"]:
            break
    process.send_signal(ended_by)
    out, err = process.communicate(timeout=20)

    assert process.returncode == -ended_by, err
    (temp / "output").write_text("".join(lines) + out + err)
    assert (temp / "debug.log").stat().st_size
    assert list(user.rglob("jobs.sqlite3-wal"))
    assert leaks(small, user, temp) == []
    check_requests(standin, before)
