# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --command mmaudio`: the same work without a window, for scripts and studios."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import bpy

from . import generation, resuming
from .failure import Failure, of_disk, readable
from .jobs.model.job import Job, Stage
from .jobs.model.request import TAKES_MAX, Options, Source
from .jobs.store.journal import Entry, Holder
from .media import folder
from .preferences import page
from .service.eachlabs import mmaudio
from .timeline import compat, project, shots, strips

NAME = "mmaudio"

ALL_DONE = 0
SOME_FAILED = 1
WRONG_USAGE = 2
NO_ACCESS = 3

_TICK_SECONDS = 0.05
_WORKED_ON = {Holder.OURS: "here", Holder.OTHER: "by another Blender", Holder.NOBODY: "by nobody"}

_registered: Any = None


def register() -> None:
    global _registered
    _registered = bpy.utils.register_cli_command(NAME, run)


def unregister() -> None:
    bpy.utils.unregister_cli_command(_registered)


class _UsageError(Exception):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{self.format_usage()}{self.prog}: {message}")


def run(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit status."""
    # Blender lets the first two Ctrl-C of a background process go by.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        options = _parser().parse_args(list(arguments))
        return options.action(options)
    except _UsageError as fault:
        return _say(str(fault), WRONG_USAGE)
    except SystemExit:
        return ALL_DONE  # --help has been printed
    except Failure as failure:
        status = NO_ACCESS if failure.code in ("no_key", "offline") else WRONG_USAGE
        return _say(f"{failure.message} {failure.hint}".rstrip(), status)
    except KeyboardInterrupt:
        return _say("Interrupted. “mmaudio resume” goes on where it was.", SOME_FAILED)
    finally:
        generation.leave(seconds=10)


def _generate(options: argparse.Namespace) -> int:
    _check_target(options)
    scene = _scene(options.scene)
    chosen = _all_shots(scene) if options.all_strips else _named(scene, options.strip)
    seed = mmaudio.random_seed() if options.seed is None else options.seed
    settings = mmaudio.Settings(options.prompt, options.negative_prompt, seed, options.steps, options.cfg_strength)
    chosen_options = Options(
        takes=options.takes,
        source=Source(options.source),
        split=options.long_clips == "split",
        above=options.above,
        mute_own_sound=options.mute_own_sound,
        scenes_as_they_are=options.scenes_as_they_are,
        clip_url=options.clip_url.strip(),
    )
    config = page.config(bpy.context)
    jobs = generation.start(scene, chosen, settings, config, chosen_options, random_seeds=options.seed is None)
    return _finish(jobs, options)


def _finish(jobs: Sequence[Job], options: argparse.Namespace) -> int:
    """Drives the jobs to their end, saves what came of them, and tells of it."""
    jobs = _wait_for(jobs)
    unsaved = _save(options) if any(take.sound for job in jobs for take in job.takes) else ""
    if options.json:
        print(json.dumps({"jobs": [entry for job in jobs for entry in job.as_json()]}), flush=True)
    if unsaved:
        return _say(unsaved, SOME_FAILED)
    return ALL_DONE if all(job.stage is Stage.DONE for job in jobs) else SOME_FAILED


def _resume(options: argparse.Namespace) -> int:
    _check_target(options)
    jobs = resuming.opened(page.config(bpy.context))
    for waiting in resuming.other_projects:
        _say(readable(f"There are jobs waiting for {waiting}: open it to go on with them."), 0)
    return _finish(jobs, options)


def _list(options: argparse.Namespace) -> int:
    journal = generation.runner.open(page.config(bpy.context).own).journal
    if journal.note:
        _say(journal.note, 0)
    entries = [_listed(entry) for entry in journal.all()]
    if options.json:
        print(json.dumps({"jobs": entries}), flush=True)
    else:
        for entry in entries:
            columns = (str(entry[name]) for name in ("state", "strip", "project", "worked_on", "id"))
            print("\t".join(map(readable, columns)), flush=True)
    return ALL_DONE


def _listed(entry: Entry) -> dict[str, object]:
    job = entry.job
    return {
        "id": entry.id,
        "project": entry.project,
        "scene": job.request.scene if job else "",
        "strip": job.request.strip if job else "",
        "state": str(job.stage) if job else f"unreadable: {entry.fault}",
        "worked_on": _WORKED_ON[entry.holder],
        "takes": job.as_json() if job else [],
    }


def _check_target(options: argparse.Namespace) -> None:
    """What can't be saved is found out before anything is paid for."""
    if options.save and not project.saved_as():
        raise _UsageError("--save: this file has no place on disk yet; use --output.")
    target = options.output or bpy.data.filepath
    try:
        # Path.resolve raises on links that lead in a circle in Python 3.11.
        parent = Path(os.path.realpath(target)).parent
    except OSError as fault:
        # Such as a current folder that has been deleted.
        raise of_disk(fault, f"The edit can't be saved as {target}") from fault
    what = f"The edit can't be saved in {parent}"
    if not folder.is_folder(parent, what):
        raise _UsageError(f"--output: there is no folder {parent}.")
    folder.check(parent, what)


def _scene(name: str | None) -> bpy.types.Scene:
    scene = compat.scene_without_window(bpy.context) if name is None else bpy.data.scenes.get(name)
    if scene is None:
        raise _UsageError(f"There is no scene “{name}” in this file.")
    if scene.sequence_editor is None:
        raise _UsageError(f"The scene “{scene.name}” has no edit.")
    return scene


def _all_shots(scene: bpy.types.Scene) -> list[Any]:
    """What a viewer would call a shot; what else has a picture is told of."""
    found, left_out = shots.every(scene)
    for other in left_out:
        _say(readable(f"“{other.strip}” is left out: {other.reason}"), 0)
    if not found:
        raise _UsageError(f"The scene “{scene.name}” has no shot.")
    return found


def _named(scene: bpy.types.Scene, names: Sequence[str]) -> list[Any]:
    names = list(dict.fromkeys(names))
    found = [strips.find(scene.name, name)[1] for name in names]
    missing = [name for name, strip in zip(names, found, strict=True) if strip is None]
    if missing:
        raise _UsageError(f"The scene “{scene.name}” has no strip “{missing[0]}”.")
    return found


def _wait_for(started: Sequence[Job]) -> list[Job]:
    """Drives the jobs to their end, telling of each stage on standard error."""
    told: dict[str, str] = {}
    job_ids = [job.id for job in started]
    for job in started:
        _tell(job, told)
    while True:
        states = generation.advance()
        jobs = [job for job_id in job_ids if (job := generation.runner.job(job_id)) is not None]
        for state in (*states, *jobs):
            _tell(state, told)
        if all(job.stage.ended for job in jobs) and not generation.runner.busy:
            return jobs
        time.sleep(_TICK_SECONDS)


def _tell(job: Job, told: dict[str, str]) -> None:
    line = str(job.stage)
    if job.error is not None:
        line = f"failed: {job.error.message} {job.error.hint}"
    elif job.stage is Stage.DONE:
        cost = "" if job.cost is None else f", ${job.cost:.4f}"
        files = ", ".join(str(take.file) for take in job.takes)
        line = f"done: {files}{cost}. {job.note}".removesuffix(". ")
    if told.get(job.id) != line:
        told[job.id] = line
        _say(readable(f"“{job.request.strip}”: {line}"), 0)


def _save(options: argparse.Namespace) -> str:
    """Saves the edit; returns what went wrong, as a rule nothing."""
    target = options.output or bpy.data.filepath
    try:
        if options.save:
            bpy.ops.wm.save_mainfile()
        else:
            bpy.ops.wm.save_as_mainfile(filepath=target, copy=False)
    except RuntimeError as fault:
        failure = of_disk(fault, f"The edit could not be saved as {target}")
        return f"{failure.message} Mend that and run “mmaudio resume”: the sounds are kept and placed again."
    return ""


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr, flush=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=NAME, description="Gives strips their sound, generated from their picture.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    generate = commands.add_parser("generate", help="generate sounds for strips of the opened file")
    which = generate.add_mutually_exclusive_group(required=True)
    which.add_argument("--strip", action="append", metavar="NAME", help="a strip's name; may be given several times")
    which.add_argument("--all-strips", action="store_true", help="every shot of the edit")
    generate.add_argument("--scene", metavar="NAME", help="the scene to work in (default: the edited one)")
    generate.add_argument("--prompt", default="", metavar="TEXT", help="what should be heard")
    generate.add_argument("--negative-prompt", default=mmaudio.NEGATIVE_PROMPT, metavar="TEXT")
    generate.add_argument(
        "--seed", type=_number(int, 0, mmaudio.SEED_MAX), metavar="N", help="default: a random one for each strip"
    )
    generate.add_argument("--takes", type=_number(int, 1, TAKES_MAX), default=1, metavar="N")
    generate.add_argument("--steps", type=_number(int, 1, 200), default=mmaudio.NUM_STEPS, metavar="N")
    generate.add_argument("--cfg-strength", type=_number(float, 0, 20), default=mmaudio.CFG_STRENGTH, metavar="X")
    generate.add_argument("--source", choices=[str(source) for source in Source], default="strip")
    generate.add_argument("--long-clips", choices=("split", "single"), default="split")
    generate.add_argument("--above", action="store_true", help="put sounds above their clips if possible")
    generate.add_argument("--mute-own-sound", action="store_true", help="mute the sound that a clip came with")
    as_they_are = "render 3D scenes with their own engine instead of Workbench; much slower"
    generate.add_argument("--scenes-as-they-are", action="store_true", help=as_they_are)
    by_hand = "the strip's clip lies at this public https address already: nothing is rendered or uploaded"
    generate.add_argument("--clip-url", default="", metavar="URL", help=by_hand)
    _add_output(generate)
    generate.set_defaults(action=_generate)

    resume = commands.add_parser("resume", help="go on with the jobs of the opened file that were interrupted")
    _add_output(resume)
    resume.set_defaults(action=_resume)

    jobs = commands.add_parser("jobs", help="list the jobs that are known, of all files")
    jobs.add_argument("--json", action="store_true")
    jobs.set_defaults(action=_list)
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", metavar="FILE.blend", help="save the edit under this name")
    target.add_argument("--save", action="store_true", help="save the edit where it is")
    parser.add_argument("--json", action="store_true", help="the last line of output is one JSON object")


def _number(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    parse.__name__ = "number"
    return parse
