# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the overlaps between windows: nothing is audible twice, and the level stays."""

from itertools import pairwise

import numpy as np
import pytest

from addon.media.join import CROSS_FADE_SECONDS, Segment, cross_fade, join
from tests.sounds import RATE, Samples, add_clicks, decibels, heard_clicks, noise

pytestmark = pytest.mark.oldest

STEADY_DB = 1.0


def joined(*windows: Samples, seconds: int = 3) -> Samples:
    """Join windows that start a second apart."""
    segments = list(join((Segment(number * RATE, window) for number, window in enumerate(windows)), RATE, seconds * RATE))
    assert segments[0].start == 0
    assert all(before.end == after.start for before, after in pairwise(segments))
    return np.concatenate([segment.samples for segment in segments])[: seconds * RATE]


def test_a_sound_joined_with_itself_stays_as_it_is() -> None:
    whole = noise(3, seed=1)
    assert np.abs(joined(whole[: 2 * RATE], whole[RATE:]) - whole).max() < 1e-6


def test_silence_joined_with_silence_is_silence() -> None:
    silence = np.zeros((2 * RATE, 2), np.float32)
    assert np.array_equal(joined(silence, silence), np.zeros((3 * RATE, 2), np.float32))


@pytest.mark.parametrize("alike", [-1.0, -0.3, 0.0, 0.5, 1.0])
def test_a_cross_fade_is_as_loud_as_its_sides_however_alike_they_are(alike: float) -> None:
    old, own = noise(1, seed=1), noise(1, seed=2)
    new = (alike * old + np.sqrt(1 - alike**2) * own).astype(np.float32)
    levels = decibels(cross_fade(old, new))
    # Opposite phases cancel out, and the rest is not amplified without limit.
    assert (levels.max() if alike == -1 else np.abs(levels + 20).max()) < (-19.0 if alike == -1 else STEADY_DB)


def test_windows_that_end_before_the_previous_one_are_omitted() -> None:
    whole = noise(3, seed=1)
    assert np.array_equal(joined(whole, noise(1.5, seed=2)), whole)


@pytest.mark.parametrize("common", [1, 40, 2000, round(CROSS_FADE_SECONDS * RATE), 15_000])
def test_windows_with_a_short_overlap_are_joined_within_it(common: int) -> None:
    old, new = noise(1 + common / RATE, seed=1), noise(2, seed=2)
    assert decibels(joined(old, new)) == pytest.approx(-20, abs=STEADY_DB)


def test_three_windows_at_once_are_joined_one_after_another() -> None:
    """The first two have clicks until the third begins, so they are joined only after that."""
    clicks = np.arange(1.03, 2.15, 0.05)
    old = add_clicks(noise(2.5, seed=1), *clicks)
    new = add_clicks(noise(2.5, seed=2), *(clicks - 1))
    newest = add_clicks(noise(2.5, seed=3), *(clicks[clicks > 2.04] - 2))
    samples = joined(old, new, newest, seconds=4)
    assert heard_clicks(samples, above=0.5) == pytest.approx(clicks, abs=1e-4)
    assert np.array_equal(samples[: round(2.1 * RATE)], old[: round(2.1 * RATE)])
    assert decibels(samples[round(2.15 * RATE) :]) == pytest.approx(-20, abs=STEADY_DB)


def test_the_edges_of_a_window_are_not_used_though_they_are_quieter() -> None:
    """A run returns 10 to 30 ms more than its duration, and codecs ring at the start and end of a sound."""
    edge = round(0.04 * RATE)
    fading = np.linspace(1, 0.1, RATE, dtype=np.float32)[:, None]
    old, new = noise(2, seed=1), noise(2, seed=2)
    old[RATE:] *= fading
    new[:RATE] *= fading
    assert np.array_equal(joined(old, new)[2 * RATE - edge : 2 * RATE], new[RATE - edge : RATE])
    old, new = noise(2, seed=1), noise(2, seed=2)
    old[RATE:] *= fading[::-1]
    new[:RATE] *= fading[::-1]
    assert np.array_equal(joined(old, new)[RATE : RATE + edge], old[RATE : RATE + edge])


APART = [-0.03, -0.008, 0.0, 0.008, 0.03]
"""Seconds by which a click is later in the second window than in the first."""


@pytest.mark.parametrize("apart", APART)
def test_a_click_in_an_overlap_is_audible_once(apart: float) -> None:
    for place in [0.031, 0.06, *np.arange(0.1, 0.92, 0.02), 0.94, 0.969]:
        old = add_clicks(noise(2, seed=1, level=0.05), 1 + place)
        new = add_clicks(noise(2, seed=2, level=0.05), place + apart)
        samples = joined(old, new)
        # Half of a faded click would be audible too.
        (click,) = heard_clicks(samples, above=0.35)
        assert min(abs(click - 1 - place), abs(click - 1 - place - apart)) < 1e-4, place
        assert np.abs(samples).max() > 0.9, place


@pytest.mark.parametrize("apart", APART)
@pytest.mark.parametrize("every", [0.11, 0.2, 0.4])
def test_each_of_many_clicks_in_an_overlap_is_audible_once(every: float, apart: float) -> None:
    clicks = np.arange(0.05, 2.95, every)
    old = add_clicks(noise(2, seed=1, level=0.02), *clicks[clicks < 1.95])
    new = add_clicks(noise(2, seed=2, level=0.02), *(clicks[clicks > 1.04] - 1 + apart))
    samples = joined(old, new)
    heard = heard_clicks(samples, above=0.2)
    assert heard == pytest.approx(clicks, abs=abs(apart) + 1e-4)
    assert min(samples[round(click * RATE)].max() for click in heard) > 0.9


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_step_in_level_within_an_overlap_is_taken_once(place: float) -> None:
    """Both windows become louder by 20 dB, 8 ms apart. The joined level has neither a dip nor a peak."""
    old, new = noise(2, seed=1, level=0.2), noise(2, seed=2, level=0.2)
    old[: round((1 + place) * RATE)] *= 0.1
    new[: round((place + 0.008) * RATE)] *= 0.1
    samples = joined(old, new)
    before, after = samples[: round((1 + place) * RATE)], samples[round((1.01 + place) * RATE) :]
    assert decibels(before) == pytest.approx(-34, abs=STEADY_DB)
    assert decibels(after) == pytest.approx(-14, abs=STEADY_DB)
