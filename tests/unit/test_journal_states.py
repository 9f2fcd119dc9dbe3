# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever several Blenders do with one journal, in whatever order: no job is lost, and none has two owners."""

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

from .parts import new_job

SEATS = 3
PROJECTS = ("", "/edit/a.blend", "/edit/\udcff.blend")


@dataclass
class Known:
    """What the journal should have of a job; `seat` is its owner's."""

    job: Job
    seat: int | None


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
seats = st.integers(0, SEATS - 1)


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

    def at(self, seat: int) -> Journal:
        """The Blender at that seat, started where it has ended."""
        if seat not in self.journals:
            self.journals[seat] = Journal.open(self.folder / "jobs.sqlite")
            assert self.journals[seat].note == ""
        return self.journals[seat]

    @rule(target=jobs, seat=seats, project=st.sampled_from(PROJECTS))
    def make(self, seat: int, project: str) -> str:
        job = replace(new_job(self.folder, "Shot \udc80"), project=project)
        self.at(seat).save(job)
        self.known[job.id] = Known(job, seat)
        return job.id

    @rule(seat=seats)
    def die(self, seat: int) -> None:
        if journal := self.journals.pop(seat, None):
            journal.close()
        for known in self.known.values():
            if known.seat == seat:
                known.seat = None
        self.forgotten = {job_id: (at, job) for job_id, (at, job) in self.forgotten.items() if at != seat}

    @rule(seat=seats, job_id=jobs, state=st.sampled_from(sorted(STATES)))
    def save(self, seat: int, job_id: str, state: str) -> None:
        known = self.known[job_id]
        changed = STATES[state](known.job)
        if known.seat in (None, seat):
            # A thread may still have the job under the project's first name.
            self.at(seat).save(replace(changed, project=PROJECTS[0]))
            self.known[job_id] = Known(changed, seat)
        else:
            with pytest.raises(Failure, match="Another Blender"):
                self.at(seat).save(changed)

    @rule(seat=seats, project=st.sampled_from(PROJECTS))
    def claim(self, seat: int, project: str) -> None:
        free = [
            known
            for known in self.known.values()
            if known.seat is None and known.job.project == project and not known.job.stage.ended
        ]
        assert self.at(seat).claim(project) == [known.job for known in free]
        for known in free:
            known.seat = seat

    @rule(seat=seats, job_id=jobs)
    def take(self, seat: int, job_id: str) -> None:
        known = self.known[job_id]
        stale = replace(known.job, stage=Stage.QUEUED)
        if known.seat not in (None, seat):
            with pytest.raises(Failure):
                self.at(seat).claim_job(stale)
            return
        # What a Blender has itself it knows best.
        assert self.at(seat).claim_job(stale) == (stale if known.seat == seat else known.job)
        known.seat = seat

    @rule(seat=seats, job_ids=st.lists(jobs, max_size=3), project=st.sampled_from(PROJECTS))
    def move(self, seat: int, job_ids: list[str], project: str) -> None:
        self.at(seat).move(job_ids, project)
        for job_id in job_ids:
            if self.known[job_id].seat == seat:
                self.known[job_id].job = replace(self.known[job_id].job, project=project)

    @rule(target=jobs, seat=seats, job_id=consumes(jobs))
    def forget(self, seat: int, job_id: str) -> object:
        free = self.known[job_id].seat in (None, seat)
        assert self.at(seat).forget(job_id) == free
        if not free:
            return job_id
        self.forgotten[job_id] = (seat, self.known.pop(job_id).job)
        return multiple()

    @rule()
    def late_words(self) -> None:
        for seat, job in self.forgotten.values():
            self.at(seat).save(replace(job, stage=Stage.CANCELLED))

    @invariant()
    def all_jobs_are_there_as_they_were_saved_last(self) -> None:
        """Seen from each living Blender in turn."""
        self.turn = (self.turn + 1) % SEATS
        journal = self.journals.get(self.turn)
        if journal is None:
            return

        def holder(known: Known) -> Holder:
            if known.seat is None:
                return Holder.NOBODY
            return Holder.OURS if known.seat == self.turn else Holder.OTHER

        assert journal.all() == [
            Entry(job_id, known.job.project, holder(known), known.job) for job_id, known in self.known.items()
        ]
        waiting = [known.job for known in self.known.values() if known.seat is None and not known.job.stage.ended]
        assert journal.others(PROJECTS[1]) == [job for job in waiting if job.project != PROJECTS[1]]


Blenders.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_blenders = Blenders.TestCase
