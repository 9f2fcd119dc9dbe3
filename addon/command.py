# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line, `blender --command mmaudio`: generates sounds without a window, for scripts and studios."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from . import generation, plan, resuming, session
from .command_parser import NAME, UsageError, parse, request_options
from .config import NoAccess
from .failure import Failure, disk_failure, readable
from .jobs.model.job import Job
from .jobs.model.run import Stage
from .jobs.store.journal import Entry, Holder
from .media import folder
from .preferences import page
from .service.eachlabs import mmaudio
from .timeline import compat, project, scope, strips
from .timeline.shots import ExcludedStrip
from .timeline.strip_types import Strip

ALL_DONE = 0
SOME_FAILED = 1
WRONG_USAGE = 2
NO_ACCESS = 3
TOO_EXPENSIVE = 4

_TICK_SECONDS = 0.05
_WORKERS = {Holder.OURS: "here", Holder.OTHER: "by another Blender", Holder.NOBODY: "by nobody"}

_registered: Any = None


def register() -> None:
    global _registered
    _registered = bpy.utils.register_cli_command(NAME, run)


def unregister() -> None:
    bpy.utils.unregister_cli_command(_registered)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status."""
    # Blender ignores the first two Ctrl-C of a background process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    commands = {"generate": _generate, "resume": _resume, "jobs": _list}
    try:
        options = parse(arguments)
        return commands[options.command](options)
    except UsageError as fault:
        return _print(str(fault), WRONG_USAGE)
    except SystemExit:
        return ALL_DONE  # --help has been printed
    except Failure as failure:
        status = NO_ACCESS if isinstance(failure, NoAccess) else WRONG_USAGE
        return _print(failure.text, status)
    except KeyboardInterrupt:
        return _print("Interrupted. Run “mmaudio resume” to continue.", SOME_FAILED)
    finally:
        session.current.close(10)


def _generate(options: argparse.Namespace) -> int:
    if not options.dry_run:
        _check_target(options)
    scene = _scene(options.scene)
    chosen, excluded = _chosen(scene, options)
    seed = mmaudio.random_seed() if options.seed is None else options.seed
    settings = mmaudio.Settings(options.prompt, options.negative_prompt, seed, options.steps, options.cfg_strength)
    config = page.config(bpy.context)
    wanted = request_options(options)
    planned = plan.make(scene, chosen, wanted, skip_done=options.skip_done, excluded=excluded)
    if options.dry_run:
        return _print_plan(planned, as_json=options.json)
    if options.max_cost is not None and planned.cost_usd > options.max_cost:
        return _print(f"{planned.text}: more than --max-cost {options.max_cost:g}. Nothing was sent.", TOO_EXPENSIVE)
    config.check_access()
    _print_skipped(planned)
    if not planned.strips:
        return _finish([], options)
    # Checked before each run anyway; here, a script learns at once that nothing can be done.
    folder.check_results(config.folder, max(strips.span(strip).frames / strips.fps(scene) for strip in chosen))
    random_seeds, skip_done = options.seed is None, options.skip_done
    jobs = generation.start(scene, chosen, settings, config, wanted, random_seeds=random_seeds, skip_done=skip_done)
    return _finish(jobs, options)


def _print_plan(planned: plan.Plan, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"plan": planned.as_json()}), flush=True)
    else:
        print(planned.text, flush=True)
        _print_skipped(planned)
    return ALL_DONE


def _print_skipped(planned: plan.Plan) -> None:
    for skipped in planned.skipped:
        _print(readable(f"“{skipped.strip}” is skipped: it {skipped.reason}"), 0)


def _finish(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Wait for the jobs, save the edit and print the result. Return the exit status."""
    jobs = _wait_for(jobs)
    unsaved = _save(options) if any(take.sound for job in jobs for take in job.takes) else ""
    if options.json:
        print(json.dumps({"jobs": [entry for job in jobs for entry in job.as_json()]}), flush=True)
    if unsaved:
        return _print(unsaved, SOME_FAILED)
    return ALL_DONE if all(job.stage is Stage.DONE for job in jobs) else SOME_FAILED


def _resume(options: argparse.Namespace) -> int:
    _check_target(options)
    jobs = resuming.file_opened(page.config(bpy.context))
    for waiting in session.current.other_projects:
        _print(readable(f"There are jobs waiting for {waiting}: open it to resume them."), 0)
    return _finish(jobs, options)


def _list(options: argparse.Namespace) -> int:
    journal = session.current.runner.open(page.config(bpy.context).extension_folder).journal
    if journal.note:
        _print(journal.note, 0)
    entries = [_entry_as_json(entry) for entry in journal.all()]
    if options.json:
        print(json.dumps({"jobs": entries}), flush=True)
    else:
        for entry in entries:
            columns = (str(entry[name]) for name in ("state", "strip", "project", "worked_on", "id"))
            print("\t".join(map(readable, columns)), flush=True)
    return ALL_DONE


def _entry_as_json(entry: Entry) -> dict[str, object]:
    job = entry.job
    return {
        "id": entry.id,
        "project": entry.project,
        "scene": job.request.scene if job else "",
        "strip": job.request.strip if job else "",
        "state": str(job.stage) if job else f"unreadable: {entry.fault}",
        "worked_on": _WORKERS[entry.holder],
        "takes": job.as_json() if job else [],
    }


def _check_target(options: argparse.Namespace) -> None:
    """Check that the edit can be saved, before anything is paid for."""
    if options.save and not project.saved_as():
        raise UsageError("--save: this file was never saved; use --output.")
    target = options.output or bpy.data.filepath
    try:
        # In Python 3.11, Path.resolve raises on circular links.
        parent = Path(os.path.realpath(target)).parent
    except OSError as fault:
        # The current folder may have been deleted.
        raise disk_failure(fault, f"The edit can't be saved as {target}") from fault
    what = f"The edit can't be saved in {parent}"
    if not folder.is_folder(parent, what):
        raise UsageError(f"--output: there is no folder {parent}.")
    folder.check(parent, what)


def _scene(name: str | None) -> bpy.types.Scene:
    scene = compat.scene_without_window(bpy.context) if name is None else bpy.data.scenes.get(name)
    if scene is None:
        raise UsageError(f"There is no scene “{name}” in this file.")
    if scene.sequence_editor is None:
        raise UsageError(f"The scene “{scene.name}” has no edit.")
    return scene


def _chosen(scene: bpy.types.Scene, options: argparse.Namespace) -> tuple[Sequence[Strip], Sequence[ExcludedStrip]]:
    """Return the strips that the arguments choose, and others there for which no sound is generated."""
    if options.strip:
        return _strips_named(scene, options.strip), []
    if options.channel:
        edit = compat.ensure_edit(scene)
        found, where = scope.in_channels(edit, options.channel), " on channel " + ", ".join(map(str, options.channel))
    elif options.preview_range:
        found, where = scope.in_preview_range(scene), " in its preview range"
    else:
        found, where = scope.in_edit(scene), ""
    if not found[0]:
        raise UsageError(f"The scene “{scene.name}” has no shot{where}.")
    return found


def _strips_named(scene: bpy.types.Scene, names: Sequence[str]) -> list[Strip]:
    found: list[Strip] = []
    for name in dict.fromkeys(names):
        _, strip = strips.find(scene.name, name)
        if strip is None:
            raise UsageError(f"The scene “{scene.name}” has no strip “{name}”.")
        found.append(strip)
    return found


def _wait_for(started: Sequence[Job]) -> list[Job]:
    """Drive the jobs to their end, and print each stage to standard error."""
    printed: dict[str, str] = {}
    job_ids = [job.id for job in started]
    while True:
        # The current versions may be ahead of these.
        for version in generation.advance():
            _print_stage(version, printed)
        jobs = [job for job_id in job_ids if (job := session.current.runner.job(job_id)) is not None]
        if all(job.stage.ended for job in jobs) and not session.current.runner.busy:
            for job in jobs:
                _print_stage(job, printed)
            return jobs
        time.sleep(_TICK_SECONDS)


def _print_stage(job: Job, printed: dict[str, str]) -> None:
    line = str(job.stage)
    if job.error is not None:
        line = f"failed: {job.error.message} {job.error.hint}"
    elif job.stage is Stage.DONE:
        cost = "" if job.cost is None else f", ${job.cost:.4f}"
        files = ", ".join(str(take.file) for take in job.takes)
        line = f"done: {files}{cost}. {job.note}".removesuffix(". ")
    if printed.get(job.id) != line:
        printed[job.id] = line
        _print(readable(f"“{job.request.strip}”: {line}"), 0)


def _save(options: argparse.Namespace) -> str:
    """Save the edit; return what went wrong, as a rule an empty text."""
    target = options.output or bpy.data.filepath
    try:
        if options.save:
            bpy.ops.wm.save_mainfile()
        else:
            bpy.ops.wm.save_as_mainfile(filepath=target, copy=False)
    except RuntimeError as fault:
        failure = disk_failure(fault, f"The edit could not be saved as {target}")
        return f"{failure.message} Fix this and run “mmaudio resume”: the sounds are kept and will be placed again."
    return ""


def _print(text: str, status: int) -> int:
    """Print a text to standard error and return the exit status that goes with it."""
    print(text, file=sys.stderr, flush=True)
    return status
