# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests with inaccessible files and folders, because of permissions or the network: a message reports it, not a traceback,
and what has been paid for is kept.
"""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from scripts import toolchain
from tests import footage
from tests.standin.client import StandIn

from . import edits
from .shares import as_ordinary_user, dead_share, without_permissions
from .test_disks import check_placed, retried, running, runs, start_and_wait_for_the_run
from .test_resume import Blenders

pytestmark = pytest.mark.version_dependent

GONE, GONE_HINT = "the network drive can't be reached", "Connect it again"
DENIED, DENIED_HINT = "access is denied", "Make it readable"

__all__ = ["runs"]


@pytest.fixture
def media(project: Path) -> Path:
    """Folder of the media, next to the project file."""
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 320, 180
    folder = project / "media"
    folder.mkdir()
    return folder


def movie(folder: Path) -> Any:
    return edits.movie(folder, frames=24, at=(8,), size=(320, 180))


def images(folder: Path) -> Any:
    pictures = footage.images(folder, frames=3, at=())
    return edits.image_strip(pictures, name="clip", channel=3)


def movie_clip(folder: Path) -> Any:
    path = footage.flashes(folder / "clip.mp4", frames=24, at=(8,), size=(320, 180))
    return edits.edit().strips.new_clip(name="clip", clip=bpy.data.movieclips.load(str(path)), channel=3, frame_start=1)


KINDS = [movie, images, movie_clip]


@pytest.mark.parametrize("kind", KINDS)
def test_media_on_a_disconnected_drive_are_reported(
    kind: Callable[[Path], Any], addon: Any, standin: StandIn, media: Path
) -> None:
    strip = kind(media)
    requests_before = len(standin.requests())
    with dead_share(media):
        (job,) = edits.generate(addon, strip)

    assert (job.stage, job.error.code) == ("failed", "files")
    assert job.error.message.startswith("“clip”: its file ") and str(media) in job.error.message
    assert GONE in job.error.message and GONE_HINT in job.error.hint
    assert len(standin.requests()) == requests_before
    (again,) = edits.generate(addon, strip)
    assert again.error is None


@pytest.mark.parametrize("below", ["", "deeper/down"])
def test_a_results_folder_on_a_disconnected_drive_is_reported_before_anything_is_sent(
    below: str, addon: Any, standin: StandIn, media: Path, project: Path
) -> None:
    strip = movie(media)
    requests_before = len(standin.requests())
    addon.preferences.results = str(project / "share" / below)
    try:
        with dead_share(project / "share"):
            (job,) = edits.generate(addon, strip)
    finally:
        addon.preferences.property_unset("results")

    assert (job.stage, job.error.code) == ("failed", "files")
    assert GONE in job.error.message and str(project / "share" / below) in job.error.message
    assert GONE_HINT in job.error.hint and "choose another Results Folder" in job.error.hint
    assert len(standin.requests()) == requests_before


def test_results_are_kept_for_a_retry_if_their_drive_was_disconnected(
    *, addon: Any, standin: StandIn, media: Path, project: Path, runs: Callable[[], int]
) -> None:
    strip = movie(media)
    (project / "mmaudio").mkdir()
    with running(standin, runs):
        job = start_and_wait_for_the_run(addon, strip, runs)
        share = dead_share(project / "mmaudio")
        share.__enter__()
    try:
        (failed,) = edits.finish(addon, [job.id])
    finally:
        share.__exit__(None, None, None)

    assert (failed.stage, failed.error.code) == ("failed", "files")
    assert GONE in failed.error.message and str(project / "mmaudio") in failed.error.message
    check_placed(retried(addon, failed))
    assert runs() == 1


def test_a_finished_sound_on_a_disconnected_drive_is_reported_and_placed_later(
    addon: Any, standin: StandIn, media: Path, project: Path
) -> None:
    (job,) = edits.generate(addon, movie(media))
    with dead_share(project / "mmaudio"):
        addon.generation.insert(job)
        (failed,) = edits.finish(addon, [job.id])

    assert (failed.stage, failed.error.code) == ("failed", "files")
    assert GONE in failed.error.message and str(job.takes[0].file) in failed.error.message
    addon.generation.insert(failed)
    (done,) = edits.finish(addon, [job.id])
    assert (done.stage, done.error) == ("done", None)


def test_a_user_folder_on_a_disconnected_drive_is_reported(
    addon: Any, standin: StandIn, media: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = movie(media)
    config = addon.page.config
    own = project / "home" / "extension"
    monkeypatch.setattr(addon.page, "config", lambda context: replace(config(context), extension_folder=own))
    addon.session.current.close(5)
    with dead_share(own.parent), pytest.raises(addon.failure.Failure) as caught:
        edits.start(addon, strip)
    assert caught.value.code == "files" and GONE in caught.value.message and str(own) in caught.value.message
    addon.session.current.close(5)


def test_a_sound_that_is_a_link_to_itself_does_not_stop_another_from_being_placed(
    addon: Any, standin: StandIn, media: Path, project: Path
) -> None:
    strip = movie(media)
    loop = project / "loop.wav"
    loop.symlink_to(loop)
    edits.edit().strips.new_sound(name="loop", filepath=str(loop), channel=6, frame_start=10)
    own = edits.edit().strips.new_sound(name="own", filepath=strip.filepath, channel=7, frame_start=10)

    (job,) = edits.generate(addon, strip, options={"mute_own_sound": True})

    assert (job.stage, job.error) == ("done", None)
    assert own.mute


def test_the_command_line_reports_an_output_folder_that_cannot_be_reached(
    addon: Any, standin: StandIn, media: Path, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    movie(media)
    (project / "loop").symlink_to(project / "loop")
    requests_before = len(standin.requests())
    with dead_share(project / "share"):
        for target, reason in (
            (project / "share" / "new.blend", GONE),
            (project / "share" / "below" / "new.blend", GONE),
            (project / "loop" / "new.blend", "links are circular"),
            (project / "no" / "new.blend", "there is no folder"),
        ):
            status = addon.command.run(["generate", "--strip", "clip", "--output", str(target)])
            error = capfd.readouterr().err
            assert (status, reason in error, str(target.parent) in error) == (2, True, True), error
    assert len(standin.requests()) == requests_before


class Restricted(Blenders):
    """Blenders whose processes file permissions apply to, even as root."""

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        process = [*as_ordinary_user(), *self.process(*arguments)]
        ways: dict[str, Any] = {"cwd": toolchain.ROOT, "env": self.variables, "capture_output": True, "text": True}
        return subprocess.run(process, **ways, timeout=120, check=False)


@pytest.fixture
def restricted(tmp_path_factory: pytest.TempPathFactory, standin: StandIn, project: Path) -> Restricted:
    return Restricted(tmp_path_factory.mktemp("user"), standin, project / "project.blend")


needs_posix_permissions = pytest.mark.skipif(os.name == "nt", reason="file permissions work differently on Windows")


@needs_posix_permissions
@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize("kind", KINDS)
def test_media_without_permissions_are_reported(
    *, kind: Callable[[Path], Any], what: str, restricted: Restricted, standin: StandIn, media: Path
) -> None:
    kind(media)
    bpy.ops.wm.save_mainfile()
    requests_before = len(standin.requests())
    (file, *_) = sorted(media.iterdir())
    with without_permissions(media if what == "folder" else file):
        ended = restricted.run("generate", "--strip", "clip", "--save", "--json")

    (job,) = json.loads(ended.stdout.strip().splitlines()[-1])["jobs"]
    assert (ended.returncode, job["state"], job["error"]["code"]) == (1, "failed", "files")
    message, hint = job["error"]["message"], job["error"]["hint"]
    assert message == f"“clip”: its file {file} can't be read: {DENIED}." and DENIED_HINT in hint
    assert "Traceback" not in ended.stderr
    assert len(standin.requests()) == requests_before


@needs_posix_permissions
@pytest.mark.parametrize("below", ["", "deeper"])
def test_folders_without_permissions_are_reported(
    below: str, restricted: Restricted, standin: StandIn, media: Path, project: Path
) -> None:
    movie(media)
    results = project / "mmaudio"
    (results / "deeper").mkdir(parents=True)
    bpy.ops.wm.save_mainfile()
    target = results / below / "new.blend"
    requests_before = len(standin.requests())
    with without_permissions(results):
        to_results = restricted.run("generate", "--strip", "clip", "--save")
        to_target = restricted.run("generate", "--strip", "clip", "--output", str(target))

    for ended, what in ((to_results, f"Sounds can't be written to {results}"), (to_target, str(target.parent))):
        assert ended.returncode == 2
        assert what in ended.stderr and DENIED in ended.stderr and "Make it writable" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert len(standin.requests()) == requests_before
