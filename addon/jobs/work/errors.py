# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of failure of runs. No bpy."""

from ...failure import Failure, RunFailure
from ...service.storage.errors import SETTINGS_HINT


class RunFailed(RunFailure):
    code = "run_failed"
    default_hint = "Change the prompt or settings, or retry."


class RunCancelled(RunFailure):
    code = "run_cancelled"
    default_hint = "Retry starts a new run."


class RunTimedOut(RunFailure):
    code = "run_timeout"
    default_hint = "Retry looks for its result again, without a new run."


class RunForgotten(RunFailure):
    """The service no longer knows the run, so nothing can be fetched."""

    code = "run_forgotten"


class OtherAccount(RunFailure):
    """The run was created with another API key or service address."""

    code = "other_account"
    default_hint = "Restore them and retry, which downloads its result, or generate the sound again, which starts a new run."

    def __init__(self) -> None:
        super().__init__(
            "The run was created with another API key or service URL, and can't be found with the current ones."
        )


class NoResult(RunFailure):
    code = "no_result"
    default_hint = "Retry looks for it again."


class ClipExpired(Failure):
    """The clip can no longer be read, or not for long enough; no run was created with it."""

    code = "clip_lapsed"
    default_hint = f"Set a longer lifetime for clips, or retry after other runs have ended. {SETTINGS_HINT}"

    def __init__(self) -> None:
        super().__init__("The uploaded clip expired repeatedly while its run was waiting.")
