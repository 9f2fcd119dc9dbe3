# SPDX-License-Identifier: GPL-3.0-or-later
"""A job as bytes, and back: JSON of its dataclasses, without what its progress was. No bpy.

What is added to a job with a default is read from older records; what newer ones have more is left out. Anything else
that changes, such as how a strip is cut into windows, asks for another version of the journal.
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
    """Says where a record is at fault. Never with what it holds, which may be a secret."""


def to_bytes(job: Job) -> bytes:
    text = json.dumps(replace(job, progress=None), default=_plain, ensure_ascii=False)
    # A file's name may have surrogates that stand alone; escaped, two of them would come back as one character.
    return text.encode("utf-8", "surrogatepass")


def from_bytes(record: bytes, job_id: str) -> Job:
    """Raises UnreadableError, whatever the record is."""
    try:
        job = dacite.from_dict(Job, json.loads(record.decode("utf-8", "surrogatepass")), _CONFIG)
    except dacite.DaciteFieldError as fault:
        raise UnreadableError(f"{type(fault).__name__} at {fault.field_path}") from None
    except Exception as fault:
        # A number that is none, JSON of ten thousand levels, no JSON at all: it must not hide the other records.
        raise UnreadableError(type(fault).__name__) from None
    # A job's id names a folder that is removed when the job is.
    if job.id != job_id or not _JOB_ID.fullmatch(job.id):
        raise UnreadableError("the id is another")
    return job


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return vars(value)
    if isinstance(value, Fraction | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not kept")
