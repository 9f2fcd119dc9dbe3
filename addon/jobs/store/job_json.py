# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs as JSON for the journal, without their progress. No bpy.

A field that is added with a default can be read from older records, and unknown fields of newer ones are ignored. Any other
change, such as how a strip is split into windows, needs a new version of the database.
"""

import enum
import json
import re
from dataclasses import is_dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import dacite

from ..model.job import Job

_JOB_ID = re.compile(r"[0-9a-f]{32}")
_CONFIG = dacite.Config(type_hooks={Fraction: Fraction, Path: Path}, cast=[enum.Enum, tuple])


class UnreadableError(ValueError):
    """Says where a record is invalid, but never what it contains, which may be a secret."""


def to_bytes(job: Job) -> bytes:
    text = json.dumps(replace(job, progress=None), default=_plain, ensure_ascii=False)
    # A file name may contain lone surrogates: if they were escaped, two of them would be read as one character.
    return text.encode("utf-8", "surrogatepass")


def from_bytes(record: bytes, job_id: str) -> Job:
    """Return the job of a record. Raises nothing but UnreadableError."""
    try:
        job = dacite.from_dict(Job, json.loads(record.decode("utf-8", "surrogatepass")), _CONFIG)
    except dacite.DaciteFieldError as fault:
        raise UnreadableError(f"{type(fault).__name__} at {fault.field_path}") from None
    except Exception as fault:
        # An invalid number, JSON with ten thousand levels, no JSON at all: it must not hide the other records.
        raise UnreadableError(type(fault).__name__) from None
    # The id names a folder, which is removed with the job.
    if job.id != job_id or not _JOB_ID.fullmatch(job.id):
        raise UnreadableError("the id is different")
    return job


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return vars(value)
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be saved")
