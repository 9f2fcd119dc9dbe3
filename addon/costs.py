# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs cost: expected, in this session, and of the sounds in the open file. Main thread."""

from collections.abc import Iterable

from . import session
from .jobs.model.job import Job
from .service.eachlabs import mmaudio
from .timeline import takes


def run_usd() -> float:
    """Return the expected price of a run, in US dollars: the mean of those of this session."""
    known = [run.cost for job in session.current.runner.jobs for run in job.runs if run.cost is not None]
    return sum(known) / len(known) if known else mmaudio.EXPECTED_RUN_USD


def runs_to_create(jobs: Iterable[Job]) -> int:
    """Return the number of runs that it takes to go on with these jobs."""
    return sum(job.runs_to_create(cleaning_up=session.current.has_worker(job)) for job in jobs)


def session_usd() -> float:
    """Return what the jobs of this session have cost so far, in US dollars, as far as it is known."""
    current = session.current
    return current.forgotten_usd + sum(job.cost or 0.0 for job in current.runner.jobs if job.created >= current.started)


def file_usd() -> float:
    """Return what all takes of the sounds in the open file have cost, in US dollars, as far as it is known."""
    costs = {
        (str(take.get("job", "")), str(take.get("file", ""))): float(take.get("cost_usd") or 0.0)
        for sound in takes.generated_sounds()
        for take in takes.of(sound)
    }
    return sum(costs.values())
