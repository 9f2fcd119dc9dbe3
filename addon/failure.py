# SPDX-License-Identifier: GPL-3.0-or-later
"""Base class of failures, and the kinds that several packages raise. No bpy.

Each package defines the other kinds beside the code that raises them.
"""

import errno
import logging
import os
import unicodedata
from typing import ClassVar, Self

log = logging.getLogger(__name__)

_BIDI_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def readable(text: str) -> str:
    """Return the text on one line. Names may contain line breaks, terminal control codes and bidirectional controls."""
    replacements = {"Cc": " ", "Zl": " ", "Zp": " ", "Cs": "\N{REPLACEMENT CHARACTER}"}
    return "".join(replacements.get(unicodedata.category(char), char) for char in text if char not in _BIDI_CONTROLS)


class Failure(Exception):
    """Base class of failures that are shown to the user. Each kind is a subclass. Immutable.

    Neither the message nor the hint ever contains a key, or more of a URL than its host.
    """

    code: ClassVar[str]
    """Identifier for scripts, such as "no_key". Codes are only added, never changed or removed."""
    default_hint: ClassVar[str] = ""
    """Hint of failures that are created without one."""
    stops_all: ClassVar[bool] = False
    """Whether each other job would fail for the same reason, until someone has done something about it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self._message = readable(message)
        self._hint = readable(self.default_hint if hint is None else hint)

    @property
    def message(self) -> str:
        """What happened, in a complete sentence."""
        return self._message

    @property
    def hint(self) -> str:
        """What to do about it, in a complete sentence, or empty."""
        return self._hint

    @property
    def text(self) -> str:
        """The message and the hint."""
        return f"{self.message} {self.hint}".rstrip()

    def reworded(self, message: str | None = None, hint: str | None = None) -> Self:
        """Return a failure of the same kind with another message or hint."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        Failure.__init__(other, self.message if message is None else message, self.hint if hint is None else hint)
        return other


class RunFailure(Failure):
    """Failure of a single run. The other runs of the job can continue."""


class DiskFailure(Failure):
    code = "files"


class FolderUnusable(DiskFailure):
    """Nothing can be written to a folder, such as one on a full disk."""

    stops_all = True


class TooLarge(Failure):
    code = "too_large"
    default_hint = "Shorten the strip."


class InternalFailure(Failure):
    code = "internal"
    default_hint = "Please report it."


class Cancelled(Exception):
    """The user cancelled the work, or Blender is closing."""


def as_failure(fault: Exception, where: str) -> Failure:
    """Return any exception as a Failure. Log a bug of the add-on with its traceback; `where` names the work."""
    if isinstance(fault, Failure):
        return fault
    if isinstance(fault, OSError):
        return disk_failure(fault)
    log.error("%s", where, exc_info=fault)
    return InternalFailure(f"An error occurred in the add-on: {type(fault).__name__}.")


_UNREACHABLE = "the network drive can't be reached"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EROFS: "it is read-only",
    errno.EACCES: "access is denied",
    errno.EPERM: "access is denied",
    errno.EEXIST: "a file is in the way",
    errno.ENOTDIR: "a file is in the way",
    errno.ENOENT: "there is no such folder or drive",
    errno.ELOOP: "its symbolic links are circular",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EIO: "the drive reports an error",
    errno.ENXIO: "the drive is not connected",
    errno.ENODEV: "the drive is not connected",
    **dict.fromkeys(
        (
            errno.ESTALE,
            errno.ENOTCONN,
            errno.EHOSTDOWN,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
            errno.ENETUNREACH,
            errno.ETIMEDOUT,
        ),
        _UNREACHABLE,
    ),
}
# Windows' system error codes whose errno is misleading: ERROR_NOT_READY, and those of a network path, from
# ERROR_REM_NOT_LIST over ERROR_BAD_NETPATH to ERROR_HOST_UNREACHABLE.
_WINDOWS_ERRORS = {21: errno.ENXIO, **dict.fromkeys((51, 53, 54, 59, 64, 67, 121, 1222, 1231, 1232), errno.ENOTCONN)}
_WRITE_HINTS = {
    "the disk is full": "Free some space",
    "it is read-only": "Make it writable",
    "access is denied": "Make it writable",
    "the drive reports an error": "Check the drive",
    "the drive is not connected": "Connect it",
    _UNREACHABLE: "Connect it again",
}
_READ_HINTS = {**_WRITE_HINTS, "access is denied": "Make it readable"}


def disk_failure(fault: Exception, what: str = "", alternative: str = "", *, reading: bool = False) -> DiskFailure:
    """Return the failure for an OSError, or for an exception of Blender's whose text contains the system's error message.

    `what` says what can't be done, and in which folder; by default it names the exception's file. `alternative` is added to
    the hint, such as "or choose another one". `reading`: a file was read rather than written.
    """
    number, text = getattr(fault, "errno", None), str(fault).removeprefix("Error: ").strip(" .\n")
    if number is None:
        number = next((known for known in _REASONS if os.strerror(known) in text), 0)
    number = _WINDOWS_ERRORS.get(getattr(fault, "winerror", None) or 0, number)
    reason = _REASONS.get(number) or getattr(fault, "strerror", None) or text
    kind = FolderUnusable if what and not reading else DiskFailure
    what = what or f"{getattr(fault, 'filename', None) or 'A file'} can't be written or read"
    hints = _READ_HINTS if reading else _WRITE_HINTS
    hint = " ".join(filter(None, (hints.get(reason, "Check the folder"), alternative)))
    return kind(f"{what}: {reason}.", f"{hint}, then retry.")
