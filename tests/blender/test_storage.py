# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the storages and the webhook with real servers and renders, from the preferences to the placed sound."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
import requests

from scripts import in_blender
from tests.standin.client import StandIn
from tests.unit.servers import BUCKET, S3Server, Scripted, Seen, answering, files_for_anyone, free_ports, rclone, rclone_s3

from . import edits
from .conftest import MODULE

HOST = "hook.studio.example"
SIZE = (320, 180)
SECRETS = {
    "s3_secret_key": "an-s3-s3cret",
    "s3_session_token": "a-token-s3cret",
    "put_password": "a-password-s3cret",
    "put_token": "a-bearer-s3cret",
    "put_headers": "AccessKey: a-header-s3cret",
    "put_upload": "https://julia:a-login-s3cret@dav.example/a-path-s3cret/{name}?sig=an-upload-s3cret",
    "put_public": "https://cdn.example/{name}?sig=a-public-s3cret",
}

SECRET_COUNT = sum(value.count("s3cret") for value in SECRETS.values())


@pytest.fixture
def preferences(addon: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The preferences, reset to their defaults after the test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    yield addon.preferences
    holder = addon.preferences
    for name in SECRETS:
        setattr(holder, name, "")
    for member in holder.bl_rna.properties:
        name = member.identifier
        if name.split("_")[0] in ("storage", "remember", "each", "s3", "put", "webhook") and name not in SECRETS:
            holder.property_unset(name)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, Path]]:
    """Bucket served by rclone, and the folder with its files."""
    folder = tmp_path_factory.mktemp("rclone")
    with rclone_s3(folder) as server:
        yield server, folder / "files" / BUCKET


def use_bucket(preferences: Any, server: S3Server, **changes: str) -> None:
    config = server.config
    preferences.storage = "s3"
    preferences.s3_endpoint, preferences.s3_bucket, preferences.s3_prefix = config.endpoint, config.bucket, "mm audio"
    preferences.s3_access_key, preferences.s3_secret_key = config.access_key, config.secret_key
    for name, value in changes.items():
        setattr(preferences, name, value)


def files_with(text: str, *folders: Path) -> list[str]:
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert paths
    return [path.name for path in paths if text.encode() in path.read_bytes()]


def user_folder() -> Path:
    return Path(os.environ["BLENDER_USER_RESOURCES"])


def forbid_rendering(addon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each background render fail its job."""
    monkeypatch.setattr(addon.config, "render_command", lambda: (sys.executable, "-c", "raise SystemExit(3)"))


@pytest.mark.version_dependent
def test_a_clip_is_uploaded_to_a_private_bucket_and_deleted_again(
    *,
    addon: Any,
    preferences: Any,
    standin: StandIn,
    project: Path,
    bucket: tuple[S3Server, Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    server, folder = bucket
    standin.set_outbound(storages=[server.config.endpoint])
    uploads = len(standin.state()["uploads"])
    preferences.remember = False
    use_bucket(preferences, server)

    (job,) = edits.generate(addon, edits.movie(project, frames=30))

    assert (job.stage, job.error) == ("done", None)
    video = standin.state()["runs"][-1]["input"]["video"]
    assert video.startswith(f"{server.config.endpoint}/{BUCKET}/mm%20audio/")
    assert len(standin.state()["uploads"]) == uploads
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert requests.get(video, timeout=10).status_code == 404
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "done.blend"), compress=False)
    bpy.ops.wm.save_userpref()
    captured = capfd.readouterr()
    assert files_with(server.config.secret_key, project, user_folder()) == []
    assert server.config.secret_key not in captured.out + captured.err


def live_uploads(standin: StandIn) -> int:
    return sum(upload["live"] for upload in standin.state()["uploads"])


def test_a_clip_that_could_not_be_deleted_is_deleted_when_its_file_is_opened_again(
    addon: Any, standin: StandIn, project: Path
) -> None:
    edits.movie(project, frames=30)
    bpy.ops.wm.save_mainfile()
    before = live_uploads(standin)
    standin.inject("delete", "status", status=400)
    (job,) = edits.generate(addon, edits.edit().strips["clip"])
    assert (job.stage, len(job.uploads), live_uploads(standin)) == ("done", 1, before + 1)
    bpy.ops.wm.save_mainfile()

    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    addon.resuming.file_opened(addon.page.config(bpy.context))
    (job,) = edits.finish(addon, [job.id])

    assert (job.stage, job.uploads, live_uploads(standin)) == ("done", (), before)


def test_clearing_the_list_deletes_what_is_in_storage_and_sends_nothing_while_offline(
    addon: Any, standin: StandIn, project: Path
) -> None:
    before = live_uploads(standin)
    standin.inject("delete", "status", status=400)
    (job,) = edits.generate(addon, edits.movie(project, frames=30))
    operators, system = bpy.ops.mmaudio, bpy.context.preferences.system  # pyright: ignore[reportAttributeAccessIssue]
    requests_before = len(standin.state()["requests"])
    system.use_online_access = False
    try:
        operators.clear_jobs()
    finally:
        system.use_online_access = True
    assert addon.session.current.runner.job(job.id) is not None
    assert len(standin.state()["requests"]) == requests_before

    operators.clear_jobs()

    assert addon.session.current.runner.job(job.id) is None
    edits.until(lambda: live_uploads(standin) == before)


def test_a_clip_is_uploaded_to_a_webdav_server_with_a_login(
    addon: Any, preferences: Any, standin: StandIn, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dav")
    files = folder / "clips"
    files.mkdir()
    login = ("--user", "julia", "--pass", "open sesame")
    with rclone("webdav", *login, folder=files, log=folder / "log") as private, files_for_anyone(files) as public:
        standin.set_outbound(storages=[public])
        preferences.storage, preferences.put_login = "http_put", "BASIC"
        preferences.put_upload, preferences.put_public = private + "/{name}", public + "/{name}"
        preferences.put_user, preferences.put_password = "julia", "open sesame"
        (job,) = edits.generate(addon, edits.movie(project, frames=30))
    assert (job.stage, job.error) == ("done", None)
    assert standin.state()["runs"][-1]["input"]["video"].startswith(public)
    assert list(files.iterdir()) == []


@pytest.mark.version_dependent
def test_with_a_clip_url_nothing_is_rendered_or_uploaded_and_the_url_is_not_saved(
    addon: Any, preferences: Any, standin: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clip is longer than the strip, so that the result isn't too short.
    strip = edits.movie(project, frames=320, size=SIZE)
    addon.compat.set_right_handle(strip, 310)
    forbid_rendering(addon, monkeypatch)
    preferences.storage = "given_url"
    scene, addresses = bpy.context.scene, addon.clip_url
    # The footage may be missing, since it isn't needed.
    Path(bpy.path.abspath(strip.filepath)).rename(project / "published.mp4")
    uploads = len(standin.state()["uploads"])
    with files_for_anyone(project) as public:
        standin.set_outbound(storages=[public])
        addresses.set_url(scene, f" {public}/published.mp4?sig=by-hand-s3cret ")
        (job,) = edits.generate(addon, strip, options={"clip_url": addresses.of(scene)})
    assert (job.stage, job.error) == ("done", None)
    assert len(job.runs) == 1, "12.5 s of one clip are one run"
    assert "must have the same length" in job.note
    assert standin.state()["runs"][-1]["input"]["video"] == addresses.of(scene)
    assert len(standin.state()["uploads"]) == uploads
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "done.blend"), compress=False)
    assert files_with("by-hand-s3cret", project) == []


def blocked(addon: Any) -> str | None:
    with edits.sequencer():
        reason = addon.order.failure(bpy.context)
    return None if reason is None else reason.code


@pytest.mark.version_dependent
def test_an_invalid_clip_url_is_reported_before_anything_is_started(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    strip, other = edits.movie(project, frames=30, channel=2), edits.movie(project, frames=30, channel=5)
    preferences.storage = "given_url"
    scene, addresses = bpy.context.scene, addon.clip_url
    other.select = False
    assert blocked(addon) == "no_address"
    addresses.set_url(scene, "http://cdn.example/a.mp4")
    assert blocked(addon) == "no_address"
    addresses.set_url(scene, "https://cdn.example/a.mp4")
    assert blocked(addon) is None
    other.select = True
    assert blocked(addon) == "one_address"
    with pytest.raises(addon.failure.Failure, match="single strip, but 2 are selected"):
        edits.start(addon, strip, other, options={"clip_url": addresses.of(scene)})
    preferences.storage = "eachlabs"
    assert blocked(addon) is None


@pytest.mark.version_dependent
@pytest.mark.parametrize(("storage", "used"), [("given_url", "https://cdn.example/a.mp4"), ("eachlabs", "")])
def test_a_clip_url_is_used_only_with_its_own_storage(
    *, storage: str, used: str, addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    edits.movie(project, frames=30)
    addon.clip_url.set_url(bpy.context.scene, "https://cdn.example/a.mp4")
    preferences.storage = storage
    with edits.sequencer():
        bpy.ops.mmaudio.generate()  # pyright: ignore[reportAttributeAccessIssue]
    job = addon.session.current.runner.jobs[-1]
    addon.session.current.runner.cancel(job.id)
    assert job.request.options.clip_url == used
    edits.finish(addon, [job.id])


def test_the_command_line_accepts_a_clip_url(
    addon: Any, preferences: Any, standin: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = edits.movie(project, frames=40)
    addon.compat.set_right_handle(strip, 40)
    forbid_rendering(addon, monkeypatch)
    with files_for_anyone(project) as public:
        standin.set_outbound(storages=[public])
        url = f"{public}/{Path(strip.filepath).name.replace(' ', '%20')}"
        assert addon.command.run(["generate", "--strip", "clip", "--clip-url", url, "--save"]) == 0
        edits.movie(project, frames=30, channel=7, start=100)
        assert addon.command.run(["generate", "--all-strips", "--clip-url", url, "--save"]) == 2
    assert standin.state()["runs"][-1]["input"]["video"] == url


def use_webhook(preferences: Any, port: int, name: str = "mmaudio") -> None:
    preferences.webhook_on, preferences.webhook_url, preferences.webhook_port = True, f"https://{HOST}/{name}", port


def webhook_of_jobs(addon: Any) -> Any:
    """Return the webhook that new jobs get, or None if it is disabled."""
    return addon.session.current.job_context(addon.page.config(bpy.context)).webhook


def tunnelled(preferences: Any, standin: StandIn) -> int:
    """Enable a webhook that the double can reach; return its local port."""
    (port,) = free_ports(1)
    standin.set_outbound(tunnels={HOST: port})
    use_webhook(preferences, port)
    return port


def statuses(standin: StandIn, job: Any) -> list[int]:
    """Return the statuses of the responses to the webhook calls for the job's runs."""
    ids = [run.prediction_id for run in job.runs]
    return [call["status"] for call in standin.state()["webhook_calls"] if call["run"] in ids]


@pytest.mark.version_dependent
def test_a_webhook_call_ends_the_wait(addon: Any, preferences: Any, standin: StandIn, project: Path) -> None:
    tunnelled(preferences, standin)
    hook = webhook_of_jobs(addon)
    assert webhook_of_jobs(addon) is hook, "all jobs share one webhook"

    (job,) = edits.generate(addon, edits.movie(project, frames=30))

    assert (job.stage, job.error, job.note) == ("done", None, "")
    assert statuses(standin, job) == [204]
    assert not hook.listening
    preferences.webhook_on = False
    assert webhook_of_jobs(addon) is None


def test_disabling_the_webhook_frees_its_port_and_the_job_succeeds(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    """The strip has more runs than may be in flight, so some are created after the webhook was disabled."""
    port = tunnelled(preferences, standin)
    hook = webhook_of_jobs(addon)
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = SIZE
    (job,) = edits.start(addon, edits.movie(project, frames=220, size=SIZE), options={"takes": 6})
    edits.until(lambda: hook.listening)

    preferences.webhook_on = False
    with socket.create_server(("127.0.0.1", port)):
        (job,) = edits.finish(addon, [job.id])

    assert (job.stage, job.error, job.note) == ("done", None, "")
    ids = [run.prediction_id for run in job.runs]
    webhook_urls = [run["webhook_url"] for run in standin.state()["runs"] if run["id"] in ids]
    assert len(webhook_urls) == 12
    assert webhook_urls.count("") >= 2, "at most ten runs were in flight"


def test_a_new_webhook_url_on_the_same_port_is_served_at_once(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    port = tunnelled(preferences, standin)
    before = webhook_of_jobs(addon)
    strip, other = edits.movie(project, frames=30, channel=2), edits.movie(project, frames=30, channel=5)
    # The first job still waits for its call when the other one is started.
    standin.inject("webhook", "never")
    (first,) = edits.start(addon, strip)
    edits.until(lambda: before.listening)

    use_webhook(preferences, port, "another")
    (second,) = edits.start(addon, other)
    first, second = edits.finish(addon, [first.id, second.id])

    assert [(job.stage, job.error, job.note) for job in (first, second)] == [("done", None, "")] * 2
    assert statuses(standin, second) == [204]


@pytest.mark.version_dependent
@pytest.mark.usefixtures("preferences")
def test_a_saved_webhook_is_restored_with_the_preferences(addon: Any) -> None:
    """Blender doesn't notify add-ons after it has loaded preferences."""
    (port,) = free_ports(1)
    use_webhook(addon.preferences, port)
    bpy.ops.wm.save_userpref()
    addon.preferences.webhook_on = False
    bpy.ops.wm.read_userpref()
    assert addon.preferences.webhook_on
    hook = webhook_of_jobs(addon)
    with hook.expect():
        assert hook.port == port
        addon.preferences.property_unset("webhook_on")
        assert webhook_of_jobs(addon) is None
        assert not hook.listening


@pytest.mark.version_dependent
@pytest.mark.usefixtures("preferences")
def test_disabling_the_add_on_closes_the_port_permanently(addon: Any) -> None:
    """It must not be opened again by a thread that ends late and still creates a run."""
    (port,) = free_ports(1)
    use_webhook(addon.preferences, port)
    hook = webhook_of_jobs(addon)
    operators: Any = bpy.ops
    with hook.expect():
        operators.preferences.addon_disable(module=MODULE)
        try:
            assert not hook.listening
            assert hook.expect() is None
        finally:
            operators.preferences.addon_enable(module=MODULE)


class Layout:
    """Substitute for the layout of the preferences that collects texts and icons. Its panels are open, or `folded`."""

    def __init__(self, *, folded: bool = False) -> None:
        self.folded = folded
        self.texts: list[str] = []
        self.icons: list[str] = []

    def panel(self, name: str, **__: object) -> tuple[Any, Any]:
        # Keys are drawn by a function of Blender's that needs a window: tests/window shows them.
        return self, None if self.folded or name == "mmaudio_keys" else self

    def __getattr__(self, name: str) -> Any:
        def add(*_: object, text: str = "", icon: str = "NONE", **__: object) -> Any:
            self.texts.append(text)
            self.icons.append(icon)
            return self if name in ("row", "column", "box") else SimpleNamespace()

        return add


def drawn(preferences: Any, *, folded: bool) -> Layout:
    layout = Layout(folded=folded)
    # Without a window, Blender's own `ui_scale` is 0.
    system = SimpleNamespace(ui_scale=1.0)
    used = SimpleNamespace(system=system, addons=bpy.context.preferences.addons)
    manager = bpy.context.window_manager
    context = SimpleNamespace(preferences=used, region=SimpleNamespace(width=3000), window_manager=manager)
    sys.modules[f"{MODULE}.preferences.page"].draw(layout, preferences, context)
    return layout


@pytest.mark.version_dependent
@pytest.mark.parametrize("folded", [True, False])
def test_an_invalid_webhook_url_is_reported_while_the_webhook_is_enabled(folded: bool, addon: Any, preferences: Any) -> None:
    use_webhook(preferences, 8790)
    assert "ERROR" not in drawn(preferences, folded=folded).icons
    preferences.webhook_url = f"http://{HOST}"
    layout = drawn(preferences, folded=folded)
    assert layout.icons.count("ERROR") == 1
    assert any("webhook's public https URL" in text for text in layout.texts) is not folded
    preferences.webhook_on = False
    assert "ERROR" not in drawn(preferences, folded=folded).icons


def test_drawing_does_not_change_the_webhook(addon: Any, preferences: Any, project: Path) -> None:
    """Not even if its settings have changed, as by loading preferences."""
    edits.movie(project, frames=30)
    (port,) = free_ports(1)
    use_webhook(preferences, port)
    hook = webhook_of_jobs(addon)
    with hook.expect():
        preferences.property_unset("webhook_on")
        for folded in (True, False):
            drawn(preferences, folded=folded)
        blocked(addon)
        assert hook.listening


def test_a_port_in_use_is_reported_and_the_job_continues(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        use_webhook(preferences, port)
        (job,) = edits.generate(addon, edits.movie(project, frames=30))
    assert (job.stage, f"Port {port}" in job.note) == ("done", True)


@pytest.mark.version_dependent
@pytest.mark.parametrize("remember", [True, False])
def test_secrets_are_in_userpref_only_if_they_are_to_be_remembered(remember: bool, addon: Any, preferences: Any) -> None:
    preferences.remember = remember
    for name, value in SECRETS.items():
        setattr(preferences, name, value)
    bpy.ops.wm.save_userpref()

    content = (user_folder() / "config" / "userpref.blend").read_bytes()
    assert content.startswith(b"BLENDER")
    assert content.count(b"s3cret") == (SECRET_COUNT if remember else 0)
    assert (b"cdn.example" in content) is remember
    assert {name: getattr(preferences, name) for name in SECRETS} == SECRETS


@pytest.mark.version_dependent
def test_secrets_are_removed_from_userpref_and_saved_again_with_remember(addon: Any, preferences: Any) -> None:
    for name, value in SECRETS.items():
        setattr(preferences, name, value)
    preferences.remember = False
    bpy.ops.wm.save_userpref()
    saved = user_folder() / "config" / "userpref.blend"
    assert b"s3cret" not in saved.read_bytes()
    preferences.remember = True
    bpy.ops.wm.save_userpref()
    assert saved.read_bytes().count(b"s3cret") == SECRET_COUNT
    assert {name: getattr(preferences, name) for name in SECRETS} == SECRETS


def test_no_repr_of_the_configuration_shows_a_secret(addon: Any, preferences: Any, standin: StandIn) -> None:
    for name, value in SECRETS.items():
        setattr(preferences, name, value)
    for storage in ("s3", "http_put"):
        preferences.storage, preferences.put_login = storage, "BEARER"
        config = addon.page.config(bpy.context)
        shown = f"{config!r} {addon.session.current.job_context(config)!r}"
        assert "s3cret" not in shown
        assert standin.key not in shown


def completed_test(addon: Any) -> Any:
    """Run a storage test and return it once it has ended."""
    operators: Any = bpy.ops
    assert operators.mmaudio.test_storage() == {"FINISHED"}
    test = addon.session.current.latest_storage_test
    edits.until(lambda: not test.running)
    return test


@pytest.mark.version_dependent
def test_each_storage_has_its_settings_and_a_name_of_its_own(addon: Any, preferences: Any) -> None:
    registry = addon.storages.STORAGES
    (choice,) = (member for member in preferences.bl_rna.properties if member.identifier == "storage")
    assert [(item.identifier, item.name, item.description) for item in choice.enum_items] == [
        (identifier, storage.LABEL, storage.DESCRIPTION) for identifier, storage in registry.items()
    ]
    assert preferences.storage == choice.default == next(iter(registry)) == "eachlabs"
    names: list[str] = []
    configs: list[Any] = []
    for identifier, storage in registry.items():
        preferences.storage = identifier
        names += [name for name in storage.Properties.__annotations__ if hasattr(preferences, name)]
        configs.append(addon.page.config(bpy.context).storage)
        assert is_dataclass(configs[-1])
        assert hash(configs[-1]) is not None, "frozen"
        texts = drawn(preferences, folded=False).texts
        assert any(text.startswith("Test ") for text in texts), identifier
    assert len({storage.LABEL for storage in registry.values()}) == len(registry)
    assert len({type(config) for config in configs}) == len(registry)
    assert sorted(names) == sorted({name for storage in registry.values() for name in storage.Properties.__annotations__})


def test_settings_that_nobody_has_filled_in_are_told_of(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    for identifier in list(addon.storages.STORAGES)[1:]:
        preferences.storage = identifier
        assert completed_test(addon).failure.code == "storage_setup"


@pytest.mark.parametrize(
    ("change", "message", "failed"),
    [
        ({}, "Uploaded, read back from 127.0.0.1 and deleted.", ""),
        ({"s3_secret_key": "wrong"}, "", "Upload: 127.0.0.1 refused the upload: the secret key is wrong"),
        ({"s3_bucket": "nowhere"}, "", "Upload: 127.0.0.1 refused the upload: the bucket does not exist"),
        ({"s3_bucket": ""}, "", "The S3 storage has no bucket."),
    ],
    ids=["success", "wrong secret", "missing bucket", "no bucket"],
)
def test_test_connection_reports_the_cause_of_a_failure(
    *,
    change: dict[str, str],
    message: str,
    failed: str,
    addon: Any,
    preferences: Any,
    standin: StandIn,
    bucket: tuple[S3Server, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, folder = bucket
    # Testing a bucket needs neither the service nor its key.
    monkeypatch.delenv("EACHLABS_API_KEY")
    requests_before = len(standin.requests())
    use_bucket(preferences, server, **change)
    test = completed_test(addon)
    assert test.result == message
    assert (test.failure.message if test.failure else "").startswith(failed)
    assert bool(test.failure) is bool(failed)
    if test.failure:
        assert test.failure.hint
    assert len(standin.requests()) == requests_before
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    # What is shown is of these very settings.
    assert addon.storage_s3.config(preferences) == test.storage
    preferences.s3_prefix = "another"
    assert addon.storage_s3.config(preferences) != test.storage


def test_a_key_in_the_environment_is_used_if_the_preferences_have_none(
    *,
    addon: Any,
    preferences: Any,
    standin: StandIn,
    bucket: tuple[S3Server, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = bucket[0].config
    use_bucket(preferences, bucket[0], s3_access_key="", s3_secret_key="")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", config.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", config.secret_key)
    test = completed_test(addon)
    assert test.failure is None
    assert addon.storage_s3.key_note(test.storage).startswith("No key is set here")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a wrong one")
    failure = completed_test(addon).failure
    assert "AWS_ACCESS_KEY_ID" in failure.hint
    assert "a wrong one" not in f"{failure.message} {failure.hint}"


def test_a_key_in_the_preferences_takes_precedence_over_the_environment(
    *,
    addon: Any,
    preferences: Any,
    standin: StandIn,
    bucket: tuple[S3Server, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_bucket(preferences, bucket[0], s3_region="auto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.setenv(name, "of-another-vendor")
    test = completed_test(addon)
    assert test.failure is None
    assert (test.storage.region, test.storage.session_token) == ("auto", "")
    assert addon.storage_s3.key_note(test.storage).startswith("The key that is set here")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert addon.storage_s3.key_note(addon.storage_s3.config(preferences)) == ""


def test_no_test_starts_without_online_access_or_a_required_key(
    addon: Any, preferences: Any, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators: Any = bpy.ops
    before = addon.session.current.latest_storage_test
    monkeypatch.delenv("EACHLABS_API_KEY")
    with pytest.raises(RuntimeError, match="No API key"):
        operators.mmaudio.test_storage()
    bpy.context.preferences.system.use_online_access = False
    try:
        assert not operators.mmaudio.test_storage.poll()
    finally:
        bpy.context.preferences.system.use_online_access = True
    assert addon.session.current.latest_storage_test is before


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mmaudio")]


@pytest.fixture
def silent_server(preferences: Any, standin: StandIn) -> Iterator[socket.socket]:
    """Server that accepts connections and never responds, with a running storage test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        preferences.storage = "http_put"
        preferences.put_upload = preferences.put_public = f"http://127.0.0.1:{server.getsockname()[1]}/{{name}}"
        operators: Any = bpy.ops
        operators.mmaudio.test_storage()
        server.settimeout(20)
        with server.accept()[0]:
            yield server


def test_a_running_test_is_cancelled_by_the_same_button(
    addon: Any, silent_server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_blender.part("jobs.work.storage_test"), "_CLEANUP_SECONDS", 1.0)
    operators: Any = bpy.ops
    test = addon.session.current.latest_storage_test
    assert test.running
    operators.mmaudio.test_storage()
    assert test.cancelled
    assert test.running, "it tries to delete its file"
    edits.until(lambda: not test.running, 15)
    assert (test.result, test.failure) == ("The test was cancelled.", None)


@pytest.fixture
def put_server(preferences: Any, standin: StandIn) -> Iterator[Scripted]:
    """Server that accepts files by PUT, set as the storage."""
    with answering() as server:
        preferences.storage = "http_put"
        preferences.put_upload = preferences.put_public = server.address + "/{name}"
        yield server


@pytest.mark.parametrize("step", ["PUT", "GET"])
def test_a_cancelled_test_deletes_its_file(step: str, addon: Any, put_server: Scripted) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if seen.method == step:
            reached.set()
            go_on.wait(20)

    put_server.answer = hold
    operators: Any = bpy.ops
    operators.mmaudio.test_storage()
    test = addon.session.current.latest_storage_test
    assert reached.wait(20)
    operators.mmaudio.test_storage()
    assert addon.session.current.latest_storage_test is test
    go_on.set()
    edits.until(lambda: not test.running)
    assert (test.result, test.failure) == ("The test was cancelled.", None)
    assert [seen.method for seen in put_server.seen][-1] == "DELETE"
    assert requests.get(put_server.address + put_server.seen[0].target, timeout=10).status_code == 404


def test_another_test_can_start_while_one_deletes_its_file(addon: Any, put_server: Scripted) -> None:
    deleting, go_on = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if len(put_server.seen) == 2:
            addon.session.current.latest_storage_test.cancel()
        if len(put_server.seen) == 3:
            deleting.set()
            go_on.wait(20)

    put_server.answer = hold
    operators: Any = bpy.ops
    operators.mmaudio.test_storage()
    first = addon.session.current.latest_storage_test
    assert deleting.wait(20)
    operators.mmaudio.test_storage()
    second = addon.session.current.latest_storage_test
    assert second is not first
    go_on.set()
    edits.until(lambda: not first.running and not second.running)
    assert (first.result, second.result) == ("The test was cancelled.", "Uploaded, read back from 127.0.0.1 and deleted.")


@pytest.mark.version_dependent
def test_disabling_the_add_on_ends_its_test(addon: Any, silent_server: socket.socket) -> None:
    assert "mmaudio storage test" in threads()
    operators: Any = bpy.ops
    operators.preferences.addon_disable(module=MODULE)
    try:
        assert "mmaudio storage test" not in threads()
    finally:
        operators.preferences.addon_enable(module=MODULE)
