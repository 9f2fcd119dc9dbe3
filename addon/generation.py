# SPDX-License-Identifier: GPL-3.0-or-later
"""From strips to jobs, and from finished jobs to sound strips: what the panel and the command line both call.

Main thread only; nothing here waits.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import bpy

from .config import Config
from .failure import Failure, of_disk
from .jobs.model.job import Job, JobError, Stage
from .jobs.model.request import Options, Request, Snapshot, Source
from .jobs.work.context import JobContext
from .jobs.work.runner import Runner
from .media import folder
from .service.eachlabs import mmaudio
from .service.eachlabs.mmaudio import Settings
from .timeline import compat, isolate, place, project, shots, snapshot, strips

log = logging.getLogger(__name__)

runner = Runner()

# While the artist drags strips about, or Blender renders, the edit is not to be touched.
_DRAGGING = ("TRANSFORM_OT_", "SEQUENCER_OT_")

_PLAIN = Options()

_snapshots: set[Snapshot] = set()

# Jobs that were started in a file that is no longer open: their sounds must not land in another one.
left_behind: set[str] = set()

# Jobs whose sounds are in the edit, but not in its file yet.
unsaved: set[str] = set()

# Jobs that the artist wants placed even where neither their clip nor their scene is.
_inserted: set[str] = set()


def one_address(count: int) -> Failure:
    """What lies at one address can't be the clip of several strips."""
    text = f"One address is the clip of one strip, and {count} are chosen."
    return Failure("one_address", text, "Choose one strip, or another storage in the preferences.")


def start(
    scene: bpy.types.Scene,
    chosen: Sequence[Any],
    settings: Settings,
    config: Config,
    options: Options = _PLAIN,
    *,
    random_seeds: bool = False,
) -> list[Job]:
    """Makes a job of each strip and returns them; a strip that can't be rendered gives a job that has failed.

    An effect of one input stands for the strip that it works on, and a sound of ours for its clip. With `random_seeds` each
    strip but the first has a seed of its own; else all have that of the settings.

    Raises Failure where nothing can be sent at all.
    """
    config.check_access()
    chosen = shots.clips(chosen)
    if options.clip_url and len(chosen) > 1:
        raise one_address(len(chosen))
    runner.open(config.own)
    job_context = config.job_context
    services = _snapshot_to_take(job_context)
    jobs: list[Job] = []
    for strip, shown in zip(chosen, shots.shown_by(chosen), strict=True):
        if random_seeds and jobs:
            settings = replace(settings, seed=mmaudio.random_seed())
        asked = _RequestTemplate(settings, options, services, config)
        jobs.append(Job.new(asked.of(scene, strip, shown), project.saved_as()))
    _send_off(jobs, job_context)
    return [runner.job(job.id) or job for job in jobs]


def retry(job: Job, config: Config) -> Job:
    """Goes on with what there is, which may have been paid for, or else starts anew with the strip as it is now.

    Returns the job that does: the same one, or a new one. Raises Failure, also where another Blender works on it.
    """
    job = runner.taken(job)
    if job.stage is Stage.DONE:
        runner.put(job, keep=False)
        return job
    # The folder that it was to go to may be what failed: it goes to where sounds go now.
    request = job.request if job.id in left_behind else replace(job.request, folder=config.folder)
    again = replace(job, request=request, stage=Stage.QUEUED, progress=None, error=None)
    if job.to_place and all(take.file is not None for take in job.takes):
        again = replace(again, stage=Stage.PLACING)
        runner.put(again)
        return again
    config.check_access()
    runner.open(config.own)
    if job.paid:
        runner.add([again], config.job_context)
        return again
    again = start_over(job, config)
    runner.forget(job.id)
    return again


def start_over(job: Job, config: Config, job_id: str = "") -> Job:
    """The same once more, of the strip as it is now; another job without `job_id`. Raises Failure if the strip is gone.

    With `job_id` it takes the place of `job`, and sees to the clips that this one left.
    """
    old = job.request
    scene, strip = strips.find_marked(old)
    if job.id in left_behind or scene is None or strip is None:
        text = f"The strip “{old.strip}” is not in the file that is open."
        raise Failure("no_strip", text, "Open its file, or select the strip and generate again.")
    job_context = config.job_context
    request = _RequestTemplate(old.settings, old.options, _snapshot_to_take(job_context), config).of(
        scene, strip, isolate.shown_by(strip)
    )
    again = Job.new(request, project.saved_as())
    if job_id:
        again = replace(again, id=job_id, stale_uploads=job.uploads)
    _send_off([again], job_context)
    return again


def insert(job: Job) -> None:
    """Has the finished sounds of an ended job placed once more, in the file that is open now."""
    left_behind.discard(job.id)
    _inserted.add(job.id)
    takes = tuple(replace(take, sound=None) for take in job.takes)
    runner.put(replace(job, stage=Stage.PLACING, takes=takes, error=None))


def advance() -> list[Job]:
    """Takes what the workers say and places at most one finished sound; returns the states gone through, in order."""
    states = runner.drain()
    # A job of another saved file waits until that is open.
    placing = [job for job in runner.jobs if job.stage is Stage.PLACING]
    waiting = next((job for job in placing if not waits_for_its_file(job)), None)
    if waiting is not None and not _edit_in_use():
        _place(waiting)
        states += [job for job in runner.jobs if job.id == waiting.id]
    _drop_snapshots()
    return states


def waits_for_its_file(job: Job) -> bool:
    """Whether the job belongs to a saved .blend that isn't the open one."""
    return job.id in left_behind and bool(job.project)


def leave(seconds: float) -> None:
    """Stops working and cancels nothing: the journal has what there is to go on with. Waits at most `seconds`."""
    runner.leave(seconds)
    left_behind.clear()
    unsaved.clear()
    _inserted.clear()


def _snapshot_to_take(job_context: JobContext) -> Snapshot:
    """Where the snapshot of one click goes; its scene is known once it is taken."""
    return Snapshot(job_context.work / f"edit-{uuid.uuid4().hex}.blend", "")


@dataclass(frozen=True)
class _RequestTemplate:
    """What one click asks of all its strips."""

    settings: Settings
    options: Options
    snapshot: Snapshot
    config: Config

    def of(self, scene: bpy.types.Scene, strip: Any, shown: Any) -> Request:
        return Request(
            scene=scene.name,
            strip=strip.name,
            shown=shown.name,
            span=strips.span(strip),
            content_start=compat.content_start(strip),
            fps=strips.fps(scene),
            settings=self.settings,
            snapshot=self.snapshot,
            folder=self.config.folder,
            channel=strip.channel,
            mark=strips.mark(strip) if strips.keeps_marks(scene) else "",
            scene_mark=strips.mark_scene(scene) if strips.keeps_marks(scene) else "",
            offset=self.config.offset,
            options=self.options,
        )


def _send_off(jobs: Sequence[Job], job_context: JobContext) -> None:
    """Refuses what can't be done; takes one snapshot for the rest, where they are to be rendered, and starts them."""
    ready: list[Job] = []
    for job in jobs:
        try:
            there = strips.find(job.request.scene, job.request.strip)
            strips.check(*there, rendered=not job.request.options.clip_url)
            ready.append(job)
        except Failure as failure:
            runner.put(replace(job, stage=Stage.FAILED, error=JobError(failure.code, failure.message, failure.hint)))
    if not ready:
        return
    first = ready[0].request
    folder.check_results(first.folder, max(job.request.seconds for job in ready))
    if first.options.clip_url:
        runner.add(ready, job_context)
        return
    names = None if first.options.source is Source.TIMELINE else [job.request.shown for job in ready]
    try:
        taken = snapshot.take(bpy.data.scenes[first.scene], names, first.snapshot.blend)
    except (OSError, RuntimeError) as fault:
        raise of_disk(fault, f"The edit for the background render can't be written to {job_context.work}") from fault
    _snapshots.add(taken)
    runner.add([replace(job, request=replace(job.request, snapshot=taken)) for job in ready], job_context)


def _place(job: Job) -> None:
    try:
        if job.id in left_behind:
            text = f"The edit that it belongs to was never saved; the sound is kept in {job.request.folder}."
            raise Failure("other_file", text, "Insert Result puts it into the edit that is open.")
        sounds, note = place.place(job, anywhere=job.id in _inserted)
    except Failure as failure:
        runner.put(replace(job, stage=Stage.FAILED, error=JobError.of(failure, job.request.strip)))
        return
    except Exception as fault:
        # It would otherwise stand in the way of every finished sound behind it.
        log.exception("placing job %s", job.id)
        failure = Failure("internal", f"The sound could not be placed: {fault}", f"It is kept in {job.request.folder}.")
        runner.put(replace(job, stage=Stage.FAILED, error=JobError.of(failure, job.request.strip)))
        return
    for number, sound in sounds.items():
        job = job.with_take(number, sound=sound, note=f"{job.takes[number].note} {note}".strip())
    unsaved.add(job.id)
    # The journal hears of it when the file is saved: until then a crash would take the strip away.
    runner.put(replace(job, stage=Stage.FAILED if job.fault else Stage.DONE, error=job.fault), keep=False)
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=f"Place Sound of {job.request.strip}")


def _edit_in_use() -> bool:
    if bpy.app.is_job_running("RENDER"):
        return True
    windows = bpy.context.window_manager.windows
    return any(operator.bl_idname.startswith(_DRAGGING) for window in windows for operator in window.modal_operators)


def _drop_snapshots() -> None:
    # A retry may render what is still missing of a job that has begun to cost.
    needed = {
        job.request.snapshot
        for job in runner.jobs
        if job.stage in (Stage.QUEUED, Stage.EXPORTING) or (job.paid and job.stage in (Stage.FAILED, Stage.CANCELLED))
    }
    for unused in _snapshots - needed:
        snapshot.drop(unused)
        _snapshots.discard(unused)
