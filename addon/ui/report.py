# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of operators."""

import bpy

from ..failure import Failure


def text_of(failure: Failure) -> str:
    """Return what happened and what to do about it."""
    return f"{failure.message} {failure.hint}".rstrip()


def report_failure(operator: bpy.types.Operator, failure: Failure) -> set[str]:
    """Report a failure in the status bar; return the result of the operator."""
    operator.report({"ERROR"}, text_of(failure))
    return {"CANCELLED"}
