# SPDX-License-Identifier: GPL-3.0-or-later
"""The clip of one window: its file, and its upload in storage. No bpy."""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ...failure import Failure
from ...media.export import RenderOrder
from ...service.eachlabs import mmaudio
from ...service.storage import Published
from ...service.storage.errors import StorageChanged
from ..model.run import RunIndex, Stage
from .connections import Connections
from .state import JobState

log = logging.getLogger(__name__)


class Clip:
    """Shared by the runs of all takes for one window: whichever needs the upload first makes it."""

    def __init__(self, state: JobState, window: int, file: Path) -> None:
        self.window = window
        self.file = file
        self._state = state
        self._lock = threading.Lock()

    @property
    def needs_render(self) -> bool:
        """Whether it is neither in storage nor on this disk."""
        upload = self._state.job.clips[self.window]
        in_storage = upload is not None and upload.is_live(time.time())
        return not in_storage and not self.file.is_file()

    def render_order(self, export: str) -> RenderOrder:
        """Return the order to render it. `export` identifies the export that it is a part of."""
        request = self._state.job.request
        window = request.windows[self.window]
        return RenderOrder(
            blend=str(request.snapshot.blend),
            scene=request.snapshot.scene,
            whole_project=request.snapshot.whole_project,
            strip=request.shown,
            strip_first=request.scored.start,
            strip_frames=request.scored.frames,
            lead=request.lead,
            tail=request.tail,
            first=window.first,
            frames=mmaudio.clip_frames(window.duration, request.fps),
            output=str(self.file),
            short_side_max=mmaudio.SHORT_SIDE_MAX,
            long_side_max=mmaudio.LONG_SIDE_MAX,
            whole_edit=request.whole_edit,
            scenes_as_they_are=request.options.scenes_as_they_are,
            export=export,
        )

    def upload(self, connections: Connections, indexes: Sequence[RunIndex]) -> None:
        """Upload the clip for these runs unless it is in storage. Raises Failure, Cancelled."""
        with self._lock:
            upload = self._state.job.clips[self.window]
            if upload is not None and upload.is_live(time.time()):
                return
            if upload is not None:
                # Begun before a crash, or expired by now.
                self._state.give_up_upload(self.window)
            self._state.check_may_create()
            if connections.storage.needs_export:
                for index in indexes:
                    self._state.change_run(index, stage=Stage.UPLOADING)
                self._state.report_run(0, self.file.stat().st_size, "bytes")
            published = connections.storage.publish(
                self.file,
                lambda done, total: self._state.report_run(done, total, "bytes"),
                lambda published: self._state.set_upload(self.window, published),
            )
            self._state.set_upload(self.window, replace(published, complete=True))


def delete_uploads(state: JobState, connections: Connections, uploads: Iterable[Published]) -> None:
    """Delete uploads of the job from storage. What can't be deleted stays recorded in the job."""
    for upload in uploads:
        try:
            connections.storage.delete(upload)
        except StorageChanged as failure:
            log.warning("a clip could not be deleted from storage: %s", failure.message)
        except Failure as failure:
            # The next one would fail for the same reason.
            log.warning("clips could not be deleted from storage: %s", failure.message)
            return
        else:
            state.remove_upload(upload)
