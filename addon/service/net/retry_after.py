# SPDX-License-Identifier: GPL-3.0-or-later
"""The header Retry-After. No bpy."""

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX = 60.0
"""Seconds."""


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that `Retry-After` gives as a number or date, at most RETRY_AFTER_MAX; 0 without the header."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, headers.get("Date", ""))
    return min(max(seconds, 0.0), RETRY_AFTER_MAX) if math.isfinite(seconds) else 0.0


def _seconds_until(date: str, now: str) -> float:
    """Return the seconds until `date` by the server's clock `now`, by this machine's if empty; 0 for an invalid date."""
    try:
        return parsedate_to_datetime(date).timestamp() - (parsedate_to_datetime(now).timestamp() if now else time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return 0.0
