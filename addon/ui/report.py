# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of operators."""

import bpy

from ..failure import Failure


def report_failure(operator: bpy.types.Operator, failure: Failure) -> set[str]:
    """Report a failure in the status bar; return the result of the operator."""
    operator.report({"ERROR"}, failure.text)
    return {"CANCELLED"}
