# SPDX-License-Identifier: GPL-3.0-or-later
"""The header Retry-After. No bpy."""

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX = 60.0
"""Seconds."""


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a `Retry-After` asks for, as a number or a date, within bounds; 0 where there is none."""
    told = headers.get("Retry-After", "")
    try:
        seconds = float(told)
    except ValueError:
        seconds = _seconds_until(told, headers.get("Date", ""))
    return min(max(seconds, 0.0), RETRY_AFTER_MAX) if math.isfinite(seconds) else 0.0


def _seconds_until(date: str, now: str) -> float:
    """By the clock of who tells the date, if it tells its time; 0 for what is no date."""
    try:
        return parsedate_to_datetime(date).timestamp() - (parsedate_to_datetime(now).timestamp() if now else time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return 0.0
