# SPDX-License-Identifier: GPL-3.0-or-later
"""A storage is two modules and an entry in the registry: a fifth one is added to the built zip without any other change."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from scripts import toolchain
from tests.standin.client import StandIn
from tests.unit.servers import files_for_anyone

_SERVICE = """
from dataclasses import dataclass
from pathlib import Path
import shutil

from . import Published, object_name


@dataclass(frozen=True)
class FolderConfig:
    folder: str
    url: str

    def open(self, service, transport):
        return FolderStorage(self)


class FolderStorage:
    needs_export = private_allowed = can_delete = True

    def __init__(self, config):
        self._config = config

    def publish(self, clip, progress, on_begin):
        name = object_name()
        published = Published(name, f"{self._config.url}/{name}")
        on_begin(published)
        shutil.copy(clip, Path(self._config.folder) / name)
        return published

    def delete(self, published, *, missing_ok=True):
        (Path(self._config.folder) / published.id).unlink(missing_ok=missing_ok)
"""

_PREFERENCES = """
from bpy.props import StringProperty

from ..service.storage.folder import FolderConfig
from . import storage_test

LABEL = "Web Folder"
DESCRIPTION = "A folder that a web server publishes"
NEEDS_API_KEY = False


class Properties:
    folder_path: StringProperty(name="Folder")
    folder_url: StringProperty(name="Public URL")


def config(preferences):
    return FolderConfig(preferences.folder_path, preferences.folder_url)


test_config = config


def draw(layout, preferences, context):
    layout.prop(preferences, "folder_path")
    layout.prop(preferences, "folder_url")
    storage_test.draw(layout, test_config(preferences), context)
"""

_BLENDER = """
import json, sys, time
from types import SimpleNamespace
from unittest.mock import MagicMock

import bpy

from scripts import in_blender

extension, folder, url = sys.argv[1:]
in_blender.install(extension)
page, session = in_blender.part("preferences.page"), in_blender.part("session")
preferences = page.of(bpy.context)
preferences.storage = "folder"
preferences.folder_path, preferences.folder_url = folder, url

layout = MagicMock()
layout.panel.return_value = MagicMock(), MagicMock()
scale = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0), addons=bpy.context.preferences.addons)
# Of the parts of the page, only this one is open.
layout.panel.side_effect = lambda name, **_: (MagicMock(), layout.panel.return_value[1] if "storage" in name else None)
page.draw(layout, preferences, SimpleNamespace(preferences=scale, region=SimpleNamespace(width=900)))
column = layout.panel.return_value[1].column.return_value

bpy.ops.mmaudio.test_storage()
while session.current.latest_storage_test.running:
    time.sleep(0.01)
choice = preferences.bl_rna.properties["storage"]
print(json.dumps({
    "items": [item.name for item in choice.enum_items],
    "config": repr(page.config(bpy.context).storage),
    "drawn": [call.args[1] for call in column.prop.call_args_list],
    "buttons": [call.kwargs["text"] for call in column.operator.call_args_list],
    "test": [session.current.latest_storage_test.result, str(session.current.latest_storage_test.failure)],
}))
"""


def with_storage(target: Path) -> None:
    """Copies the built zip, with the two modules and an entry in the registry."""
    registry, entry = "preferences/storages.py", '    "given_url": storage_given_url,\n'
    with zipfile.ZipFile(toolchain.built_extension()) as before, zipfile.ZipFile(target, "w") as after:
        for item in before.infolist():
            content = before.read(item)
            if item.filename == registry:
                text = content.decode()
                assert text.count(entry) == 1
                text = text.replace(entry, f'{entry}    "folder": storage_folder,\n')
                content = text.replace(
                    "from . import storage_eachlabs", "from . import storage_folder, storage_eachlabs"
                ).encode()
            after.writestr(item, content)
        after.writestr("service/storage/folder.py", _SERVICE)
        after.writestr("preferences/storage_folder.py", _PREFERENCES)


def test_a_storage_is_two_modules_and_an_entry(standin: StandIn, tmp_path: Path) -> None:
    extension, folder = tmp_path / "extension.zip", tmp_path / "files"
    with_storage(extension)
    folder.mkdir()
    with files_for_anyone(folder) as url:
        variables = {**os.environ, **standin.environment, "BLENDER_USER_RESOURCES": str(tmp_path / "user")}
        command = [sys.executable, "-c", _BLENDER, str(extension), str(folder), url]
        ways: dict[str, Any] = {"cwd": toolchain.ROOT, "env": variables, "text": True, "capture_output": True}
        ended = subprocess.run(command, **ways, timeout=120, check=False)

    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    assert (len(seen["items"]), seen["items"][-1]) == (5, "Web Folder")
    assert seen["config"] == f"FolderConfig(folder={str(folder)!r}, url={url!r})"
    assert seen["drawn"] == ["storage", "folder_path", "folder_url"]
    assert seen["buttons"] == ["Test Connection"]
    assert seen["test"] == ["Uploaded, read back from 127.0.0.1 and deleted.", "None"]
    assert list(folder.iterdir()) == []
