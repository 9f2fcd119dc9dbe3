# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in words."""

from pathlib import Path

from .. import session
from ..failure import readable
from ..jobs.model.job import Job
from ..jobs.model.run import JobError, Progress, Stage
from ..service.eachlabs import mmaudio

ICONS = {
    Stage.QUEUED: "TIME",
    Stage.EXPORTING: "RENDER_ANIMATION",
    Stage.UPLOADING: "EXPORT",
    Stage.PREDICTING: "SOUND",
    Stage.DOWNLOADING: "IMPORT",
    Stage.PLACING: "NLA_PUSHDOWN",
    Stage.DONE: "CHECKMARK",
    Stage.FAILED: "ERROR",
    Stage.CANCELLED: "X",
}


_SHARES = {
    Stage.EXPORTING: (0.0, 0.35),
    Stage.UPLOADING: (0.35, 0.45),
    Stage.PREDICTING: (0.45, 0.9),
    Stage.DOWNLOADING: (0.9, 1.0),
    Stage.PLACING: (1.0, 1.0),
}
"""Part of a job's bar that each stage fills, from where to where: about its share of the time."""


def fraction(job: Job) -> float:
    """Return how far a job is, from 0 to 1."""
    done = job.progress.fraction if job.progress is not None else 0.0
    if len(job.runs) > 1 and job.progress is not None and job.progress.unit == "runs":
        return done
    start, end = _SHARES.get(job.stage, (0.0, 0.0))
    return start + (end - start) * done


def reason(job: Job, error: JobError) -> str:
    """Return what happened, without the name of the strip and of the run."""
    text = error.message.removeprefix(f"“{readable(job.request.strip)}”")
    if text.startswith(" (") and "): " in text:
        text = text.partition(")")[2]
    return text.removeprefix(": ")


def headline(job: Job, error: JobError) -> str:
    """Return the first words of what happened, for a single line."""
    return reason(job, error).partition(":")[0].partition(" (")[0].rstrip(".")


def state(job: Job) -> str:
    """Return the job's state and its progress in a few words."""
    progress = job.progress or Progress(0, 0, "")
    runs = ""
    if len(job.runs) > 1:
        runs = f"{sum(run.stage.ended for run in job.runs)} of {len(job.runs)} runs done"
    if progress.unit == "runs" and not job.stage.ended:
        return runs
    match job.stage:
        case Stage.QUEUED if session.current.runner.is_held(job.id):
            return "On hold"
        case Stage.QUEUED:
            return "Waiting"
        case Stage.EXPORTING:
            rendering = f"Rendering, {100 * progress.fraction:.0f} %"
            return f"{rendering}, {runs}" if runs else rendering
        case Stage.UPLOADING:
            return f"Uploading, {progress.done / 1e6:.1f} of {progress.total / 1e6:.1f} MB"
        case Stage.PREDICTING:
            return f"Generating, {progress.done:.0f} of about {progress.total:.0f} s"
        case Stage.DOWNLOADING:
            return f"Downloading, {progress.done / 1e6:.1f} MB"
        case Stage.PLACING if session.current.waits_for_its_file(job):
            return readable(f"Ready: open {Path(job.project).name} to place it")
        case Stage.PLACING:
            return "Waiting to place the sound"
        case Stage.DONE:
            cost = "" if job.cost is None else f", {mmaudio.price_text(job.cost)}"
            return f"Done{cost}, seed {', '.join(str(take.settings.seed) for take in job.takes)}"
        case _:
            return job.stage.capitalize()
