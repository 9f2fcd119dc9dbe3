# SPDX-License-Identifier: GPL-3.0-or-later
"""Several Blenders that share a journal: some in the test's process, some in processes that can be killed."""

import os
from pathlib import Path

import pytest

from addon.jobs.model.job import Job
from addon.jobs.model.run import RunIndex, Stage
from addon.jobs.store.job_json import to_bytes
from addon.jobs.store.journal import Journal

from .blender_process import Blender

POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX's signals and permissions")


class Blenders:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._journals: list[Journal] = []
        self._blenders: list[Blender] = []

    def open(self) -> Journal:
        """Open the journal as one more Blender."""
        self._journals.append(Journal.open(self.path))
        return self._journals[-1]

    def start(self) -> Blender:
        """Start one more Blender, in its own process."""
        self._blenders.append(Blender(self.path))
        return self._blenders[-1]

    def leave(self, *jobs: Job) -> None:
        """Save jobs as a Blender that has since ended."""
        journal = Journal.open(self.path)
        for job in jobs:
            journal.save(job)
        journal.close()

    def close(self) -> None:
        for journal in self._journals:
            journal.close()
        for blender in self._blenders:
            if blender.process.returncode is None:
                blender.kill()


def with_prediction(job: Job) -> Job:
    return job.with_run(RunIndex(0, 0), stage=Stage.PREDICTING, requested_at=1.5, prediction_id="run-1")


def as_message(job: Job) -> dict[str, str]:
    """Return the arguments with which another process saves the job."""
    return {"job_id": job.id, "record": to_bytes(job).decode()}
