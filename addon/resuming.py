# SPDX-License-Identifier: GPL-3.0-or-later
"""Continues jobs that were under way when Blender was closed, or killed. Main thread only; nothing here waits.

A file that is opened continues its own jobs; those of other files wait until theirs is opened.
"""

import contextlib
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import bpy

from . import placing, retrying, session
from .config import Config
from .failure import Failure
from .jobs.model.job import Job, PlacedSound
from .jobs.model.run import JobError, Stage
from .timeline import compat, project, strips, takes

log = logging.getLogger(__name__)

# What another Blender has just begun to write may not be in the journal yet.
_LEFTOVER_SECONDS = 3600.0


def file_opened(config: Config) -> list[Job]:
    """Continue the jobs of the open file. Call it when Blender has opened a file, or when the add-on was enabled.

    Returns the jobs that continue. Raises Failure if nothing can be sent; they then wait for `resume_jobs`.
    """
    assign_jobs_to_files()
    _place_again()
    current = session.current
    journal = current.runner.open(config.extension_folder).journal
    file = project.saved_as()
    current.other_projects[:] = sorted({job.project for job in journal.others(file) if job.project})
    known = {job.id for job in current.runner.jobs}
    ended = [job for job in journal.ended(file) if job.paid and job.stage is not Stage.DONE]
    current.runner.show([job for job in ended if job.id not in known], current.job_context(config))
    _delete_uploads(config)
    current.waiting_for_access.clear()
    current.waiting_for_access.update((job.request.strip, "") for job in journal.interrupted(file))
    return resume_jobs(config)


def resume_jobs(config: Config) -> list[Job]:
    """Continue the jobs of the open file that no Blender works on. Raises Failure if nothing can be sent."""
    current = session.current
    waiting = current.waiting_for_access
    if not waiting:
        return []
    try:
        config.check_access()
    except Failure as failure:
        waiting.update(dict.fromkeys(waiting, failure.message))
        raise
    claimed = current.runner.open(config.extension_folder).journal.claim(project.saved_as())
    waiting.clear()
    return [job for known in claimed if (job := _resume_job(known, config)) is not None]


def _delete_uploads(config: Config) -> None:
    """Delete uploads of the open file's ended jobs that are left, if anything can be sent at the moment."""
    current = session.current
    ended = current.runner.open(config.extension_folder).journal.ended(project.saved_as())
    with contextlib.suppress(Failure):
        config.check_access()
        for job in ended:
            if job.deletable_uploads:
                current.runner.clean_up(current.runner.claimed(job), current.job_context(config))


def assign_jobs_to_files() -> None:
    """Note which jobs belong to the file that Blender has opened: the sounds of the others wait for theirs."""
    for job in session.current.runner.jobs:
        is_of_open_file = job.project == project.saved_as() if job.project else _is_of_open_edit(job)
        session.current.set_belongs_to_open_file(job, is_of_open_file)


def mark_again() -> None:
    """Mark the clips of jobs at work that an undo has taken the mark from: marking them was no undo step."""
    index = strips.MarkIndex()
    for job in session.current.runner.jobs:
        if job.stage.ended or not session.current.belongs_to_open_file(job):
            continue
        scene, clips = strips.find_marked(job.request, index)
        for position, clip in zip(job.request.positions, clips, strict=True):
            if scene is not None and clip is not None and not strips.mark(clip) and strips.is_local(scene):
                clip[strips.MARK] = position.mark


def file_saving(target: str, config: Config) -> None:
    """Place what is ready, and bring sounds along that were made before the file was ever saved.

    Call it before Blender saves the file at `target`.
    """
    if is_own_copy(target, config) or project.is_temporary(target):
        return
    placing.place_ready()
    takes.copy_files(config.temporary_folders, config.folder_for(target))


def file_saved(target: str, config: Config) -> None:
    """Note that placed sounds are safe. Call it when Blender has saved the open file, or a copy of it, at `target`."""
    if not target or target != project.saved_as():
        # A copy, or the startup file: nothing in the open file is safe yet.
        return
    runner = session.current.runner
    jobs = [job for job in runner.jobs if session.current.belongs_to_open_file(job)]
    for job in jobs:
        runner.update(job.id, lambda job: replace(_with_files_brought(job, config), project=target), placed_unsaved=False)
    runner.move([job.id for job in jobs], target)


def is_own_copy(target: str, config: Config) -> bool:
    """Return whether a file is one that the add-on saves for its background render."""
    return Path(target).parent == config.work


def _with_files_brought(job: Job, config: Config) -> Job:
    """Return the job with its sounds where `file_saving` has brought them."""
    results = config.folder
    for number, take in enumerate(job.takes):
        if take.file is not None and take.file.parent in config.temporary_folders:
            job = job.with_take(number, file=project.copy_to(take.file, results))
    in_temporary = job.request.folder in config.temporary_folders
    return replace(job, request=replace(job.request, folder=results)) if in_temporary else job


def remove_leftovers(config: Config) -> None:
    """Remove work files that no job in the journal needs: those of Blenders that were killed."""
    entries = session.current.runner.open(config.extension_folder).journal.all()
    if any(entry.job is None for entry in entries):
        return
    snapshots = {entry.job.request.snapshot.blend.name for entry in entries if entry.job is not None}
    needed = {entry.id for entry in entries} | snapshots
    # The folder may not exist yet, or not be accessible.
    with contextlib.suppress(OSError):
        for path in config.work.iterdir():
            if path.name not in needed:
                _remove_if_old(path)


def _remove_if_old(path: Path) -> None:
    # On Windows another Blender may have it open.
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime < _LEFTOVER_SECONDS:
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _resume_job(job: Job, config: Config) -> Job | None:
    """Continue one job where it was; return None if nothing is left of it."""
    current = session.current
    job_context = current.job_context(config)
    if not job.project and not _is_of_open_edit(job):
        # Its edit was never saved, and is gone.
        if not job.paid:
            current.runner.show([replace(job, stage=Stage.CANCELLED)], job_context)
            current.runner.forget(job.id)
            return None
        current.set_belongs_to_open_file(job, False)
    job = _with_placed_sounds(job)
    if job.stage is not Stage.PLACING and not job.paid and not _has_snapshot(job):
        return _start_over(job, config)
    current.runner.show([job], job_context)
    if job.stage is Stage.PLACING:
        stage = Stage.PLACING if job.to_place else Stage.DONE
        job = current.runner.update(job.id, lambda job: replace(job, stage=stage))
        if job.deletable_uploads:
            current.runner.clean_up(job, job_context)
        return job
    current.runner.retry(job.id, job.request, job_context)
    return current.runner.job(job.id)


def _has_snapshot(job: Job) -> bool:
    try:
        return job.request.snapshot.blend.is_file()
    except OSError:
        # Python 3.11 raises it for a folder without access.
        return False


def _is_of_open_edit(job: Job) -> bool:
    """Return whether the open file has the job's clip, which its mark identifies: so after the add-on was disabled."""
    marks = {clip.mark for clip in job.request.positions}
    _, clips = strips.find_marked(job.request)
    return any(clip is not None and clip.get(strips.MARK) in marks for clip in clips)


def _place_again() -> None:
    """Place sounds again that were placed in a file which was then opened again without having been saved."""
    for job in session.current.runner.jobs:
        if not (job.stage.ended and session.current.is_unsaved(job) and session.current.belongs_to_open_file(job)):
            continue
        found = _with_placed_sounds(job)
        if found.to_place:
            session.current.runner.update(job.id, lambda job: replace(_with_placed_sounds(job), stage=Stage.PLACING))


def _start_over(job: Job, config: Config) -> Job | None:
    try:
        return retrying.start_over(job, config, job_id=job.id)
    except Failure as failure:
        runner = session.current.runner
        error = JobError.of(failure, job.request.strip)
        runner.show([job], session.current.job_context(config))
        return runner.fail(job.id, error)


def _with_placed_sounds(job: Job) -> Job:
    """Return the job with those takes placed whose sound strips are in the open file."""
    job = replace(job, takes=tuple(replace(take, sound=None) for take in job.takes))
    edits = [edit for scene in bpy.data.scenes if (edit := compat.edit_of(scene)) is not None]
    for strip in (strip for edit in edits for strip in edit.strips_all):
        seeds = {entry.get("seed") for entry in takes.of(strip) if entry.get("job") == job.id}
        for number in job.to_place:
            take = job.takes[number]
            if take.settings.seed in seeds and take.file is not None:
                start, end = compat.left_handle(strip), compat.right_handle(strip)
                job = job.with_take(number, sound=PlacedSound(strip.name, strip.channel, start, end, take.file))
    return job
