# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the handles of sounds: how much of the picture beyond a strip is scored, and how long the sound's file is."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from addon.jobs.model.request import Request, Source, Span
from tests.unit.helpers import new_job

RATES = [Fraction(1), Fraction(8), Fraction(12), Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001), Fraction(240)]
PLENTY = 10_000


def request_of(frames: int, fps: Fraction, handle_seconds: float = 0.5, **options: object) -> Request:
    request = new_job(Path("work"), frames=frames).request
    return replace(request, fps=fps, options=replace(request.options, handle_seconds=handle_seconds, **options))


def test_a_short_strip_has_handles_on_both_sides() -> None:
    request = request_of(100, Fraction(25)).with_handles(PLENTY, PLENTY)

    assert (request.lead, request.tail) == (12, 12)
    assert request.scored == Span(1 - 12, 101 + 12)
    assert request.sound_frames == 12 + 100 + 12


def test_handles_end_where_the_clip_has_no_more_picture_and_the_surplus_takes_their_place_at_the_end() -> None:
    request = request_of(100, Fraction(25)).with_handles(3, 0)

    assert (request.lead, request.tail) == (3, 0)
    last = request.windows[-1]
    surplus = int(last.duration * 25) - 103
    assert request.sound_frames == 103 + min(surplus, 12)
    assert surplus > 0


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("handle_seconds", [0.0, 0.5, 2.0])
def test_handles_never_cost_another_run(fps: Fraction, handle_seconds: float) -> None:
    for tenths in range(1, 400):
        frames = max(1, round(Fraction(tenths, 10) * fps))
        plain = request_of(frames, fps, handle_seconds)
        for before, after in ((PLENTY, PLENTY), (0, PLENTY), (PLENTY, 0), (1, PLENTY)):
            request = plain.with_handles(before, after)
            assert len(request.windows) == len(plain.windows)
            assert 0 <= request.lead <= before and 0 <= request.tail <= after
            longest = int(Fraction(handle_seconds) * fps)
            assert max(request.lead, request.tail, request.sound_frames - request.lead - frames) <= max(
                longest, request.tail
            )
            end = request.windows[-1].first / fps + request.windows[-1].duration
            assert request.scored.frames <= request.sound_frames <= end * fps


def test_handles_share_what_is_left_of_the_last_run() -> None:
    request = request_of(195, Fraction(25)).with_handles(PLENTY, PLENTY)

    # 8 s are 200 frames.
    assert (request.lead, request.tail) == (2, 3)
    assert request_of(195, Fraction(25)).with_handles(1, PLENTY).tail == 4
    assert request_of(195, Fraction(25)).with_handles(PLENTY, 0).lead == 5
    assert request_of(200, Fraction(25)).with_handles(PLENTY, PLENTY).scored.frames == 200


def test_one_run_of_a_long_strip_has_no_handles() -> None:
    request = request_of(500, Fraction(25), split=False).with_handles(PLENTY, PLENTY)

    assert (request.lead, request.tail) == (0, 0)


def test_a_clip_by_its_url_has_no_handles() -> None:
    request = request_of(100, Fraction(25), clip_url="https://cdn.example/a.mp4")

    assert request.sound_frames == 100


def test_a_handle_is_as_many_frames_as_its_decimal_figure_says() -> None:
    # 0.7 as a binary fraction is a little less.
    assert request_of(10, Fraction(10), 0.7).with_handles(PLENTY, PLENTY).lead == 7


def test_the_timeline_as_source_is_told_to_the_render() -> None:
    assert request_of(10, Fraction(25), source=Source.TIMELINE).whole_edit
    assert not request_of(10, Fraction(25)).whole_edit
