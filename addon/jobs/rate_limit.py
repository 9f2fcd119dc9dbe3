# SPDX-License-Identifier: GPL-3.0-or-later
"""What a 429 says of itself: a cap on runs in flight, or that too many are created a minute. No bpy.

How Eachlabs words it isn't documented, only that `details` names the cap; so this reads what such sentences share. A
number that is read wrongly does no harm: the cap is never set above what was in flight, and it recovers.
"""

import re
from dataclasses import dataclass

SAID_MAX = 500
"""Characters that are read."""

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
    """`of_flights`: it is, or may be, about runs in flight. `cap`: how many there may be, from 1 to 99, if it says so."""

    of_concurrency: bool
    cap: int | None

    @classmethod
    def read(cls, said: str) -> "RateLimit":
        clauses = _CLAUSE_END.split(said[:SAID_MAX].replace("_", " "))
        of_rate = [clause for clause in clauses if _RATE.search(clause)]
        others = [clause for clause in clauses if clause not in of_rate]
        numbers = (int(found[1]) for caps in _CAPS for clause in others for found in caps.finditer(clause))
        cap = next((number for number in numbers if number), None)
        return cls(cap is not None or not of_rate, cap)
