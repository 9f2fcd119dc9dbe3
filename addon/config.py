# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration, as the preferences and the environment have it."""

import os
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import bpy

from .failure import Failure
from .service.eachlabs import client
from .service.eachlabs.webhook import WebhookConfig
from .service.storage import StorageConfig
from .service.storage.eachlabs import EachlabsConfig
from .service.storage.given_url import GivenUrlConfig
from .timeline import project

_RENDER_SCRIPT = Path(__file__).parent / "timeline" / "render_clip.py"
_DEFAULT_RESULTS = "//mmaudio/"


class NoAccess(Failure):
    """Nothing can be sent to the service."""


class NoKey(NoAccess):
    code = "no_key"
    default_hint = f"Create one at {client.KEYS_URL} and set it in the preferences."


class Offline(NoAccess):
    code = "offline"


@dataclass(frozen=True)
class Config:
    """API key, folders and storage."""

    key: str = field(repr=False)
    base_url: str
    extension_folder: Path
    """The extension's folder in the user's Blender directory."""
    results: str
    """Results folder; "//" stands for the folder of the .blend."""
    offset: Fraction = Fraction(0)
    """Delay of the sound relative to the picture, in seconds."""
    render_processes: int = 1
    """Background Blenders at once."""
    storage: StorageConfig = field(default_factory=EachlabsConfig)
    webhook: WebhookConfig | None = None
    """None while the webhook is disabled."""

    @property
    def uses_clip_url(self) -> bool:
        """Whether the artist publishes the clips, and gives the URL of each."""
        return isinstance(self.storage, GivenUrlConfig)

    @property
    def work(self) -> Path:
        """Folder for the files of jobs under way."""
        return self.extension_folder / "work"

    @property
    def folder(self) -> Path:
        """Results folder of the open file; one of the extension's own if that file was never saved."""
        return self.folder_for(project.saved_as())

    @property
    def temporary_folders(self) -> list[Path]:
        """Folders with the sounds of files that were not saved yet."""
        recovered = bpy.data.filepath if project.is_temporary(bpy.data.filepath) else ""
        return [self._unsaved_folder, *([self._folder_beside(recovered)] if recovered else [])]

    def folder_for(self, blend: str) -> Path:
        """Return the results folder of the file at `blend`, empty for a file that was never saved."""
        relative = self._results.startswith("//")
        return self._folder_beside(blend) if blend or not relative else self._unsaved_folder

    @property
    def _unsaved_folder(self) -> Path:
        return self.extension_folder / "sounds"

    @property
    def _results(self) -> str:
        results = self.results.strip() or _DEFAULT_RESULTS
        # The folder that Blender was started in is no place that an artist has in mind.
        return results if Path(results).is_absolute() else f"//{results}"

    def _folder_beside(self, blend: str) -> Path:
        return Path(os.path.normpath(bpy.path.abspath(self._results, start=str(Path(blend).parent))))

    def check_access(self) -> None:
        """Raise NoAccess without a key or online access, and UnsafeUrl for a wrong service address."""
        check_online()
        if not self.key:
            raise NoKey("No API key is set.")
        client.check_base_url(self.base_url)


def check_online() -> None:
    """Raise Offline if Blender's preferences keep add-ons from the network."""
    if not bpy.app.online_access:
        if bpy.app.online_access_override:
            hint = "Start Blender without --offline-mode."
        else:
            hint = "Preferences > System > Allow Online Access."
        raise Offline("Online access is disabled.", hint)


def render_command() -> tuple[str, ...]:
    """Return the command that renders clips in a background Blender; where bpy is a module, Python itself."""
    if bpy.app.binary_path:
        return (bpy.app.binary_path, "--background", "--factory-startup", "--python", str(_RENDER_SCRIPT))
    return (sys.executable, str(_RENDER_SCRIPT))
