# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes on with what was under way when Blender was closed, or killed. Main thread only; nothing here waits.

A file that is opened takes its jobs up again; those of other files wait for theirs.
"""

import contextlib
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from . import generation
from .config import Config
from .failure import Failure
from .generation import left_behind, runner, unsaved
from .jobs.model.job import Job, JobError, PlacedSound, Stage
from .timeline import compat, project, strips

log = logging.getLogger(__name__)

# What another Blender has just begun to write may not be in the journal yet.
_LEFTOVER_SECONDS = 3600.0

other_projects: list[str] = []
"""The .blend files that have jobs waiting for them, as the journal had it when a file was opened last."""
held_up: dict[str, str] = {}
"""The strips of the open file whose jobs wait until something can be sent, with what keeps them."""


def opened(config: Config) -> list[Job]:
    """To be called when Blender has opened a file, or the add-on was enabled: goes on with the file's jobs.

    Returns those that go on. Raises Failure where nothing can be sent; then they wait for `go_on`.
    """
    mark_left_behind()
    _place_again()
    journal = runner.open(config.own).journal
    file = project.saved_as()
    other_projects[:] = sorted({job.project for job in journal.others(file) if job.project})
    known = {job.id for job in runner.jobs}
    ended = [job for job in journal.ended(file) if job.paid and job.stage is not Stage.DONE]
    runner.show([job for job in ended if job.id not in known], config.job_context)
    _clear_storage(config)
    held_up.clear()
    held_up.update((job.request.strip, "") for job in journal.interrupted(file))
    return go_on(config)


def go_on(config: Config) -> list[Job]:
    """Takes up the open file's jobs that nobody works on. Raises Failure where nothing can be sent."""
    if not held_up:
        return []
    try:
        config.check_access()
    except Failure as failure:
        held_up.update(dict.fromkeys(held_up, failure.message))
        raise
    claimed = runner.open(config.own).journal.claim(project.saved_as())
    held_up.clear()
    return [job for known in claimed if (job := _go_on(known, config)) is not None]


def _clear_storage(config: Config) -> None:
    """Deletes clips of the open file's ended jobs: Blender was closed before, or could not. Where nothing can be sent they
    wait for another time."""
    left = [job for job in runner.open(config.own).journal.ended(project.saved_as()) if job.deletable_uploads]
    with contextlib.suppress(Failure):
        config.check_access()
        for job in left:
            runner.clear_up(runner.taken(job), config.job_context)


def mark_left_behind() -> None:
    """Blender has opened a file: jobs of another one keep their sound until theirs is open again."""
    for job in runner.jobs:
        is_of_this_file = job.project == project.saved_as() if job.project else _is_of_this_edit(job)
        if is_of_this_file:
            left_behind.discard(job.id)
        else:
            left_behind.add(job.id)


def saving(target: str, config: Config) -> None:
    """To be called when Blender is about to save the open file at `target`: sounds of one that had no place come along."""
    if is_own_copy(target, config) or project.is_temporary(target):
        return
    project.bring_sounds(config.temporary_folders, config.folder_for(target))


def saved(target: str, config: Config) -> None:
    """To be called when Blender has saved the open file at `target`: under this name or another, or a copy of it."""
    if not target or target != project.saved_as():
        # A copy, or the startup file: in the open file nothing is safe yet.
        return
    here = [_with_files_in(job, config) for job in runner.jobs if job.id not in left_behind]
    unsaved.difference_update(job.id for job in here)
    runner.saved(here, target)


def is_own_copy(target: str, config: Config) -> bool:
    """Whether a file is one that the add-on saves for its background render."""
    return Path(target).parent == config.job_context.work


def _with_files_in(job: Job, config: Config) -> Job:
    """The job with its sounds where `saving` has brought them."""
    results = config.folder
    for number, take in enumerate(job.takes):
        if take.file is not None and take.file.parent in config.temporary_folders:
            job = job.with_take(number, file=project.copied(take.file, results))
    in_temporary = job.request.folder in config.temporary_folders
    return replace(job, request=replace(job.request, folder=results)) if in_temporary else job


def clear_leftovers(config: Config) -> None:
    """Removes work files that no job of the journal needs any more: those of Blenders that were killed."""
    work = config.job_context.work
    entries = runner.open(config.own).journal.all()
    if any(entry.job is None for entry in entries):
        return
    snapshots = {entry.job.request.snapshot.blend.name for entry in entries if entry.job is not None}
    needed = {entry.id for entry in entries} | snapshots
    # There may be no such folder yet, or no access to it.
    with contextlib.suppress(OSError):
        for path in work.iterdir():
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


def _go_on(job: Job, config: Config) -> Job | None:
    """Takes one job up where it was; None where nothing is left of it."""
    if not job.project and not _is_of_this_edit(job):
        # That edit was never saved, and is gone.
        if not job.paid:
            _forget(job, config)
            return None
        left_behind.add(job.id)
    job_context = config.job_context
    job = _with_what_is_there(job)
    if job.stage is Stage.PLACING:
        job = replace(job, stage=Stage.PLACING if job.to_place else Stage.DONE)
        runner.show([job], job_context)
        runner.put(job)
        if job.deletable_uploads:
            runner.clear_up(job, job_context)
        return job
    if not job.paid and not _has_snapshot(job):
        return _start_over(job, config)
    again = replace(job, stage=Stage.QUEUED, progress=None, error=None)
    runner.add([again], job_context)
    return again


def _has_snapshot(job: Job) -> bool:
    try:
        return job.request.snapshot.blend.is_file()
    except OSError:
        # Python 3.11 raises it for a folder without access.
        return False


def _is_of_this_edit(job: Job) -> bool:
    """Whether the open file has the job's clip, whose mark no other has: so after the add-on was disabled for a while."""
    _, clip = strips.find_marked(job.request)
    return clip is not None and clip.get(strips.MARK) == job.request.mark


def _place_again() -> None:
    """Takes up what was placed in a file that was then opened again without having been saved."""
    for job in runner.jobs:
        if job.id in unsaved and job.id not in left_behind and (there := _with_what_is_there(job)).to_place:
            runner.put(replace(there, stage=Stage.PLACING))


def _start_over(job: Job, config: Config) -> Job | None:
    try:
        return generation.start_over(job, config, job_id=job.id)
    except Failure as failure:
        runner.show([job], config.job_context)
        runner.put(replace(job, stage=Stage.FAILED, error=JobError.of(failure, job.request.strip)))
        return runner.job(job.id)


def _forget(job: Job, config: Config) -> None:
    runner.show([replace(job, stage=Stage.CANCELLED)], config.job_context)
    runner.forget(job.id)


def _with_what_is_there(job: Job) -> Job:
    """The job with those takes placed that the open file has: it may have been saved since they were, or not."""
    job = replace(job, takes=tuple(replace(take, sound=None) for take in job.takes))
    edits: list[Any] = [scene.sequence_editor for scene in bpy.data.scenes if scene.sequence_editor is not None]
    for strip in (strip for edit in edits for strip in edit.strips_all):
        kept = strips.made_with(strip)
        for number in job.to_place:
            take = job.takes[number]
            if kept.get("job") == job.id and kept.get("seed") == take.settings.seed and take.file is not None:
                start, end = compat.left_handle(strip), compat.right_handle(strip)
                job = job.with_take(number, sound=PlacedSound(strip.name, strip.channel, start, end, take.file))
    return job
