# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip on its way from this disk. No bpy."""

from typing import BinaryIO

from ...failure import Failure
from .deadline import RequestDeadline
from .download import Progress


class Upload:
    """A file as requests reads it: its length known, each block reported, ended by a cancel."""

    def __init__(self, file: BinaryIO, size: int, deadline: RequestDeadline, progress: Progress) -> None:
        self._file = file
        self._size = size
        self._deadline = deadline
        self._progress = progress

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        self._deadline.moved(self._file.tell())
        try:
            block = self._file.read(size)
        except OSError as fault:
            # Told apart from a fault of the network here, or never.
            text = f"The clip could not be read: {fault.strerror or fault}."
            raise Failure("files", text, "Check the disk, then retry.") from None
        self._progress(self._file.tell(), self._size)
        return block
