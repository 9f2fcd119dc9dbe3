# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes on with jobs that have failed, were cancelled, or are held: with what exists, so that nothing is ordered twice.

Main thread only; nothing here waits.
"""

from dataclasses import dataclass, replace

import bpy

from . import costs, generation, plan, session
from .click import Click
from .config import Config
from .failure import Failure
from .jobs.model.job import Job
from .jobs.model.run import Stage
from .service.eachlabs import mmaudio
from .timeline import project, strips
from .timeline.errors import NoStrip
from .timeline.strip_types import Strip


@dataclass(frozen=True)
class Step:
    """What a retry of a job will do."""

    text: str
    usd: float = 0.0
    """Expected price in US dollars."""

    @property
    def label(self) -> str:
        """Text for a button."""
        return f"Retry, {mmaudio.price_text(self.usd)}" if self.usd else "Retry"

    @property
    def sentence(self) -> str:
        return f"{self.text}: {f'about {mmaudio.price_text(self.usd)}' if self.usd else 'no cost'}"


def next_step(job: Job) -> Step:
    """Return what a retry of the ended job will do. Raises Failure if it can't go on here, which says what can be done."""
    if _is_ready(job):
        return Step("Places the finished sound")
    if job.paid:
        count = costs.runs_to_create([job])
        if not count:
            return Step("Fetches the result that is paid for")
        return Step(f"Creates {count} of {len(job.runs)} runs again", count * costs.run_usd())
    scene, clips = _clips(job)
    return Step("Generates the sound again", plan.make(scene, clips, job.request.options, skip_done=False).cost_usd)


def retry(job: Job, config: Config) -> Job:
    """Continue with what exists, which may have been paid for, or else start over with the strip as it is now.

    Returns the job that does it: the same one, or a new one. Raises Failure, also if another Blender works on it.
    """
    runner = session.current.runner
    job = runner.claimed(job)
    if job.stage is Stage.DONE:
        return job
    # What it raises comes before anything is changed.
    next_step(job)
    if not _is_ready(job):
        config.check_access()
        runner.open(config.extension_folder)
        runner.go_on(session.current.job_context(config), paused=False)
    again = _continued(job, config)
    if again is None:
        again = start_over(job, config)
        session.current.forget(job)
    return runner.job(again.id) or again


def retry_failed(config: Config, code: str = "") -> list[Failure]:
    """Retry all jobs that have failed, or those with this code, and go on with those that are held for the same reason.

    A pause of the artist's stays. Returns what kept some of them from it. Raises Failure if nothing can be sent.
    """
    config.check_access()
    reason = session.current.runner.hold.reason
    if reason is not None and code in ("", reason.code):
        go_on(config, paused=False)
    failures: list[Failure] = []
    over: dict[tuple[str, bool, bool], list[tuple[Job, Job]]] = {}
    for failed in with_failure(code):
        try:
            job = session.current.runner.claimed(failed)
            if job.stage is not Stage.DONE and _continued(job, config) is None:
                again = _over(job, config)
                request = again.request
                over.setdefault((request.scene, request.whole_edit, bool(request.options.clip_url)), []).append((job, again))
        except Failure as failure:
            failures.append(failure)
    for group in over.values():
        # One copy of the edit for all of them, whose sounds are then placed in groups too.
        taken = group[0][1].request.snapshot
        jobs = [replace(again, request=replace(again.request, snapshot=taken)) for _, again in group]
        generation.start_jobs(jobs, config)
        for job, _ in group:
            session.current.forget(job)
    return failures


def with_failure(code: str = "") -> list[Job]:
    """Return the jobs that have failed, or those with this code."""
    failed = [job for job in session.current.runner.jobs if job.stage is Stage.FAILED]
    return [job for job in failed if job.error is not None and code in ("", job.error.code)]


def go_on(config: Config, *, paused: bool = True) -> None:
    """Go on with the jobs that are held; those that the artist has `paused` only if that is meant too.

    Raises Failure if nothing can be sent.
    """
    config.check_access()
    current = session.current
    for job in current.runner.jobs:
        if current.runner.is_held(job.id) and current.belongs_to_open_file(job):
            # The results folder may be what has held them.
            current.runner.update(job.id, lambda job: replace(job, request=replace(job.request, folder=config.folder)))
    current.runner.go_on(current.job_context(config), paused=paused)


def start_over(job: Job, config: Config, job_id: str = "") -> Job:
    """Start the job again with the strip as it is now, as a new job. Raises Failure if the strip is gone or at work.

    With `job_id` the new job replaces `job`, and deletes the uploads that this one has left.
    """
    again = _over(job, config)
    if job_id:
        again = replace(again, id=job_id, stale_uploads=job.uploads)
    generation.start_jobs([again], config)
    return again


def _continued(job: Job, config: Config) -> Job | None:
    """Let the job go on with what exists, and return it; None if nothing was ordered yet."""
    runner = session.current.runner
    session.current.ended_seen.discard(job.id)
    # The results folder may be what failed: use the current one.
    results = config.folder if session.current.belongs_to_open_file(job) else job.request.folder
    request = replace(job.request, folder=results)
    if _is_ready(job):
        return runner.update(
            job.id, lambda job: replace(job, request=request, stage=Stage.PLACING, progress=None, error=None)
        )
    if not job.paid:
        return None
    runner.retry(job.id, request, session.current.job_context(config))
    return runner.job(job.id) or job


def _over(job: Job, config: Config) -> Job:
    """Return a new job for the strip of this one as it is now, with the prompt of its time. Raises as `start_over`."""
    scene, clips = _clips(job)
    click = Click(scene, job.request.settings, job.request.options, config)
    click.mark(clips)
    [request] = click.requests(clips)
    return Job.new(replace(request, settings=job.request.settings), project.saved_as())


def _is_ready(job: Job) -> bool:
    """Return whether nothing is left to do but to place the sounds."""
    return bool(job.to_place) and all(take.file is not None for take in job.takes)


def _clips(job: Job) -> tuple[bpy.types.Scene, list[Strip]]:
    """Return the scene and the strips of a job. Raises NoStrip if one is gone, and NothingToOrder if it is at work."""
    scene, found = strips.find_marked(job.request)
    clips = [clip for clip in found if clip is not None]
    if not session.current.belongs_to_open_file(job) or scene is None or len(clips) < len(found):
        missing = [position.strip for position, clip in zip(job.request.positions, found, strict=True) if clip is None]
        text = f"The strip “{(missing or [job.request.strip])[0]}” is not in the open file."
        raise NoStrip(text, "Open its file, or select the strip and generate again.")
    clips, skipped = plan.to_order(clips, job.request.options, skip_done=False)
    if skipped:
        raise generation.NothingToOrder(skipped)
    return scene, clips
