# SPDX-License-Identifier: GPL-3.0-or-later
"""From strips to jobs. Called by the panel and by the command line.

Main thread only; nothing here waits.
"""

from collections.abc import Sequence
from dataclasses import replace

import bpy

from . import placing, plan, session
from .click import Click
from .config import Config
from .failure import Failure, disk_failure
from .jobs.model.job import Job
from .jobs.model.request import Options
from .jobs.model.run import JobError, Stage
from .service.eachlabs import mmaudio
from .service.eachlabs.mmaudio import Settings
from .timeline import project, snapshot, strips
from .timeline.strip_types import Strip

_DEFAULT_OPTIONS = Options()


class OneClipUrl(Failure):
    """A clip URL is the clip of one strip only."""

    code = "one_address"
    default_hint = "Select one strip, or choose another storage in the preferences."

    def __init__(self, count: int) -> None:
        super().__init__(f"A clip URL is for a single strip, but {count} are selected.")


class NothingToOrder(Failure):
    """All chosen strips are at work, or have their sound."""

    code = "nothing_to_order"
    default_hint = "Choose other strips, or turn off Skip Strips with Sound to give those that have one another take."

    def __init__(self, skipped: Sequence[plan.Skipped]) -> None:
        reasons = ", ".join(f"“{strip.strip}” {strip.reason}" for strip in skipped[:3])
        more = f", and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        super().__init__(f"There is nothing to generate: {reasons}{more}.")


def start(
    scene: bpy.types.Scene,
    chosen: Sequence[Strip],
    settings: Settings,
    config: Config,
    options: Options = _DEFAULT_OPTIONS,
    *,
    random_seeds: bool = False,
    skip_done: bool = False,
) -> list[Job]:
    """Start a job for each strip, or one for all `as_one`, and return them. A strip that can't be rendered fails at once.

    An effect with one input stands for the strip that it works on, and a generated sound for its clip. With `random_seeds`
    each strip but the first gets a seed of its own; otherwise all have that of the settings. Strips at work are left out,
    and with `skip_done` those that have their sound.

    Raises Failure if nothing can be sent at all.
    """
    config.check_access()
    clips, skipped = plan.to_order(chosen, options, skip_done=skip_done)
    if not clips:
        raise NothingToOrder(skipped)
    if options.clip_url and len(clips) > 1:
        raise OneClipUrl(len(clips))
    session.current.runner.open(config.extension_folder)
    session.current.runner.go_on(session.current.job_context(config), paused=False)
    click = Click(scene, settings, options, config)
    click.mark(clips)
    requests = click.requests(clips)
    if random_seeds:
        requests[1:] = [request.with_seed(mmaudio.random_seed()) for request in requests[1:]]
    jobs = [Job.new(request, project.saved_as()) for request in requests]
    start_jobs(jobs, config)
    return [session.current.runner.job(job.id) or job for job in jobs]


def insert(job: Job) -> None:
    """Place the finished sounds of an ended job once more, in the file that is open now."""
    session.current.insert(job)

    def unplaced(job: Job) -> Job:
        takes = tuple(replace(take, sound=None) for take in job.takes)
        return replace(job, stage=Stage.PLACING, takes=takes, error=None)

    session.current.runner.update(job.id, unplaced)


def advance() -> list[Job]:
    """Place finished sounds. Return the versions that jobs went through since the last call, in order."""
    versions = session.current.runner.drain()
    placing.place_due()
    _drop_snapshots()
    return versions + session.current.runner.drain()


def start_jobs(jobs: Sequence[Job], config: Config) -> None:
    """Let jobs fail whose strips can't be used; start the others, with one snapshot of the edit if they are rendered."""
    runner, job_context = session.current.runner, session.current.job_context(config)
    ready: list[Job] = []
    for job in jobs:
        try:
            for position in job.request.positions:
                found = strips.find(job.request.scene, position.strip)
                strips.check(*found, rendered=not job.request.options.clip_url)
            ready.append(job)
        except Failure as failure:
            error = JobError(failure.code, failure.message, failure.hint)
            runner.show([job], job_context)
            runner.fail(job.id, error)
    if not ready:
        return
    first = ready[0].request
    if first.options.clip_url:
        runner.add(ready, job_context)
        return
    shown = None if first.whole_edit else {job.request.shown: job.request.scored for job in ready}
    try:
        taken = snapshot.write(bpy.data.scenes[first.scene], shown, first.snapshot.blend)
    except (OSError, RuntimeError) as fault:
        raise disk_failure(fault, f"The edit for the background render can't be written to {config.work}") from fault
    session.current.snapshots.add(taken)
    runner.add([replace(job, request=replace(job.request, snapshot=taken)) for job in ready], job_context)


def _drop_snapshots() -> None:
    # A retry may render what is still missing of a job that has begun to cost.
    needed = {
        job.request.snapshot
        for job in session.current.runner.jobs
        if job.stage in (Stage.QUEUED, Stage.EXPORTING) or (job.paid and job.stage in (Stage.FAILED, Stage.CANCELLED))
    }
    for unused in session.current.snapshots - needed:
        snapshot.delete(unused)
        session.current.snapshots.discard(unused)
