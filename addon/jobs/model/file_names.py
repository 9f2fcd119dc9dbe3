# SPDX-License-Identifier: GPL-3.0-or-later
"""File names made from names of strips. No bpy."""

import re
import unicodedata

_NAME_MAX = 40


def file_name(strip: str, job_id: str, take: int) -> str:
    """Return a file name that is valid on all systems: letters of the strip's name, start of the job's id, take."""
    plain = unicodedata.normalize("NFC", strip)
    words = re.sub(r"[^\w]+", "_", plain).strip("_")[:_NAME_MAX].rstrip("_")
    # The suffix also keeps reserved names of Windows, such as CON, from standing alone.
    return f"{words or 'strip'}-{job_id[:8]}-{take}.wav"
