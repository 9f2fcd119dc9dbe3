# SPDX-License-Identifier: GPL-3.0-or-later
"""What the work goes by: the key, the folders, the storage, as the preferences or the environment have them."""

import os
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import bpy

from .failure import Failure
from .jobs.work.context import JobContext
from .service.eachlabs import client
from .service.eachlabs.webhook import Webhook, WebhookConfig
from .service.storage import StorageConfig
from .service.storage.eachlabs import EachlabsConfig
from .service.storage.given_url import GivenUrlConfig
from .timeline import project

_RENDER_SCRIPT = Path(__file__).parent / "timeline" / "render_clip.py"


@dataclass(frozen=True)
class Config:
    """Where the extension may write, and with what key it speaks.

    own      the extension's folder in the user's Blender directory
    results  the folder that sounds go to; "//" stands for the .blend's own
    offset   seconds by which sounds come later than their picture
    storage  where clips go
    webhook  where the service's calls are heard, None while it is off
    """

    key: str = field(repr=False)
    base_url: str
    own: Path
    results: str
    offset: Fraction = Fraction(0)
    storage: StorageConfig = field(default_factory=EachlabsConfig)
    webhook: WebhookConfig | None = None

    @property
    def by_hand(self) -> bool:
        """Whether the artist publishes clips, and gives the address of each."""
        return isinstance(self.storage, GivenUrlConfig)

    @property
    def job_context(self) -> JobContext:
        """For the jobs of a click. Main thread only: the webhook of other settings is stopped."""
        hook = webhook_for(self.webhook)
        return JobContext(self.key, self.base_url, background_blender(), self.own / "work", self.storage, hook)

    @property
    def folder(self) -> Path:
        """For the open file's sounds; one of the extension's own where that file has no place on disk yet."""
        return self.folder_for(project.saved_as())

    @property
    def temporary_folders(self) -> list[Path]:
        """Where sounds of files lie that had no place on disk yet."""
        recovered = bpy.data.filepath if project.is_temporary(bpy.data.filepath) else ""
        return [self.own / "sounds", *([self._folder_beside(recovered)] if recovered else [])]

    def folder_for(self, blend: str) -> Path:
        """For the sounds of the file at `blend`; empty for one that has no place on disk yet."""
        results = self._results
        return self._folder_beside(blend) if blend or not results.startswith("//") else self.own / "sounds"

    @property
    def _results(self) -> str:
        results = self.results.strip() or "//mmaudio/"
        # What Blender was started in is no place that an artist has in mind.
        return results if Path(results).is_absolute() else f"//{results}"

    def _folder_beside(self, blend: str) -> Path:
        return Path(os.path.normpath(bpy.path.abspath(self._results, start=str(Path(blend).parent))))

    def check_access(self) -> None:
        """Raises Failure where nothing can be sent: no key, no online access, no safe address."""
        check_online()
        if not self.key:
            hint = f"Make one at {client.KEYS_URL} and set it in the preferences."
            raise Failure("no_key", "There is no API key yet.", hint)
        client.check_base_url(self.base_url)


_webhook: Webhook | None = None


def webhook_for(config: WebhookConfig | None) -> Webhook | None:
    """The one webhook of all jobs. That of other settings is stopped before: it may have the same port."""
    global _webhook
    if _webhook is not None and _webhook.config != config:
        _webhook.stop()
        _webhook = None
    if _webhook is None and config is not None:
        _webhook = Webhook(config)
    return _webhook


def check_online() -> None:
    """Raises Failure where Blender's preferences keep add-ons from the network."""
    if not bpy.app.online_access:
        if bpy.app.online_access_override:
            how = "Start Blender without --offline-mode."
        else:
            how = "Preferences > System > Allow Online Access."
        raise Failure("offline", "Online access is disabled.", how)


def background_blender() -> tuple[str, ...]:
    """The command that runs a script in a background Blender; where bpy is a module, Python itself."""
    if bpy.app.binary_path:
        return (bpy.app.binary_path, "--background", "--factory-startup", "--python", str(_RENDER_SCRIPT))
    return (sys.executable, str(_RENDER_SCRIPT))
