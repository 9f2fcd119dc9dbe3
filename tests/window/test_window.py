# SPDX-License-Identifier: GPL-3.0-or-later
"""The product in a real Blender's window, as its artist meets it."""

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.standin.client import StandIn
from tests.unit.servers import rclone_s3

from .conftest import Window, workshop

GAP_MAX_SECONDS = 0.1
"""By how much the interface may be held up beyond what the same Blender shows at rest."""


def keep_pictures(folder: Path, *names: str) -> None:
    """Copies screenshots to where `MMAUDIO_PICTURES` says: that is how the README's were made."""
    if target := os.environ.get("MMAUDIO_PICTURES"):
        for name in names:
            shutil.copy(folder / f"{name}.png", target)


def test_the_main_job_leaves_the_interface_alive_and_places_one_undoable_strip(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    seen = window.play("main_job", tmp_path, standin.environment)

    print({name: round(value, 3) for name, value in seen.items() if name.startswith("gap")})
    assert seen["started"] == ["FINISHED"]
    assert (seen["stage"], seen["error"]) == ("done", None)
    assert seen["sound"] == [*seen["clip"][:2], seen["clip"][2] - 1]
    assert seen["after_undo"] == ["Bunny", "Bunny again"]
    assert sorted(seen["after_redo"]) == sorted(["Bunny", "Bunny again", *seen["sounds"]])
    assert max(seen["gap_until_export"], seen["gap_at_work"]) < seen["gap_at_rest"] + GAP_MAX_SECONDS
    keep_pictures(tmp_path, "idle", "at-work", "done")


def test_the_next_take_is_heard_by_one_undoable_click_and_settings_come_back(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    seen = window.play("takes", tmp_path, standin.environment)

    first, second = [False, True, True], [True, False, True]
    assert (seen["placed"], seen["next"], seen["next undone"]) == (first, second, first)
    assert (seen["placing undone"], seen["placing redone"]) == ([], first)
    assert seen["can_reuse"]
    assert seen["reused"] == ["birdsong, leaves, a rabbit yawns", "music, speech", 40]
    assert seen["elsewhere"] == [False, False]
    keep_pictures(tmp_path, "takes")


def test_a_failed_run_says_why_and_leaves_edit_and_button_alive(window: Window, standin: StandIn, tmp_path: Path) -> None:
    standin.order("run", "fail", reason="CUDA out of memory")

    seen = window.play("failed_job", tmp_path, standin.environment)

    assert seen["stage"] == "failed"
    assert "“Bunny”" in seen["error"] and "CUDA out of memory" in seen["error"]
    assert seen["strips"] == ["Bunny", "Bunny again"]
    assert seen["can_generate"]
    keep_pictures(tmp_path, "error")


def test_a_click_that_copies_a_3d_scene_says_so_before_it_begins(window: Window, standin: StandIn, tmp_path: Path) -> None:
    seen = window.play("large_scene", tmp_path, standin.environment)

    assert seen["started"] == ["RUNNING_MODAL"]
    assert seen["drawn before the copy"] >= 1


def test_a_recovered_session_keeps_its_sounds_where_it_is_saved(
    window: Window, standin: StandIn, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temp = tmp_path_factory.mktemp("temp")
    variables = {**standin.environment, "TMPDIR": str(temp)}
    window.play("closed_unsaved", tmp_path, variables)
    assert (temp / "quit.blend").is_file()

    seen = window.play("recovered", tmp_path, variables)

    assert seen["recovered"] == [True, "quit.blend", ["Bunny again", "Bunny unsaved"]]
    assert seen["stage"] == "done"
    (before,), (after,) = seen["before"], seen["after"]
    assert temp not in Path(before).parents and Path(before).is_file()
    assert Path(after).parent == tmp_path / "saved" / "mmaudio" and Path(after).is_file()
    assert seen["project"] == str(tmp_path / "saved" / "film.blend")
    assert seen["redone"] == [True]


def test_a_job_outlives_the_addon_and_blender(window: Window, standin: StandIn, tmp_path: Path) -> None:
    seen = window.play("interrupted", tmp_path, standin.environment)

    sound = "Bunny (MMAudio)"
    assert (seen["placed"], seen["undone"], seen["inserted"]) == ([sound], [], [sound])

    seen = window.play("reopened", tmp_path, standin.environment)

    assert seen["sounds"] == ["Bunny (MMAudio)", "Bunny again (MMAudio)"]
    assert [run["status"] for run in standin.state()["runs"]] == ["success", "success"]


def test_what_is_missing_is_said_where_it_is_missed(window: Window, tmp_path: Path) -> None:
    seen = window.play("blockers", tmp_path, {"EACHLABS_API_KEY": "", "EACHLABS_BASE_URL": ""})["blockers"]

    assert seen == {
        "no-key": "no_key",
        "ready": None,
        "offline": "offline",
        "no-strip": "no_strip",
        "no-picture": "no_picture",
        "two-strips": None,
        "no-edit": "no_edit",
        "unsafe-address": "unsafe_url",
    }


def test_a_bucket_is_set_up_and_tested_in_the_preferences(window: Window, standin: StandIn, tmp_path: Path) -> None:
    with rclone_s3(tmp_path / "rclone") as server:
        config = server.config
        bucket = {
            "endpoint": config.endpoint,
            "bucket": config.bucket,
            "prefix": "mmaudio",
            "access_key": config.access_key,
            "secret_key": config.secret_key,
        }
        seen = window.play("storage", tmp_path, standin.environment, bucket=bucket)

    assert seen["well"] == ["Uploaded, read back from 127.0.0.1 and deleted.", "None"]
    assert "secret key is wrong" in seen["wrong"]
    assert (seen["blocker"], seen["ready"]) == ("no_address", None)


@pytest.fixture
def project(window: Window, tmp_path: Path) -> Path:
    """A saved project with one strip, "Bunny"."""
    make = (
        "import bpy, sys; s = bpy.context.scene.sequence_editor_create().strips; "
        "s.new_movie(name='Bunny', filepath=sys.argv[-1], channel=3, frame_start=1); "
        "bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-2])"
    )
    project = tmp_path / "project.blend"
    shutil.copy(workshop.footage(), tmp_path / "clip.mp4")
    window.command("--background", "--python-expr", make, "--", project, tmp_path / "clip.mp4")
    assert project.is_file()
    return project


def jobs_said(out: str) -> list[dict[str, Any]]:
    """What a command has said with --json."""
    line = next(line for line in reversed(out.splitlines()) if line.startswith("{"))
    return json.loads(line)["jobs"]


def test_the_command_line_does_the_same_without_a_window(window: Window, standin: StandIn, project: Path) -> None:
    target = project.with_name("with sound.blend")
    mmaudio = ("--background", project, "--command", "mmaudio")
    generate = (*mmaudio, "generate", "--strip", "Bunny", "--output", target, "--json")

    refused = window.command("--offline-mode", *generate, variables=standin.environment)
    assert refused.returncode == 3, refused.stdout
    assert "Online access is disabled" in refused.stdout

    said = window.command("--online-mode", *generate, variables=standin.environment)

    assert said.returncode == 0, said.stdout
    (job,) = jobs_said(said.stdout)
    assert job["state"] == "done"
    assert target.is_file() and Path(job["sounds"][0]["file"]).is_file()
    (run,) = standin.state()["runs"]
    assert run["status"] == "success"


def interrupted(
    window: Window, standin: StandIn, project: Path, by: signal.Signals, variables: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """Has a command interrupted once its run has begun; returns its exit status, and what it has said."""
    mmaudio = ("--online-mode", "--background", project, "--command", "mmaudio")
    generate = (*mmaudio, "generate", "--strip", "Bunny", "--save")
    process = window.start(*generate, variables={**standin.environment, **variables})
    while not standin.state()["runs"]:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, by)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_what_blender_writes_when_it_crashes_has_no_key(
    window: Window, standin: StandIn, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temp = tmp_path_factory.mktemp("temp")
    standin.set(run_seconds=30.0)

    ended, out = interrupted(window, standin, project, signal.SIGSEGV, {"TMPDIR": str(temp)})

    assert ended == -signal.SIGSEGV, out
    assert (temp / "project.crash.txt").is_file()
    (temp / "words").write_text(out)
    files = [path for folder in (temp, project.parent) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if standin.key.encode() in path.read_bytes()] == []


def test_what_blender_writes_when_it_crashes_has_no_address_that_was_typed(
    window: Window, standin: StandIn, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temp = tmp_path_factory.mktemp("temp")

    seen = window.play("typed_address", tmp_path, {**standin.environment, "TMPDIR": str(temp)}, address="tokeninaddress")

    assert seen["typed"] == "tokeninaddress"
    said = (temp / "project.crash.txt").read_bytes()
    assert b'mmaudio.negative_prompt = "word"' in said, "it tells what was typed elsewhere"
    assert b"tokeninaddress" not in said


def test_ctrl_c_ends_a_command_and_another_goes_on(window: Window, standin: StandIn, project: Path) -> None:
    standin.set(run_seconds=4.0)

    ended, out = interrupted(window, standin, project, signal.SIGINT)
    assert ended == 1, out
    assert "Interrupted" in out

    mmaudio = ("--online-mode", "--background", project, "--command", "mmaudio")
    said = window.command(*mmaudio, "resume", "--save", "--json", variables=standin.environment)

    assert [job["state"] for job in jobs_said(said.stdout)] == ["done"]
    assert len(standin.state()["runs"]) == 1
