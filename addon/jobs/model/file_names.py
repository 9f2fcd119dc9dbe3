# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files, made from names of strips. No bpy."""

import re
import unicodedata

_NAME_MAX = 40


def file_name(strip: str, job_id: str, take: int) -> str:
    """A file name that every system takes: letters and digits of the strip's name, the job's first digits, the take."""
    plain = unicodedata.normalize("NFC", strip)
    words = re.sub(r"[^\w]+", "_", plain).strip("_")[:_NAME_MAX].rstrip("_")
    # The suffix keeps Windows' reserved names, such as CON, from standing alone.
    return f"{words or 'strip'}-{job_id[:8]}-{take}.wav"
