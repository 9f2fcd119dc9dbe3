# SPDX-License-Identifier: GPL-3.0-or-later
"""Own storages and the webhook, from the preferences to the placed sound: real servers, real renders."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
import requests

from tests.standin.client import StandIn
from tests.unit.servers import BUCKET, S3Server, Scripted, Seen, answering, files_for_anyone, free_ports, rclone, rclone_s3

from . import edits
from .conftest import MODULE

HOST = "hook.studio.example"
SECRETS = {
    "s3_secret_key": "an-s3-s3cret",
    "s3_session_token": "a-token-s3cret",
    "put_password": "a-password-s3cret",
    "put_token": "a-bearer-s3cret",
    "put_headers": "AccessKey: a-header-s3cret",
    "put_upload": "https://julia:a-login-s3cret@dav.example/a-path-s3cret/{name}?sig=an-upload-s3cret",
    "put_public": "https://cdn.example/{name}?sig=a-public-s3cret",
}

WORDS = sum(value.count("s3cret") for value in SECRETS.values())


@pytest.fixture
def preferences(addon: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The preferences, with the defaults after the test as before it."""
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
    """A bucket at rclone, and the folder that it is."""
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


def files_with(words: str, *folders: Path) -> list[str]:
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert paths
    return [path.name for path in paths if words.encode() in path.read_bytes()]


def user_folder() -> Path:
    return Path(os.environ["BLENDER_USER_RESOURCES"])


def wont_render(addon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A background render would fail its job."""
    monkeypatch.setattr(addon.config, "background_blender", lambda: (sys.executable, "-c", "raise SystemExit(3)"))


def test_a_strip_goes_through_a_private_bucket_and_nothing_is_left(
    *,
    addon: Any,
    preferences: Any,
    standin: StandIn,
    project: Path,
    bucket: tuple[S3Server, Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    server, folder = bucket
    standin.outside(storages=[server.config.endpoint])
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
    said = capfd.readouterr()
    assert files_with(server.config.secret_key, project, user_folder()) == []
    assert server.config.secret_key not in said.out + said.err


def live_uploads(standin: StandIn) -> int:
    return sum(upload["live"] for upload in standin.state()["uploads"])


def test_a_clip_that_could_not_be_deleted_is_deleted_when_its_file_is_opened_again(
    addon: Any, standin: StandIn, project: Path
) -> None:
    edits.movie(project, frames=30)
    bpy.ops.wm.save_mainfile()
    before = live_uploads(standin)
    standin.order("delete", "status", status=400)
    (job,) = edits.generate(addon, edits.edit().strips["clip"])
    assert (job.stage, len(job.uploads), live_uploads(standin)) == ("done", 1, before + 1)
    bpy.ops.wm.save_mainfile()

    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    addon.resuming.opened(addon.page.config(bpy.context))
    (job,) = edits.finish(addon, [job.id])

    assert (job.stage, job.uploads, live_uploads(standin)) == ("done", (), before)


def test_clearing_the_list_deletes_what_is_in_storage_and_sends_nothing_while_offline(
    addon: Any, standin: StandIn, project: Path
) -> None:
    before = live_uploads(standin)
    standin.order("delete", "status", status=400)
    (job,) = edits.generate(addon, edits.movie(project, frames=30))
    operators, system = bpy.ops.mmaudio, bpy.context.preferences.system  # pyright: ignore[reportAttributeAccessIssue]
    asked = len(standin.state()["requests"])
    system.use_online_access = False
    try:
        operators.clear_jobs()
    finally:
        system.use_online_access = True
    assert addon.generation.runner.job(job.id) is not None
    assert len(standin.state()["requests"]) == asked

    operators.clear_jobs()

    assert addon.generation.runner.job(job.id) is None
    edits.until(lambda: live_uploads(standin) == before)


def test_a_strip_goes_through_a_webdav_with_a_login(
    addon: Any, preferences: Any, standin: StandIn, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dav")
    files = folder / "clips"
    files.mkdir()
    login = ("--user", "julia", "--pass", "open sesame")
    with rclone("webdav", *login, folder=files, log=folder / "log") as private, files_for_anyone(files) as public:
        standin.outside(storages=[public])
        preferences.storage, preferences.put_login = "http_put", "BASIC"
        preferences.put_upload, preferences.put_public = private + "/{name}", public + "/{name}"
        preferences.put_user, preferences.put_password = "julia", "open sesame"
        (job,) = edits.generate(addon, edits.movie(project, frames=30))
    assert (job.stage, job.error) == ("done", None)
    assert standin.state()["runs"][-1]["input"]["video"].startswith(public)
    assert list(files.iterdir()) == []


def test_an_address_by_hand_is_neither_rendered_nor_uploaded_nor_saved(
    addon: Any, preferences: Any, standin: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clip that goes on past the strip, so that the run comes back whole.
    strip = edits.movie(project, frames=320)
    addon.compat.set_right_handle(strip, 310)
    wont_render(addon, monkeypatch)
    preferences.storage = "given_url"
    scene, addresses = bpy.context.scene, addon.clip_url
    # The edit doesn't need the footage, which may be elsewhere.
    Path(bpy.path.abspath(strip.filepath)).rename(project / "published.mp4")
    uploads = len(standin.state()["uploads"])
    with files_for_anyone(project) as public:
        standin.outside(storages=[public])
        addresses.give(scene, f" {public}/published.mp4?sig=by-hand-s3cret ")
        (job,) = edits.generate(addon, strip, options={"clip_url": addresses.of(scene)})
    assert (job.stage, job.error) == ("done", None)
    assert len(job.runs) == 1, "12.5 s of one clip are one run"
    assert "must be as long as the strip" in job.note
    assert standin.state()["runs"][-1]["input"]["video"] == addresses.of(scene)
    assert len(standin.state()["uploads"]) == uploads
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "done.blend"), compress=False)
    assert files_with("by-hand-s3cret", project) == []


def blocked(addon: Any) -> str | None:
    with edits.sequencer():
        reason = addon.operators.blocker(bpy.context)
    return None if reason is None else reason.code


def test_what_is_wrong_with_an_address_by_hand_is_said_before_anything_is_started(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    strip, other = edits.movie(project, frames=30, channel=2), edits.movie(project, frames=30, channel=5)
    preferences.storage = "given_url"
    scene, addresses = bpy.context.scene, addon.clip_url
    other.select = False
    assert blocked(addon) == "no_address"
    addresses.give(scene, "http://cdn.example/a.mp4")
    assert blocked(addon) == "no_address"
    addresses.give(scene, "https://cdn.example/a.mp4")
    assert blocked(addon) is None
    other.select = True
    assert blocked(addon) == "one_address"
    with pytest.raises(addon.failure.Failure, match="one strip, and 2 are chosen"):
        edits.start(addon, strip, other, options={"clip_url": addresses.of(scene)})
    preferences.storage = "eachlabs"
    assert blocked(addon) is None


@pytest.mark.parametrize(("storage", "used"), [("given_url", "https://cdn.example/a.mp4"), ("eachlabs", "")])
def test_an_address_by_hand_is_of_its_storage_alone(
    *, storage: str, used: str, addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    edits.movie(project, frames=30)
    addon.clip_url.give(bpy.context.scene, "https://cdn.example/a.mp4")
    preferences.storage = storage
    with edits.sequencer():
        bpy.ops.mmaudio.generate()  # pyright: ignore[reportAttributeAccessIssue]
    job = addon.generation.runner.jobs[-1]
    addon.generation.runner.cancel(job.id)
    assert job.request.options.clip_url == used
    edits.finish(addon, [job.id])


def test_the_command_line_takes_an_address_by_hand(
    addon: Any, preferences: Any, standin: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = edits.movie(project, frames=40)
    addon.compat.set_right_handle(strip, 40)
    wont_render(addon, monkeypatch)
    with files_for_anyone(project) as public:
        standin.outside(storages=[public])
        url = f"{public}/{Path(strip.filepath).name.replace(' ', '%20')}"
        assert addon.command.run(["generate", "--strip", "clip", "--clip-url", url, "--save"]) == 0
        edits.movie(project, frames=30, channel=7, start=100)
        assert addon.command.run(["generate", "--all-strips", "--clip-url", url, "--save"]) == 2
    assert standin.state()["runs"][-1]["input"]["video"] == url


def use_webhook(preferences: Any, port: int, name: str = "mmaudio") -> None:
    preferences.webhook_on, preferences.webhook_url, preferences.webhook_port = True, f"https://{HOST}/{name}", port


def webhook_of_jobs(addon: Any) -> Any:
    """What a click gives its jobs; None while it is off."""
    return addon.page.config(bpy.context).job_context.webhook


def tunnelled(preferences: Any, standin: StandIn) -> int:
    """The local port of a webhook that the double can reach, and that is set up."""
    (port,) = free_ports(1)
    standin.outside(tunnels={HOST: port})
    use_webhook(preferences, port)
    return port


def statuses(standin: StandIn, job: Any) -> list[int]:
    """How the calls for the job's runs were answered."""
    ids = [run.prediction_id for run in job.runs]
    return [call["status"] for call in standin.state()["calls"] if call["run"] in ids]


def test_the_services_call_ends_the_wait(addon: Any, preferences: Any, standin: StandIn, project: Path) -> None:
    tunnelled(preferences, standin)
    hook = webhook_of_jobs(addon)
    assert webhook_of_jobs(addon) is hook, "one for all jobs"

    (job,) = edits.generate(addon, edits.movie(project, frames=30))

    assert (job.stage, job.error, job.note) == ("done", None, "")
    assert statuses(standin, job) == [204]
    assert not hook.listening
    preferences.webhook_on = False
    assert webhook_of_jobs(addon) is None


def test_who_switches_it_off_has_the_port_for_good_and_the_job_ends_well(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    """Of a long strip's runs, more than may be in flight at once, most are still to be ordered then."""
    port = tunnelled(preferences, standin)
    hook = webhook_of_jobs(addon)
    (job,) = edits.start(addon, edits.movie(project, frames=220), options={"takes": 6})
    edits.until(lambda: hook.listening)

    preferences.webhook_on = False
    with socket.create_server(("127.0.0.1", port)):
        (job,) = edits.finish(addon, [job.id])

    assert (job.stage, job.error, job.note) == ("done", None, "")
    ids = [run.prediction_id for run in job.runs]
    called_at = [run["webhook_url"] for run in standin.state()["runs"] if run["id"] in ids]
    assert len(called_at) == 12
    assert called_at.count("") >= 2, "ten were in flight at most"


def test_another_address_at_the_same_port_is_heard_at_once(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    port = tunnelled(preferences, standin)
    before = webhook_of_jobs(addon)
    strip, other = edits.movie(project, frames=30, channel=2), edits.movie(project, frames=30, channel=5)
    # It waits for its call while the other one is ordered.
    standin.order("webhook", "never")
    (first,) = edits.start(addon, strip)
    edits.until(lambda: before.listening)

    use_webhook(preferences, port, "elsewhere")
    (second,) = edits.start(addon, other)
    first, second = edits.finish(addon, [first.id, second.id])

    assert [(job.stage, job.error, job.note) for job in (first, second)] == [("done", None, "")] * 2
    assert statuses(standin, second) == [204]


@pytest.mark.usefixtures("preferences")
def test_a_webhook_that_was_saved_is_there_again(addon: Any) -> None:
    """Blender tells nobody of preferences that it has loaded."""
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


@pytest.mark.usefixtures("preferences")
def test_disabling_the_add_on_closes_the_port_for_good(addon: Any) -> None:
    """A thread that ends late may still order a run."""
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
    """A page of the preferences: what is drawn on it, as its texts and icons. Panels are open, or `folded`."""

    def __init__(self, *, folded: bool = False) -> None:
        self.folded = folded
        self.texts: list[str] = []
        self.icons: list[str] = []

    def panel(self, *_: object, **__: object) -> tuple[Any, Any]:
        return self, None if self.folded else self

    def __getattr__(self, name: str) -> Any:
        def add(*_: object, text: str = "", icon: str = "NONE", **__: object) -> Any:
            self.texts.append(text)
            self.icons.append(icon)
            return self if name in ("row", "column", "box") else SimpleNamespace()

        return add


def drawn(preferences: Any, *, folded: bool) -> Layout:
    layout = Layout(folded=folded)
    # Without a window Blender's own scale is 0.
    system = SimpleNamespace(ui_scale=1.0)
    context = SimpleNamespace(preferences=SimpleNamespace(system=system), region=SimpleNamespace(width=3000))
    sys.modules[f"{MODULE}.preferences.storage_page"].draw(layout, preferences, context)
    return layout


@pytest.mark.parametrize("folded", [True, False])
def test_a_webhook_that_cannot_be_right_is_told_of_while_it_is_on(folded: bool, addon: Any, preferences: Any) -> None:
    use_webhook(preferences, 8790)
    assert "ERROR" not in drawn(preferences, folded=folded).icons
    preferences.webhook_url = f"http://{HOST}"
    layout = drawn(preferences, folded=folded)
    assert layout.icons.count("ERROR") == 1
    assert any("webhook's public https address" in text for text in layout.texts) is not folded
    preferences.webhook_on = False
    assert "ERROR" not in drawn(preferences, folded=folded).icons


def test_what_is_drawn_leaves_the_webhook_as_it_is(addon: Any, preferences: Any, project: Path) -> None:
    """Even where its settings are others by now, as they were loaded."""
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


def test_a_port_that_is_taken_is_told_of_and_the_job_goes_on(
    addon: Any, preferences: Any, standin: StandIn, project: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        use_webhook(preferences, port)
        (job,) = edits.generate(addon, edits.movie(project, frames=30))
    assert (job.stage, f"Port {port}" in job.note) == ("done", True)


@pytest.mark.parametrize("remember", [True, False])
def test_secrets_are_in_userpref_only_when_they_are_to_be_remembered(remember: bool, addon: Any, preferences: Any) -> None:
    preferences.remember = remember
    for name, value in SECRETS.items():
        setattr(preferences, name, value)
    bpy.ops.wm.save_userpref()

    content = (user_folder() / "config" / "userpref.blend").read_bytes()
    assert content.startswith(b"BLENDER")
    assert content.count(b"s3cret") == (WORDS if remember else 0)
    assert (b"cdn.example" in content) is remember
    assert {name: getattr(preferences, name) for name in SECRETS} == SECRETS


def test_what_is_no_longer_to_be_remembered_leaves_userpref_and_comes_back(addon: Any, preferences: Any) -> None:
    for name, value in SECRETS.items():
        setattr(preferences, name, value)
    preferences.remember = False
    bpy.ops.wm.save_userpref()
    saved = user_folder() / "config" / "userpref.blend"
    assert b"s3cret" not in saved.read_bytes()
    preferences.remember = True
    bpy.ops.wm.save_userpref()
    assert saved.read_bytes().count(b"s3cret") == WORDS
    assert {name: getattr(preferences, name) for name in SECRETS} == SECRETS


def test_no_repr_of_what_is_set_up_shows_a_secret(addon: Any, preferences: Any, standin: StandIn) -> None:
    for name, value in SECRETS.items():
        setattr(preferences, name, value)
    for storage in ("s3", "http_put"):
        preferences.storage, preferences.put_login = storage, "BEARER"
        config = addon.page.config(bpy.context)
        shown = f"{config!r} {config.job_context!r}"
        assert "s3cret" not in shown
        assert standin.key not in shown


def ended_test(addon: Any) -> Any:
    """The storage test, once it has ended."""
    operators: Any = bpy.ops
    assert operators.mmaudio.test_storage() == {"FINISHED"}
    test = addon.storage_test.latest()
    edits.until(lambda: not test.running)
    return test


@pytest.mark.parametrize(
    ("change", "said", "failed"),
    [
        ({}, "Uploaded, read back from 127.0.0.1 and deleted.", ""),
        ({"s3_secret_key": "wrong"}, "", "Upload: 127.0.0.1 refused the upload: the secret key is wrong"),
        ({"s3_bucket": "nowhere"}, "", "Upload: 127.0.0.1 refused the upload: there is no such bucket"),
        ({"s3_bucket": ""}, "", "The S3 storage has no bucket."),
    ],
    ids=["well", "wrong secret", "missing bucket", "no bucket"],
)
def test_test_connection_says_what_is_the_matter(
    *,
    change: dict[str, str],
    said: str,
    failed: str,
    addon: Any,
    preferences: Any,
    standin: StandIn,
    bucket: tuple[S3Server, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, folder = bucket
    # A bucket is tested without the service, and so without its key.
    monkeypatch.delenv("EACHLABS_API_KEY")
    asked = len(standin.requests())
    use_bucket(preferences, server, **change)
    test = ended_test(addon)
    assert test.said == said
    assert (test.failure.message if test.failure else "").startswith(failed)
    assert bool(test.failure) is bool(failed)
    if test.failure:
        assert test.failure.hint
    assert len(standin.requests()) == asked
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    # What is shown is of these very settings.
    assert addon.storage_fields.storage_config(preferences) == test.config
    preferences.s3_prefix = "another"
    assert addon.storage_fields.storage_config(preferences) != test.config


def test_a_key_of_the_environment_is_used_where_the_preferences_have_none(
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
    test = ended_test(addon)
    assert test.failure is None
    assert addon.storage_fields.which_key(test.config).startswith("No key is set here")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a wrong one")
    failure = ended_test(addon).failure
    assert "AWS_ACCESS_KEY_ID" in failure.hint
    assert "a wrong one" not in f"{failure.message} {failure.hint}"


def test_a_key_of_the_preferences_is_used_whatever_the_environment_has(
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
    test = ended_test(addon)
    assert test.failure is None
    assert (test.config.region, test.config.session_token) == ("auto", "")
    assert addon.storage_fields.which_key(test.config).startswith("The key that is set here")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert addon.storage_fields.which_key(addon.storage_fields.storage_config(preferences)) == ""


def test_nothing_is_tested_without_online_access_or_the_key_that_it_needs(
    addon: Any, preferences: Any, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators: Any = bpy.ops
    before = addon.storage_test.latest()
    monkeypatch.delenv("EACHLABS_API_KEY")
    with pytest.raises(RuntimeError, match="no API key"):
        operators.mmaudio.test_storage()
    bpy.context.preferences.system.use_online_access = False
    try:
        assert not operators.mmaudio.test_storage.poll()
    finally:
        bpy.context.preferences.system.use_online_access = True
    assert addon.storage_test.latest() is before


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mmaudio")]


@pytest.fixture
def silence(preferences: Any, standin: StandIn) -> Iterator[socket.socket]:
    """A storage that takes connections and says nothing, under test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        preferences.storage = "http_put"
        preferences.put_upload = preferences.put_public = f"http://127.0.0.1:{server.getsockname()[1]}/{{name}}"
        operators: Any = bpy.ops
        operators.mmaudio.test_storage()
        server.settimeout(20)
        with server.accept()[0]:
            yield server


def test_a_test_that_takes_too_long_is_cancelled_by_the_same_button(addon: Any, silence: socket.socket) -> None:
    operators: Any = bpy.ops
    test = addon.storage_test.latest()
    assert test.running
    operators.mmaudio.test_storage()
    assert test.cancelled
    assert test.running, "it tries to take its file away"
    edits.until(lambda: not test.running, 15)
    assert (test.said, test.failure) == ("The test was cancelled.", None)


@pytest.fixture
def put_server(preferences: Any, standin: StandIn) -> Iterator[Scripted]:
    """A server that takes files by PUT, set up as the storage."""
    with answering() as server:
        preferences.storage = "http_put"
        preferences.put_upload = preferences.put_public = server.address + "/{name}"
        yield server


@pytest.mark.parametrize("step", ["PUT", "GET"])
def test_a_cancelled_test_takes_its_file_away(step: str, addon: Any, put_server: Scripted) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if seen.method == step:
            reached.set()
            go_on.wait(20)

    put_server.answer = hold
    operators: Any = bpy.ops
    operators.mmaudio.test_storage()
    test = addon.storage_test.latest()
    assert reached.wait(20)
    operators.mmaudio.test_storage()
    assert addon.storage_test.latest() is test
    go_on.set()
    edits.until(lambda: not test.running)
    assert (test.said, test.failure) == ("The test was cancelled.", None)
    assert [seen.method for seen in put_server.seen][-1] == "DELETE"
    assert requests.get(put_server.address + put_server.seen[0].target, timeout=10).status_code == 404


def test_another_test_may_begin_while_one_takes_its_file_away(addon: Any, put_server: Scripted) -> None:
    deleting, go_on = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        if len(put_server.seen) == 2:
            addon.storage_test.latest().cancel()
        if len(put_server.seen) == 3:
            deleting.set()
            go_on.wait(20)

    put_server.answer = hold
    operators: Any = bpy.ops
    operators.mmaudio.test_storage()
    first = addon.storage_test.latest()
    assert deleting.wait(20)
    operators.mmaudio.test_storage()
    second = addon.storage_test.latest()
    assert second is not first
    go_on.set()
    edits.until(lambda: not first.running and not second.running)
    assert (first.said, second.said) == ("The test was cancelled.", "Uploaded, read back from 127.0.0.1 and deleted.")


def test_disabling_the_add_on_ends_its_test(addon: Any, silence: socket.socket) -> None:
    assert "mmaudio storage test" in threads()
    operators: Any = bpy.ops
    operators.preferences.addon_disable(module=MODULE)
    try:
        assert "mmaudio storage test" not in threads()
    finally:
        operators.preferences.addon_enable(module=MODULE)
