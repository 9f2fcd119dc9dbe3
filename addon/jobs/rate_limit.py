# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads which limit a 429 is about: runs in flight, or create calls a minute. No bpy.

The wording of Eachlabs isn't documented, only that `details` names the cap, so this reads what such sentences share. A
number that is read wrongly does no harm: the cap is never set above what was in flight, and it recovers.
"""

import re
from dataclasses import dataclass

DETAILS_MAX = 500
"""Number of characters that are read."""

_NUMBER = r"(?<![\d$.])(\d{1,2})(?![\d.]*\d|\s*(?:ms|s|sec\w*|min\w*|h|hours?)\b)"
_TOGETHER = r"(?:concurren\w*|in[ -]flight|parallel|simultaneous\w*|at once|at a time|at the same time|running)"
_CAPS = (
    re.compile(rf"\b(?:cap|limit|max|maximum|most|up to|allow\w*|only)\b[^\d$]{{0,40}}?{_NUMBER}", re.IGNORECASE),
    re.compile(rf"{_NUMBER}\s+(?:\w+\s+){{0,3}}?{_TOGETHER}", re.IGNORECASE),
)
_RATE = re.compile(r"(?:\bper|/|\ba|\beach|\bevery)\s*(?:minute|min|second|sec|hour)\b", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[;\n]|[.,]\s")


@dataclass(frozen=True)
class RateLimit:
    of_concurrency: bool
    """Whether it is, or may be, about runs in flight."""
    cap: int | None
    """Highest number of runs in flight, from 1 to 99, if the response names it."""

    @classmethod
    def read(cls, details: str) -> "RateLimit":
        clauses = _CLAUSE_END.split(details[:DETAILS_MAX].replace("_", " "))
        of_rate = [clause for clause in clauses if _RATE.search(clause)]
        others = [clause for clause in clauses if clause not in of_rate]
        numbers = (int(found[1]) for caps in _CAPS for clause in others for found in caps.finditer(clause))
        cap = next((number for number in numbers if number), None)
        return cls(cap is not None or not of_rate, cap)
