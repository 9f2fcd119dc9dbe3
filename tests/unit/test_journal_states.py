# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of several Blenders that use a journal in any order: no job is lost, and none has two owners."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from addon.failure import Failure
from addon.jobs.model.job import Job
from addon.jobs.model.run import JobError, RunIndex, Stage
from addon.jobs.store.journal import Entry, Holder, Journal
from addon.service.storage import Published

from .helpers import new_job

pytestmark = pytest.mark.oldest

SEATS = 3
PROJECTS = ("", "/edit/a.blend", "/edit/\udcff.blend")


@dataclass
class Known:
    """Expected state of a job; `number` is that of the Blender that owns it."""

    job: Job
    number: int | None


STATES = {
    "exporting": lambda job: replace(job, stage=Stage.EXPORTING),
    "uploaded": lambda job: job.with_clip(0, Published("id", "https://cdn.example/1.mp4")),
    "ordered": lambda job: job.with_run(RunIndex(0, 0), stage=Stage.PREDICTING, requested_at=1.0),
    "created": lambda job: replace(job, stage=Stage.PREDICTING).with_run(RunIndex(0, 0), prediction_id="run"),
    "failed": lambda job: replace(job, stage=Stage.FAILED, error=JobError("network", "“\ud800” failed", "Retry.")),
    "cancelled": lambda job: replace(job, stage=Stage.CANCELLED),
    "retried": lambda job: replace(job, stage=Stage.QUEUED, error=None),
    "done": lambda job: replace(job, stage=Stage.DONE),
}
numbers = st.integers(0, SEATS - 1)


class Blenders(RuleBasedStateMachine):
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.journals: dict[int, Journal] = {}
        self.known: dict[str, Known] = {}
        self.forgotten: dict[str, tuple[int, Job]] = {}
        self.turn = 0

    def teardown(self) -> None:
        for journal in self.journals.values():
            journal.close()
        shutil.rmtree(self.folder)

    def at(self, number: int) -> Journal:
        """Return the journal of the Blender with that number, which is started if it has ended."""
        if number not in self.journals:
            self.journals[number] = Journal.open(self.folder / "jobs.sqlite")
            assert self.journals[number].note == ""
        return self.journals[number]

    @rule(target=jobs, number=numbers, project=st.sampled_from(PROJECTS))
    def make(self, number: int, project: str) -> str:
        job = replace(new_job(self.folder, "Shot \udc80"), project=project)
        self.at(number).save(job)
        self.known[job.id] = Known(job, number)
        return job.id

    @rule(number=numbers)
    def kill(self, number: int) -> None:
        if journal := self.journals.pop(number, None):
            journal.close()
        for known in self.known.values():
            if known.number == number:
                known.number = None
        self.forgotten = {job_id: (at, job) for job_id, (at, job) in self.forgotten.items() if at != number}

    @rule(number=numbers, job_id=jobs, state=st.sampled_from(sorted(STATES)))
    def save(self, number: int, job_id: str, state: str) -> None:
        known = self.known[job_id]
        changed = STATES[state](known.job)
        if known.number in (None, number):
            # A thread may still have the project's first name.
            self.at(number).save(replace(changed, project=PROJECTS[0]))
            self.known[job_id] = Known(changed, number)
        else:
            with pytest.raises(Failure, match="Another Blender"):
                self.at(number).save(changed)

    @rule(number=numbers, project=st.sampled_from(PROJECTS))
    def claim(self, number: int, project: str) -> None:
        free = [
            known
            for known in self.known.values()
            if known.number is None and known.job.project == project and not known.job.stage.ended
        ]
        assert self.at(number).claim(project) == [known.job for known in free]
        for known in free:
            known.number = number

    @rule(number=numbers, job_id=jobs)
    def take(self, number: int, job_id: str) -> None:
        known = self.known[job_id]
        stale = replace(known.job, stage=Stage.QUEUED)
        if known.number not in (None, number):
            with pytest.raises(Failure):
                self.at(number).claim_job(stale)
            return
        # A Blender's own version of its job is the newest.
        assert self.at(number).claim_job(stale) == (stale if known.number == number else known.job)
        known.number = number

    @rule(number=numbers, job_ids=st.lists(jobs, max_size=3), project=st.sampled_from(PROJECTS))
    def move(self, number: int, job_ids: list[str], project: str) -> None:
        self.at(number).move(job_ids, project)
        for job_id in job_ids:
            if self.known[job_id].number == number:
                self.known[job_id].job = replace(self.known[job_id].job, project=project)

    @rule(target=jobs, number=numbers, job_id=consumes(jobs))
    def forget(self, number: int, job_id: str) -> object:
        free = self.known[job_id].number in (None, number)
        assert self.at(number).forget(job_id) == free
        if not free:
            return job_id
        self.forgotten[job_id] = (number, self.known.pop(job_id).job)
        return multiple()

    @rule()
    def save_late(self) -> None:
        for number, job in self.forgotten.values():
            self.at(number).save(replace(job, stage=Stage.CANCELLED))

    @invariant()
    def all_jobs_are_there_as_they_were_saved_last(self) -> None:
        """Check the journals of all running Blenders in turn."""
        self.turn = (self.turn + 1) % SEATS
        journal = self.journals.get(self.turn)
        if journal is None:
            return

        def holder(known: Known) -> Holder:
            if known.number is None:
                return Holder.NOBODY
            return Holder.OURS if known.number == self.turn else Holder.OTHER

        assert journal.all() == [
            Entry(job_id, known.job.project, holder(known), known.job) for job_id, known in self.known.items()
        ]
        waiting = [known.job for known in self.known.values() if known.number is None and not known.job.stage.ended]
        assert journal.others(PROJECTS[1]) == [job for job in waiting if job.project != PROJECTS[1]]


Blenders.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_blenders = Blenders.TestCase
