# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests with unusual names of strips, scenes, files and folders: the sounds are written to their folder and nowhere else."""

import json
import os
import re
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from tests.standin.client import StandIn

from . import edits
from .conftest import MODULE

NAMES = {
    "emoji and marks": "e\u0301 \U0001f3ac \U0001f469\u200d\U0001f469\u200d\U0001f467 Z\u0351\u036b\u0313",
    "right to left": "\u0645\u0634\u0647\u062f \u202egpj.exe\u202c \u05e9\u05dc\u05d5\u05dd",
    "quotes": '"it\'s" \u201cquoted\u201d \\n',
    "lines": "one\ntwo\tthree\r\x1b[31mred\u2028four",
    "a path": "../../../tmp/owned/.. ",
    "shell": "$(touch owned); `touch owned` | touch owned & %PATH% %s {0} {1!r}",
    "long": "\u00df" * 300,
    "reserved": "CON. ",
    "an option": "--python-expr=1",
}
# Without the characters that Windows forbids in file names, and those with a meaning to a shell.
SAFE = re.compile(r"[\w-]+\.wav")


def as_file(name: str) -> str:
    """Return the name made valid for a Linux folder with footage; from one with a backslash, Blender can't play footage."""
    name = name.replace("/", "\N{DIVISION SLASH}").replace("\\", "\N{SET MINUS}")
    return os.fsencode(name)[:200].decode("utf-8", "ignore")


def files(folder: Path) -> set[Path]:
    """Return all files in a folder, except for Blender's backups of saved files."""
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".blend1"}


class Layout:
    """Substitute for a panel's layout that collects the texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def add(*_: object, text: str = "", **__: object) -> Any:
            self.texts.append(text)
            return self if name in ("row", "column", "box", "split") else SimpleNamespace()

        return add


def panel_of(job: Any) -> list[str]:
    layout = Layout()
    # Without a window, Blender's own `ui_scale` is 0.
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0), addons=bpy.context.preferences.addons)
    context = SimpleNamespace(preferences=preferences, region=SimpleNamespace(width=300))
    sys.modules[f"{MODULE}.ui.job_panel"].draw_selected(layout, job, context)
    job_list = sys.modules[f"{MODULE}.ui.job_list"]
    job_list.update()
    manager: Any = bpy.context.window_manager
    shown = [job_list.shortened(row.label, context) for row in manager.mmaudio_jobs]
    return [*layout.texts, *shown, *(row.label for row in manager.mmaudio_jobs)]


def check_readable(texts: list[str]) -> None:
    for text in texts:
        assert not [letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs")], text
        assert "\u202e" not in text


@pytest.fixture
def small(project: Path) -> Path:
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    return project


@pytest.mark.parametrize(
    "name",
    [
        # 5.0 allows longer names.
        pytest.param(name, id=called, marks=pytest.mark.version_dependent if called in ("emoji and marks", "long") else ())
        for called, name in NAMES.items()
    ],
)
def test_any_name_is_used_literally(
    name: str, addon: Any, standin: StandIn, small: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = small / "in" / as_file(name)
    folder.mkdir(parents=True)
    blend = folder / f"{as_file(name)}.blend"
    strip = edits.movie(folder, frames=24, at=(8,), size=(320, 180))
    lost = edits.movie(folder, frames=1, at=(), channel=6, size=(320, 180))
    strip.name, lost.name, bpy.context.scene.name = name, f"lost {name}", name
    Path(bpy.path.abspath(lost.filepath)).unlink()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    called, before, here = strip.name, files(small), set(Path().iterdir())

    done, refused = edits.generate(addon, strip, lost, prompt=name)
    bpy.ops.wm.save_mainfile()

    assert (done.stage, done.error, refused.error.code) == ("done", None, "missing_file"), done.error
    (sound,) = [part for part in edits.edit().strips if part.get("mmaudio")]
    (made,) = files(small) - before
    assert made.parent == folder / "mmaudio" and SAFE.fullmatch(made.name)
    assert Path(bpy.path.abspath(sound.sound.filepath)).samefile(made)
    assert set(Path().iterdir()) == here
    assert list(standin.state()["runs"])[-1]["input"]["prompt"] == name
    words = addon.failure.readable(called)
    assert words in panel_of(done)
    assert words[:20] in refused.error.message and refused.error.message.startswith("“")
    check_readable([*panel_of(done), *panel_of(refused), refused.error.message])
    capfd.readouterr()
    assert addon.command.run(["jobs"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.count("\t") for line in lines] == [4] * len(lines)
    (listed,) = [line.split("\t") for line in lines if done.id in line]
    assert listed[:3] == ["done", words, addon.failure.readable(str(blend))]
    assert addon.command.run(["jobs", "--json"]) == 0
    jobs = json.loads(capfd.readouterr().out.splitlines()[-1])["jobs"]
    assert [(job["strip"], job["project"]) for job in jobs if job["id"] == done.id] == [(called, str(blend))]


@pytest.mark.version_dependent
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows names that are not Unicode")
def test_a_folder_whose_name_is_not_unicode_is_reported_and_another_one_works(
    addon: Any, standin: StandIn, small: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = small / os.fsdecode(b"caf\xe9 \xff")
    folder.mkdir()
    clip = edits.movie(small, frames=24, at=(8,), size=(320, 180))
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "project.blend"))
    requests_before = len(standin.requests())
    (refused,) = edits.generate(addon, clip)
    assert "not in UTF-8" in refused.error.message and "choose another Results Folder" in refused.error.hint
    check_readable([refused.error.message])
    assert (len(standin.requests()), [path.name for path in folder.iterdir()]) == (requests_before, ["project.blend"])

    addon.preferences.results = str(small / "sounds")
    try:
        (job,) = edits.generate(addon, clip)
    finally:
        addon.preferences.property_unset("results")
    bpy.ops.wm.save_mainfile()

    assert (job.stage, job.error) == ("done", None)
    (made,) = files(small / "sounds")
    bpy.ops.wm.open_mainfile(filepath=str(folder / "project.blend"))
    (sound,) = [part for part in edits.edit().strips if part.get("mmaudio")]
    assert Path(bpy.path.abspath(sound.sound.filepath)).samefile(made)
    check_readable(panel_of(job))
    assert addon.command.run(["jobs"]) == 0
    assert job.id in capfd.readouterr().out


@pytest.mark.parametrize(
    ("results", "where"),
    [
        ("", "project/mmaudio"),
        ("../sounds", "sounds"),
        ("//../../x y/./z/", "../x y/z"),
        ("sounds;$(touch owned)", "project/sounds;$(touch owned)"),
        ("{}/any where", "any where"),
        ("{{x}} ##%d $HOME", "project/{x} ##%d $HOME"),
        pytest.param("{}/~ {{blend_name}}", "~ {blend_name}", marks=pytest.mark.version_dependent),
    ],
)
# Blender warns when "//" is set in an add-on's preferences from Python.
@pytest.mark.filterwarnings("ignore:.*blend relative:RuntimeWarning")
def test_results_are_written_to_the_folder_in_the_preferences(
    results: str, where: str, addon: Any, standin: StandIn, small: Path
) -> None:
    folder = small / "deep" / "project"
    folder.mkdir(parents=True)
    clip = edits.movie(small, frames=24, at=(8,), size=(320, 180))
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "project.blend"))
    before, here = files(small), set(Path().iterdir())
    addon.preferences.results = results.format(folder.parent)
    try:
        (job,) = edits.generate(addon, clip)
    finally:
        addon.preferences.property_unset("results")

    assert (job.stage, job.error) == ("done", None)
    (made,) = files(small) - before
    assert made.parent == (folder.parent / where).resolve()
    assert set(Path().iterdir()) == here


@pytest.mark.filterwarnings("ignore:.*blend relative:RuntimeWarning")
def test_a_file_in_place_of_the_results_folder_is_reported(addon: Any, standin: StandIn, small: Path) -> None:
    clip = edits.movie(small, frames=24, at=(8,), size=(320, 180))
    (small / "taken").write_text("mine")
    requests_before = len(standin.requests())
    addon.preferences.results = "//taken/sounds/"
    try:
        (job,) = edits.generate(addon, clip)
    finally:
        addon.preferences.property_unset("results")

    assert "a file is in the way" in job.error.message and str(small / "taken") in job.error.message
    assert "choose another Results Folder" in job.error.hint
    assert (small / "taken").read_text() == "mine"
    assert len(standin.requests()) == requests_before
