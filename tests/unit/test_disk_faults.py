# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of failures of disks and network drives. The system errors are patched in here; tests/blender has real drives."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from addon.failure import Failure, disk_failure
from addon.media import folder

pytestmark = pytest.mark.oldest

TOLD = [
    (errno.EACCES, "access is denied", "Make it writable"),
    (errno.EIO, "the drive reports an error", "Check the drive"),
    (errno.ENODEV, "the drive is not connected", "Connect it"),
    (errno.ELOOP, "its symbolic links are circular", "Check the folder"),
    (errno.ENAMETOOLONG, "its name is too long", "Check the folder"),
    *(
        (number, "the network drive can't be reached", "Connect it again")
        for number in (errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT)
    ),
]


def fault(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/studio/shot.mp4")


@pytest.mark.parametrize(("number", "reason", "way_out"), TOLD)
def test_a_disk_error_has_a_reason_and_a_hint(number: int, reason: str, way_out: str) -> None:
    for said in (fault(number), RuntimeError(f"Error: Cannot open file: {os.strerror(number)}.\n")):
        failure = disk_failure(said, "The edit can't be saved", "or choose another folder")
        assert failure.message == f"The edit can't be saved: {reason}."
        assert failure.hint == f"{way_out} or choose another folder, then retry."


def test_a_file_without_access_is_to_be_made_readable() -> None:
    assert disk_failure(fault(errno.EACCES), "It can't be read", reading=True).hint == "Make it readable, then retry."


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        (errno.ENOENT, 53, "the network drive can't be reached"),
        (errno.EINVAL, 64, "the network drive can't be reached"),
        (errno.EACCES, 21, "the drive is not connected"),
    ],
)
def test_windows_errors_of_drives_are_known(number: int, code: int, reason: str) -> None:
    of_windows = fault(number)
    # This attribute exists on Windows only.
    vars(of_windows)["winerror"] = code
    assert reason in disk_failure(of_windows, "It can't be read").message


@pytest.mark.parametrize(("number", "reason", "way_out"), TOLD)
def test_a_folder_that_can_not_be_accessed_is_rejected(
    *, number: int, reason: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    for name in ("stat", "lstat"):
        real = getattr(Path, name)

        def answer(path: Path, *given: Any, real: Any = real, **more: Any) -> Any:
            if path.is_relative_to(share):
                raise fault(number)
            return real(path, *given, **more)

        monkeypatch.setattr(Path, name, answer)
    for asked in (share, share / "deeper" / "down"):
        with pytest.raises(Failure) as raised:
            folder.check(asked, f"Sounds can't be written to {asked}")
        assert raised.value.message == f"Sounds can't be written to {asked}: {reason}." and way_out in raised.value.hint
        with pytest.raises(Failure) as raised:
            folder.is_folder(asked, f"The edit can't be saved in {asked}")
        assert reason in raised.value.message


def test_a_missing_path_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    named = [tmp_path, tmp_path / "file", tmp_path / "file" / "below", tmp_path / "missing"]
    assert [folder.is_folder(path, "It can't be saved") for path in named] == [True, False, False, False]


def test_an_invalid_path_is_reported() -> None:
    for ask in (folder.check, folder.is_folder):
        with pytest.raises(Failure) as raised:
            ask(Path("/a\0b"), "It can't be saved")
        assert "null" in raised.value.message
