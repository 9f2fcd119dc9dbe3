# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments of the command line, `blender --command mmaudio`. No bpy."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

from .jobs.model.request import CHANNELS_MAX, HANDLE_SECONDS_MAX, TAKES_MAX, Options, Source
from .service.eachlabs import mmaudio

NAME = "mmaudio"

_Value = TypeVar("_Value")


class UsageError(Exception):
    """Wrong arguments."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.format_usage()}{self.prog}: {message}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments after `--command mmaudio`. Raises UsageError, and SystemExit after printing help."""
    parser = _Parser(prog=NAME, description="Generate sounds for strips of the Video Sequencer from their picture.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    generate = commands.add_parser("generate", help="generate sounds for strips of the open file")
    which = generate.add_mutually_exclusive_group(required=True)
    which.add_argument("--strip", action="append", metavar="NAME", help="name of a strip; may be repeated")
    channel = _number(int, 1, CHANNELS_MAX)
    which.add_argument(
        "--channel", action="append", type=channel, metavar="N", help="all shots on a channel; may be repeated"
    )
    which.add_argument("--preview-range", action="store_true", help="all shots in the preview range")
    which.add_argument("--all-strips", action="store_true", help="all shots of the edit")
    generate.add_argument("--skip-done", action="store_true", help="leave out strips that have their sound")
    generate.add_argument(
        "--max-cost", type=_number(float, 0, 1e6), metavar="USD", help="do nothing if the plan costs more than this"
    )
    generate.add_argument("--scene", metavar="NAME", help="scene of the strips (default: the edited scene)")
    _add_request(generate)
    _add_output(generate, dry_run=True)

    resume = commands.add_parser("resume", help="resume the interrupted jobs of the open file")
    _add_output(resume)

    jobs = commands.add_parser("jobs", help="list the jobs of all files")
    jobs.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args(list(arguments))


def request_options(arguments: argparse.Namespace) -> Options:
    """Return the options of a request from the arguments of `generate`, which are named like the fields of Options."""
    return Options(**{name: getattr(arguments, name) for name in vars(Options())})


def _add_request(parser: argparse.ArgumentParser) -> None:
    """Add the settings of the model and the other options of a request."""
    add, default = parser.add_argument, "(default: %(default)s)"
    seed, takes = _number(int, 0, mmaudio.SEED_MAX), _number(int, 1, TAKES_MAX)
    steps_max, strength_max = mmaudio.NUM_STEPS_MAX, mmaudio.CFG_STRENGTH_MAX
    steps, strength = _number(int, 1, steps_max), _number(float, 0, strength_max)
    sources, long_clips = {str(source): source for source in Source}, {"split": True, "single": False}
    add("--prompt", default="", metavar="TEXT", help="what should be heard")
    add("--negative-prompt", default=mmaudio.NEGATIVE_PROMPT, metavar="TEXT", help=f"what should not be heard {default}")
    add("--seed", type=seed, metavar="N", help="seed of the first take (default: random, one for each strip)")
    add("--takes", type=takes, metavar="N", help=f"versions of each sound, 1 to {TAKES_MAX} {default}")
    steps_help, strength_help = f"sampling steps, 1 to {steps_max} {default}", f"guidance, 0 to {strength_max:g} {default}"
    add("--steps", type=steps, default=mmaudio.NUM_STEPS, metavar="N", help=steps_help)
    add("--cfg-strength", type=strength, default=mmaudio.CFG_STRENGTH, metavar="X", help=strength_help)
    source = f"picture that the model looks at: the strip alone, or the whole edit in its frame range {default}"
    add("--source", type=_one_of(sources), metavar="{strip,timeline}", help=source)
    split = "split strips of more than eight seconds into windows, or use a single run (default: split)"
    add("--long-clips", dest="split", type=_one_of(long_clips), metavar="{split,single}", help=split)
    add("--as-one", action="store_true", help="one sound over the range of all strips, from the timeline as it is seen")
    handle = _number(float, 0, HANDLE_SECONDS_MAX)
    handles = f"how far sounds extend beyond both ends of their strips, hidden, 0 to {HANDLE_SECONDS_MAX:g} s {default}"
    add("--handles", dest="handle_seconds", type=handle, metavar="SECONDS", help=handles)
    add("--above", action="store_true", help="place sounds above the pictures if possible")
    channel = _number(int, 1, CHANNELS_MAX)
    add("--sound-channel", type=channel, metavar="N", help="channel for the sounds, as long as it is free")
    lufs = "integrated loudness of each sound, with a true peak below -1 dBTP (default: as the model made it)"
    add("--lufs", type=_number(float, -60, 0), metavar="TARGET", help=lufs)
    add("--mute-own-sound", action="store_true", help="mute the sound strip that was added with the clip")
    own_sound = "lower the sound strip that was added with the clip by this many decibels"
    add("--own-sound-db", type=_lowered, metavar="DB", help=own_sound)
    as_they_are = "render 3D scenes with their own engine instead of Workbench; much slower"
    add("--scenes-as-they-are", action="store_true", help=as_they_are)
    clip_url = "public https URL of the clip of the strip; nothing is rendered or uploaded"
    add("--clip-url", type=str.strip, metavar="URL", help=clip_url)
    parser.set_defaults(**vars(Options()))


def _add_output(parser: argparse.ArgumentParser, *, dry_run: bool = False) -> None:
    target = parser.add_mutually_exclusive_group(required=True)
    if dry_run:
        target.add_argument("--dry-run", action="store_true", help="print the plan and its cost, and send nothing")
    target.add_argument("--output", metavar="FILE.blend", help="save the file under this name")
    target.add_argument("--save", action="store_true", help="save the file under its current name")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of standard output")


def _number(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    parse.__name__ = "number"
    return parse


def _lowered(text: str) -> float:
    """Return a number of decibels as a negative one: to lower by 12 dB, and by -12 dB, is understood as the same."""
    return -abs(_number(float, -60, 60)(text))


def _one_of(values: Mapping[str, _Value]) -> Callable[[str], _Value]:
    def parse(text: str) -> _Value:
        if text not in values:
            raise argparse.ArgumentTypeError(f"{text} is not one of: {', '.join(values)}")
        return values[text]

    return parse
