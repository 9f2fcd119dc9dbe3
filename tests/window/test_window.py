# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the add-on in Blender with a window."""

import json
import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from scripts import toolchain
from tests.standin.client import StandIn
from tests.unit.servers import rclone_s3

from .conftest import Window

GAP_MAX_SECONDS = 0.1
"""How much longer the interface may block during a job than while idle in the same Blender."""


def save_screenshots(folder: Path, *names: str) -> None:
    """Copy screenshots to the folder in `MMAUDIO_PICTURES`, if set; so the README's were made."""
    if target := os.environ.get("MMAUDIO_PICTURES"):
        for name in names:
            shutil.copy(folder / f"{name}.png", target)


def test_the_main_job_keeps_the_interface_responsive_and_places_one_undoable_strip(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    seen = window.run("main_job", tmp_path, standin.environment)

    print({name: round(value, 3) for name, value in seen.items() if name.startswith("gap")})
    assert seen["started"] == ["FINISHED"]
    assert (seen["stage"], seen["error"]) == ("done", None)
    assert seen["sound"] == [*seen["clip"][:2], seen["clip"][2] - 1]
    assert seen["after_undo"] == ["Bunny", "Bunny again"]
    assert sorted(seen["after_redo"]) == sorted(["Bunny", "Bunny again", *seen["sounds"]])
    assert max(seen["gap_until_export"], seen["gap_at_work"]) < seen["gap_at_rest"] + GAP_MAX_SECONDS
    save_screenshots(tmp_path, "idle", "at-work", "done")


def test_sounds_of_one_clip_are_placed_beside_sounds_added_by_hand(
    window: Window, standin: StandIn, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seen = window.run("gaps", tmp_path, standin.environment)

    at_work, by_hand = statistics.median(seen["at work"]), statistics.median(seen["by hand"])
    record_property(
        "longest time that the interface is blocked, median of 5",
        f"{1000 * at_work:.0f} ms by a job, {1000 * by_hand:.0f} ms by a sound added by hand",
    )
    # The figures are for people: a limit would fail on a machine that is busy.
    assert seen["takes"] == [1, 2, 3, 4, 5]


def test_operators_on_takes_are_one_undo_step_each_and_settings_can_be_reused(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    seen = window.run("takes", tmp_path, standin.environment)

    assert seen["placed"] == [[1, 3, False]]
    assert seen["played"] == {
        "next_take": [[[2, 3, False]], True, True],
        "previous_take": [[[3, 3, False]], True, True],
        "play_take": [[[3, 3, False]], True, True],
        "keep_take": [[[1, 1, False]], True, True],
        "unpack_takes": [[[1, 1, False], [2, 1, True], [3, 1, True]], True, True],
    }
    assert (seen["placing undone"], seen["placing redone"]) == ([], [[1, 3, False]])
    assert seen["can_reuse"]
    assert seen["reused"] == ["birdsong, leaves, a rabbit yawns", "music, speech", 40]
    assert seen["available without a take"] == [False, False]
    save_screenshots(tmp_path, "takes", *seen["played"])


def test_sounds_of_neighbors_are_cross_faded_and_one_sound_lies_over_both(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    seen = window.run("mix", tmp_path, standin.environment)

    (first, whole, second) = sorted(seen["sounds"], key=lambda sound: (sound[0], sound[1]))
    assert first[1] == second[0] == 100 and first[2] == second[2] == 2
    assert (whole[0], whole[1]) == (first[0], second[1]) and whole[2] == 1
    assert seen["played"]["crossfade_sounds"] == [["FINISHED"], [2, 2], True, True, True]
    assert seen["played"]["fade_edges"] == [["FINISHED"], [4, 4], True, True, True]
    save_screenshots(tmp_path, "two sounds", "one sound", "crossfade_sounds", "fade_edges")


def test_the_plan_is_shown_and_a_dialog_asks_above_the_limit(window: Window, standin: StandIn, tmp_path: Path) -> None:
    seen = window.run("plan", tmp_path, standin.environment)

    assert seen["before"] == "2 strips · 2 runs · about $0.011"
    assert seen["asked"] == 0
    assert seen["at work"] == seen["done"] == "Nothing to generate · 2 skipped"
    assert seen["again"].startswith("2 strips · 2 runs")
    assert seen["after undo"] < 2
    save_screenshots(tmp_path, "plan", "dialog", "plan at work", "plan done")


GALLERY = "MMAUDIO_GALLERY"
"""Variable that makes the scenarios of many shots photograph each state at all sizes, into MMAUDIO_PICTURES."""


def run_shots(window: Window, name: str, folder: Path, standin: StandIn, **details: Any) -> dict[str, Any]:
    """Run a scenario of fifty_shots.py and save all its screenshots."""
    gallery = GALLERY in os.environ
    seen = window.run(name, folder, standin.environment, script="fifty_shots.py", gallery=gallery, **details)
    save_screenshots(folder, *(picture.stem for picture in folder.glob("*.png")))
    return seen


def test_twelve_shots_are_prepared_ordered_by_key_and_placed_in_few_undo_steps(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    standin.set(run_seconds=1.0)

    seen = run_shots(window, "batch", tmp_path, standin)

    assert seen["whole edit"] == seen["channel"] == "12 strips · 12 runs · about $0.065"
    assert seen["preview range"] == "2 strips · 2 runs · about $0.011"
    assert seen["prompts"] == ["footsteps, rain", "a door, rain", "a car passes by, rain", "rain"]
    assert seen["done"] == ["done"] * 12
    assert 1 <= len(seen["steps"]) < 8 and seen["steps"][0].startswith("Place Sound")
    assert seen["job of the selected strip"] == "SC012_SH0050_comp_v017.mp4"
    assert seen["shown"] == ["SC012_SH0080_comp_v017.mp4"]
    assert seen["news"] == "12 sounds placed"
    assert seen["again"] == "Nothing to generate · 12 skipped"
    assert seen["cleared"] == 0


def test_an_empty_balance_holds_the_rest_until_one_click_goes_on(window: Window, standin: StandIn, tmp_path: Path) -> None:
    standin.inject("create", "status", status=402, body='{"error": "insufficient balance"}', times=1000)

    seen = run_shots(window, "held", tmp_path, standin, on_told=lambda _: standin.clear_faults())

    assert seen["failed"] >= 1 and seen["held"] >= 1 and seen["failed"] + seen["held"] == 8
    assert seen["summary"] == f"Balance too low ({seen['failed']})"
    assert seen["continued"] == ["FINISHED"]
    assert seen["done"] == ["done"] * 8
    assert len(standin.state()["runs"]) == 8


def test_undo_takes_back_the_artists_edit_and_sounds_come_in_groups(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    standin.set(run_seconds=0.5)

    seen = run_shots(window, "undo", tmp_path, standin)

    assert seen["pending"] == 1 and seen["saved"]
    assert len(seen["steps"]) < 6
    assert (seen["placed right after an edit"], seen["edit undone"], seen["then"]) == (False, True, "done")


def test_operators_are_found_by_search_and_keys_and_the_tab_is_not_in_a_preview(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    seen = run_shots(window, "found", tmp_path, standin)

    assert seen["takes"] == [1, 2, 1, 2]
    assert seen["tab"] and seen["tab in a preview"] == [False, False]


def test_a_list_of_500_jobs_is_drawn_with_a_filter(
    window: Window, standin: StandIn, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seen = run_shots(window, "many", tmp_path, standin)

    filtered = statistics.median(seen["filter"])
    record_property(
        "list of 500 jobs",
        f"filter {1000 * filtered:.2f} ms, {seen['rows']} rows drawn in {1000 * seen['draw']:.2f} ms, "
        f"mirrored in {1000 * seen['first update']:.1f} ms, {1000 * seen['update']:.1f} ms when nothing has changed",
    )
    assert 0 < seen["shown"] < 100 and seen["rows"] > 0


def test_without_a_key_the_panel_leads_to_the_first_sound(window: Window, standin: StandIn, tmp_path: Path) -> None:
    key, address = standin.key, standin.base_url

    seen = window.run(
        "first_contact",
        tmp_path,
        {"EACHLABS_API_KEY": "", "EACHLABS_BASE_URL": address},
        script="fifty_shots.py",
        gallery=GALLERY in os.environ,
        key=key,
    )

    assert seen["tests"] == [["", "bad_key"], ["Eachlabs accepts the key.", ""]]
    assert seen["stage"] == "done"
    save_screenshots(tmp_path, *(picture.stem for picture in tmp_path.glob("*.png")))


def test_a_failed_run_reports_the_reason_and_leaves_the_edit_and_the_button_usable(
    window: Window, standin: StandIn, tmp_path: Path
) -> None:
    standin.inject("run", "fail", reason="CUDA out of memory")

    seen = window.run("failed_job", tmp_path, standin.environment)

    assert seen["stage"] == "failed"
    assert "“Bunny”" in seen["error"] and "CUDA out of memory" in seen["error"]
    assert seen["strips"] == ["Bunny", "Bunny again"]
    assert seen["can_generate"]
    save_screenshots(tmp_path, "error")


def test_the_panel_is_drawn_before_a_large_3d_scene_is_copied(window: Window, standin: StandIn, tmp_path: Path) -> None:
    seen = window.run("large_scene", tmp_path, standin.environment)

    assert seen["started"] == ["RUNNING_MODAL"]
    assert seen["drawn before the copy"] >= 1


def test_a_recovered_session_keeps_its_sounds_where_it_is_saved(
    window: Window, standin: StandIn, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temp = tmp_path_factory.mktemp("temp")
    variables = {**standin.environment, "TMPDIR": str(temp)}
    window.run("closed_unsaved", tmp_path, variables)
    assert (temp / "quit.blend").is_file()

    seen = window.run("recovered", tmp_path, variables)

    assert seen["recovered"] == [True, "quit.blend", ["Bunny again", "Bunny unsaved"]]
    assert seen["stage"] == "done"
    (before,), (after,) = seen["before"], seen["after"]
    assert temp not in Path(before).parents and Path(before).is_file()
    assert Path(after).parent == tmp_path / "saved" / "mmaudio" and Path(after).is_file()
    assert seen["project"] == str(tmp_path / "saved" / "film.blend")
    assert seen["redone"] == [True]


def test_a_job_continues_after_the_addon_or_blender_was_closed(window: Window, standin: StandIn, tmp_path: Path) -> None:
    seen = window.run("interrupted", tmp_path, standin.environment)

    sound = "Bunny (MMAudio)"
    assert (seen["placed"], seen["undone"], seen["inserted"]) == ([sound], [], [sound])

    seen = window.run("reopened", tmp_path, standin.environment)

    assert seen["sounds"] == ["Bunny (MMAudio)", "Bunny again (MMAudio)"]
    assert [run["status"] for run in standin.state()["runs"]] == ["success", "success"]


def test_the_panel_shows_which_requirement_is_missing(window: Window, tmp_path: Path) -> None:
    seen = window.run("blockers", tmp_path, {"EACHLABS_API_KEY": "", "EACHLABS_BASE_URL": ""})["blockers"]

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
        seen = window.run("storage", tmp_path, standin.environment, bucket=bucket)

    assert seen["well"] == ["Uploaded, read back from 127.0.0.1 and deleted.", "None"]
    assert "secret key is wrong" in seen["wrong"]
    assert (seen["blocker"], seen["ready"]) == ("no_address", None)


@pytest.fixture
def project(window: Window, tmp_path: Path) -> Path:
    """A saved project with one strip, "Bunny"."""
    script = (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(toolchain.ROOT)!r}); "
        "from scripts import in_blender; in_blender.make_edit(Path(sys.argv[-1]), 'Bunny', Path(sys.argv[-2]))"
    )
    project = tmp_path / "project.blend"
    shutil.copy(toolchain.footage(), tmp_path / "clip.mp4")
    window.command("--background", "--python-expr", script, "--", project, tmp_path / "clip.mp4")
    assert project.is_file()
    return project


def json_jobs(out: str) -> list[dict[str, Any]]:
    """Return the jobs that a command has printed with --json."""
    line = next(line for line in reversed(out.splitlines()) if line.startswith("{"))
    return json.loads(line)["jobs"]


def test_the_command_line_does_the_same_without_a_window(window: Window, standin: StandIn, project: Path) -> None:
    target = project.with_name("with sound.blend")
    mmaudio = ("--background", project, "--command", "mmaudio")
    generate = (*mmaudio, "generate", "--strip", "Bunny", "--output", target, "--json")

    offline = window.command("--offline-mode", *generate, variables=standin.environment)
    assert offline.returncode == 3, offline.stdout
    assert "Online access is disabled" in offline.stdout

    online = window.command("--online-mode", *generate, variables=standin.environment)

    assert online.returncode == 0, online.stdout
    (job,) = json_jobs(online.stdout)
    assert job["state"] == "done"
    assert target.is_file() and Path(job["sounds"][0]["file"]).is_file()
    (run,) = standin.state()["runs"]
    assert run["status"] == "success"


def interrupted(
    window: Window, standin: StandIn, project: Path, by: signal.Signals, variables: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """Send the signal `by` to a command once its run has started; return its exit status and output."""
    mmaudio = ("--online-mode", "--background", project, "--command", "mmaudio")
    generate = (*mmaudio, "generate", "--strip", "Bunny", "--save")
    process = window.start(*generate, variables={**standin.environment, **variables})
    while not standin.state()["runs"]:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, by)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_files_of_a_crash_do_not_contain_the_key(
    window: Window, standin: StandIn, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temp = tmp_path_factory.mktemp("temp")
    standin.set(run_seconds=30.0)

    status, out = interrupted(window, standin, project, signal.SIGSEGV, {"TMPDIR": str(temp)})

    assert status == -signal.SIGSEGV, out
    assert (temp / "project.crash.txt").is_file()
    (temp / "output").write_text(out)
    files = [path for folder in (temp, project.parent) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if standin.key.encode() in path.read_bytes()] == []


def test_the_crash_file_does_not_contain_a_typed_clip_url(
    window: Window, standin: StandIn, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temp = tmp_path_factory.mktemp("temp")

    seen = window.run("typed_address", tmp_path, {**standin.environment, "TMPDIR": str(temp)}, address="tokeninaddress")

    assert seen["typed"] == "tokeninaddress"
    crash_file = (temp / "project.crash.txt").read_bytes()
    assert b'mmaudio.negative_prompt = "word"' in crash_file, "text typed into other fields is in the crash file"
    assert b"tokeninaddress" not in crash_file


def test_after_ctrl_c_the_resume_command_finishes_the_job(window: Window, standin: StandIn, project: Path) -> None:
    standin.set(run_seconds=4.0)

    status, out = interrupted(window, standin, project, signal.SIGINT)
    assert status == 1, out
    assert "Interrupted" in out

    mmaudio = ("--online-mode", "--background", project, "--command", "mmaudio")
    resumed = window.command(*mmaudio, "resume", "--save", "--json", variables=standin.environment)

    assert [job["state"] for job in json_jobs(resumed.stdout)] == ["done"]
    assert len(standin.state()["runs"]) == 1
