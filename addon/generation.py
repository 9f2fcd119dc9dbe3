# SPDX-License-Identifier: GPL-3.0-or-later
"""From strips to jobs, and from finished jobs to sound strips. Called by the panel and by the command line.

Main thread only; nothing here waits.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import bpy

from . import session
from .click import Click
from .config import Config
from .failure import Failure, InternalFailure, disk_failure
from .jobs.model.job import Job, PlacedSound
from .jobs.model.request import Options
from .jobs.model.run import JobError, Stage
from .service.eachlabs import mmaudio
from .service.eachlabs.mmaudio import Settings
from .timeline import place, project, shots, snapshot, strips
from .timeline.errors import NoStrip
from .timeline.strip_types import Strip

log = logging.getLogger(__name__)

# The edit must not be changed while the artist drags strips, or while Blender renders.
_DRAGGING = ("TRANSFORM_OT_", "SEQUENCER_OT_")

_DEFAULT_OPTIONS = Options()


class OneClipUrl(Failure):
    """A clip URL is the clip of one strip only."""

    code = "one_address"
    default_hint = "Select one strip, or choose another storage in the preferences."

    def __init__(self, count: int) -> None:
        super().__init__(f"A clip URL is for a single strip, but {count} are selected.")


class OtherFile(Failure):
    """The job was started in a file that was never saved and is no longer open."""

    code = "other_file"
    default_hint = "Insert Result adds it to the edit that is open."


def start(
    scene: bpy.types.Scene,
    chosen: Sequence[Strip],
    settings: Settings,
    config: Config,
    options: Options = _DEFAULT_OPTIONS,
    *,
    random_seeds: bool = False,
) -> list[Job]:
    """Start a job for each strip, or one for all `as_one`, and return them. A strip that can't be rendered fails at once.

    An effect with one input stands for the strip that it works on, and a generated sound for its clip. With `random_seeds`
    each strip but the first gets a seed of its own; otherwise all have that of the settings.

    Raises Failure if nothing can be sent at all.
    """
    config.check_access()
    chosen = shots.clips(chosen)
    if options.clip_url and len(chosen) > 1:
        raise OneClipUrl(len(chosen))
    session.current.runner.open(config.extension_folder)
    requests = Click(scene, settings, options, config).requests(chosen)
    if random_seeds:
        requests[1:] = [request.with_seed(mmaudio.random_seed()) for request in requests[1:]]
    jobs = [Job.new(request, project.saved_as()) for request in requests]
    _start_jobs(jobs, config)
    return [session.current.runner.job(job.id) or job for job in jobs]


def retry(job: Job, config: Config) -> Job:
    """Continue with what exists, which may have been paid for, or else start over with the strip as it is now.

    Returns the job that does it: the same one, or a new one. Raises Failure, also if another Blender works on it.
    """
    runner = session.current.runner
    job = runner.claimed(job)
    if job.stage is Stage.DONE:
        return job
    # The results folder may be what failed: use the current one.
    results = config.folder if session.current.belongs_to_open_file(job) else job.request.folder
    request = replace(job.request, folder=results)
    if job.to_place and all(take.file is not None for take in job.takes):
        return runner.update(
            job.id, lambda job: replace(job, request=request, stage=Stage.PLACING, progress=None, error=None)
        )
    config.check_access()
    runner.open(config.extension_folder)
    if job.paid:
        runner.retry(job.id, request, session.current.job_context(config))
        return runner.job(job.id) or job
    again = start_over(job, config)
    runner.forget(job.id)
    return again


def start_over(job: Job, config: Config, job_id: str = "") -> Job:
    """Start the job again with the strip as it is now, as a new job. Raises Failure if the strip is gone.

    With `job_id` the new job replaces `job`, and deletes the uploads that this one has left.
    """
    old = job.request
    scene, found = strips.find_marked(old)
    clips = [clip for clip in found if clip is not None]
    if not session.current.belongs_to_open_file(job) or scene is None or len(clips) < len(found):
        missing = [position.strip for position, clip in zip(old.positions, found, strict=True) if clip is None]
        text = f"The strip “{(missing or [old.strip])[0]}” is not in the open file."
        raise NoStrip(text, "Open its file, or select the strip and generate again.")
    [request] = Click(scene, old.settings, old.options, config).requests(clips)
    again = Job.new(request, project.saved_as())
    if job_id:
        again = replace(again, id=job_id, stale_uploads=job.uploads)
    _start_jobs([again], config)
    return again


def insert(job: Job) -> None:
    """Place the finished sounds of an ended job once more, in the file that is open now."""
    session.current.insert(job)

    def unplaced(job: Job) -> Job:
        takes = tuple(replace(take, sound=None) for take in job.takes)
        return replace(job, stage=Stage.PLACING, takes=takes, error=None)

    session.current.runner.update(job.id, unplaced)


def advance() -> list[Job]:
    """Place at most one finished sound. Return the versions that jobs went through since the last call, in order."""
    versions = session.current.runner.drain()
    job = session.current.next_to_place()
    if job is not None and not _edit_in_use():
        _place(job)
        versions += session.current.runner.drain()
    _drop_snapshots()
    return versions


def _start_jobs(jobs: Sequence[Job], config: Config) -> None:
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
            _fail(job, error)
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


def _place(job: Job) -> None:
    try:
        if not session.current.belongs_to_open_file(job):
            raise OtherFile(f"Its edit was never saved. The sound is kept in {job.request.folder}.")
        sounds, note = place.place(job, anywhere=session.current.may_be_placed_anywhere(job))
    except Failure as failure:
        _fail(job, JobError.of(failure, job.request.strip))
        return
    except Exception as fault:
        # It would otherwise block every finished sound behind it.
        log.exception("placing job %s", job.id)
        failure = InternalFailure(f"The sound could not be placed: {fault}", f"It is kept in {job.request.folder}.")
        _fail(job, JobError.of(failure, job.request.strip))
        return
    session.current.runner.update(job.id, lambda job: _with_sounds(job, sounds, note), placed_unsaved=True)
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=f"Place Sound of {job.request.name}")


def _with_sounds(job: Job, sounds: dict[int, PlacedSound], note: str) -> Job:
    for number, sound in sounds.items():
        notes = dict.fromkeys(filter(None, (job.takes[number].note, note)))
        job = job.with_take(number, sound=sound, note=" ".join(notes))
    incomplete = any(take.file is None for take in job.takes)
    error = job.first_error or (job.error if incomplete else None)
    return replace(job, stage=Stage.FAILED if error else Stage.DONE, error=error)


def _fail(job: Job, error: JobError) -> None:
    session.current.runner.update(job.id, lambda job: replace(job, stage=Stage.FAILED, error=error))


def _edit_in_use() -> bool:
    if bpy.app.is_job_running("RENDER"):
        return True
    windows = bpy.context.window_manager.windows
    return any(operator.bl_idname.startswith(_DRAGGING) for window in windows for operator in window.modal_operators)


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
