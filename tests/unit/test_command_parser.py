# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a request on the command line."""

from dataclasses import fields

import pytest

from addon.command_parser import UsageError, parse, request_options
from addon.jobs.model.request import Options, Source

_GENERATE = ("generate", "--all-strips", "--save")


def test_without_arguments_a_request_has_the_default_options() -> None:
    assert request_options(parse(_GENERATE)) == Options()


def test_each_option_of_a_request_has_an_argument() -> None:
    given = request_options(
        parse(
            [
                *(*_GENERATE, "--takes", "3", "--source", "timeline", "--long-clips", "single", "--above"),
                *("--mute-own-sound", "--scenes-as-they-are", "--clip-url", " https://cdn.example/a.mp4 ", "--as-one"),
                *("--handles", "1.5", "--sound-channel", "7", "--own-sound-db", "-12", "--lufs", "-23"),
            ]
        )
    )

    assert given == Options(
        takes=3,
        source=Source.TIMELINE,
        split=False,
        as_one=True,
        handle_seconds=1.5,
        above=True,
        sound_channel=7,
        mute_own_sound=True,
        own_sound_db=-12.0,
        lufs=-23.0,
        scenes_as_they_are=True,
        clip_url="https://cdn.example/a.mp4",
    )
    unchanged = [field.name for field in fields(Options) if getattr(given, field.name) == field.default]
    assert not unchanged


@pytest.mark.parametrize("arguments", [("--source", "picture"), ("--long-clips", "halves"), ("--takes", "9")], ids=" ".join)
def test_a_value_that_is_not_allowed_is_refused(arguments: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=f"argument {arguments[0]}: {arguments[1]} is not"):
        parse([*_GENERATE, *arguments])
