# SPDX-License-Identifier: GPL-3.0-or-later
"""When finished sounds are placed: the first of a click at once, later ones in groups, each group one undo step.

Main thread. Undo belongs to the artist: fifty sounds that came one by one would push all of the artist's steps out of it.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import bpy

from . import session
from .failure import Failure, InternalFailure
from .jobs.model.job import Job, PlacedSound
from .jobs.model.run import JobError, Stage
from .timeline import place

log = logging.getLogger(__name__)

_GROUP_SECONDS = 10.0
"""How long a sound waits at most for others of its click."""
QUIET_SECONDS = 2.0
"""A sound is not placed within this time after an operator of the artist, so that undo takes that back and not the sound."""
_PATIENCE_SECONDS = 10.0
"""But it waits no longer than this for someone who edits all the time."""
_DRAGGING = ("TRANSFORM_OT_", "SEQUENCER_OT_")
"""Operators during which the edit must not be changed."""


class OtherFile(Failure):
    """The job was started in a file that was never saved and is no longer open."""

    code = "other_file"
    default_hint = "Insert Result adds it to the edit that is open."


def place_due() -> None:
    """Place the sounds that are ready, if it is time for a group, and the edit isn't in use."""
    _note_edit()
    ready = session.current.ready_to_place()
    if ready and _is_due(ready) and not _edit_in_use() and not _just_edited(ready):
        _place_all(ready)


def place_ready() -> None:
    """Place all sounds that are ready, such as before the file is saved."""
    _place_all(session.current.ready_to_place())


def _is_due(ready: Sequence[Job]) -> bool:
    """Return whether one of the jobs waits for no others: the first or the last of its click, or it has waited enough."""
    if bpy.app.background:
        return True
    now, current = time.monotonic(), session.current
    at_work = {job.request.snapshot.blend for job in current.runner.jobs if not job.stage.ended and job not in ready}
    for job in ready:
        click, since = job.request.snapshot.blend, current.ready_since.setdefault(job.id, now)
        if click not in current.placed_clicks or click not in at_work or now - since >= _GROUP_SECONDS:
            return True
    return False


def _place_all(jobs: Sequence[Job]) -> None:
    placed = [job for job in jobs if _place(job)]
    for job in jobs:
        session.current.ready_since.pop(job.id, None)
        session.current.placed_clicks.add(job.request.snapshot.blend)
    if placed and not bpy.app.background:
        one, several = f"Place Sound of {placed[0].request.name}", f"Place {len(placed)} Sounds"
        bpy.ops.ed.undo_push(message=one if len(placed) == 1 else several)


def _place(job: Job) -> bool:
    """Place the sounds of a job, or let it fail. Return whether it was placed."""
    try:
        if not session.current.belongs_to_open_file(job):
            raise OtherFile(f"Its edit was never saved. The sound is kept in {job.request.folder}.")
        sounds, note = place.place(job, anywhere=session.current.may_be_placed_anywhere(job))
    except Failure as failure:
        session.current.runner.fail(job.id, JobError.of(failure, job.request.strip))
        return False
    except Exception as fault:
        # It would otherwise block every finished sound behind it.
        log.exception("placing job %s", job.id)
        failure = InternalFailure(f"The sound could not be placed: {fault}", f"It is kept in {job.request.folder}.")
        session.current.runner.fail(job.id, JobError.of(failure, job.request.strip))
        return False
    session.current.runner.update(job.id, lambda job: _with_sounds(job, sounds, note), placed_unsaved=True)
    return True


def _with_sounds(job: Job, sounds: dict[int, PlacedSound], note: str) -> Job:
    for number, sound in sounds.items():
        notes = dict.fromkeys(filter(None, (job.takes[number].note, note)))
        job = job.with_take(number, sound=sound, note=" ".join(notes))
    incomplete = any(take.file is None for take in job.takes)
    error = job.first_error or (job.error if incomplete else None)
    return replace(job, stage=Stage.FAILED if error else Stage.DONE, error=error)


def _note_edit() -> None:
    """Note when the artist has run another operator that undo takes back."""
    operators: Any = bpy.context.window_manager.operators
    edits = [operator for operator in operators if "UNDO" in operator.bl_options]
    latest = edits[-1].as_pointer() if edits else 0
    if latest != session.current.latest_operator:
        session.current.latest_operator, session.current.edited_at = latest, time.monotonic()


def _just_edited(ready: Sequence[Job]) -> bool:
    """Return whether the artist may be about to undo an edit of a moment ago."""
    current, now = session.current, time.monotonic()
    waited = now - min(current.ready_since.setdefault(job.id, now) for job in ready)
    return now - current.edited_at < QUIET_SECONDS and waited < _GROUP_SECONDS + _PATIENCE_SECONDS


def _edit_in_use() -> bool:
    if bpy.app.is_job_running("RENDER"):
        return True
    windows = bpy.context.window_manager.windows
    return any(operator.bl_idname.startswith(_DRAGGING) for window in windows for operator in window.modal_operators)
