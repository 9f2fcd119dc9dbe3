# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that a job is read from its record as it was saved, whatever it contains."""

import enum
import tempfile
import types
import typing
from contextlib import closing
from dataclasses import is_dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from addon.jobs.model.job import Job
from addon.jobs.store.job_json import from_bytes, to_bytes
from addon.jobs.store.journal import Entry, Holder, Journal

from .helpers import new_job

pytestmark = pytest.mark.oldest

TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF), max_size=8)
_PLAIN: dict[object, SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers() | st.just(-(7**900)),
    # NaN is not equal to itself.
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    type(None): st.none(),
    Fraction: st.fractions(),
    Path: TEXT.map(Path),
}


def anything(kind: Any) -> SearchStrategy[Any]:
    """Return a strategy for all values that the annotation allows."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return st.one_of([anything(choice) for choice in inner])
    if typing.get_origin(kind) is tuple:
        assert inner[1:] == (...,)
        return st.lists(anything(inner[0]), max_size=3).map(tuple)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    if isinstance(kind, type) and is_dataclass(kind):
        return st.builds(kind, **{name: anything(hint) for name, hint in typing.get_type_hints(kind).items()})
    return _PLAIN[kind]


@st.composite
def any_job(draw: st.DrawFn) -> Job:
    return replace(draw(anything(Job)), id=f"{draw(st.integers(0, 16**32 - 1)):032x}")


# No deadline, since a busy machine is slow.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(any_job())
@PATIENT
def test_a_job_comes_back_as_it_was_but_for_its_progress(job: Job) -> None:
    assert from_bytes(to_bytes(job), job.id) == replace(job, progress=None)


@given(any_job(), TEXT)
@example(new_job(Path("/\udc80"), "\ud83d\ude00"), "/\ud83d\ude00/\udcff")
@settings(PATIENT, max_examples=30)
def test_a_job_comes_back_from_the_file_too(job: Job, project: str) -> None:
    job = replace(job, project=project)
    with tempfile.TemporaryDirectory() as folder, closing(Journal.open(Path(folder) / "jobs.sqlite")) as journal:
        journal.save(job)
        assert journal.all() == [Entry(job.id, project, Holder.OURS, replace(job, progress=None))]
