# SPDX-License-Identifier: GPL-3.0-or-later
"""Upload of a clip. No bpy."""

from typing import BinaryIO

from ...failure import DiskFailure
from .deadline import RequestDeadline
from .download import Progress


class Upload:
    """File-like request body with a length. Reading it reports the progress, and raises Cancelled after a cancel."""

    def __init__(self, file: BinaryIO, size: int, deadline: RequestDeadline, progress: Progress) -> None:
        self._file = file
        self._size = size
        self._deadline = deadline
        self._progress = progress

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        self._deadline.progress(self._file.tell())
        try:
            chunk = self._file.read(size)
        except OSError as fault:
            # Later it could no longer be distinguished from a network error.
            text = f"The clip could not be read: {fault.strerror or fault}."
            raise DiskFailure(text, "Check the disk, then retry.") from None
        self._progress(self._file.tell(), self._size)
        return chunk
