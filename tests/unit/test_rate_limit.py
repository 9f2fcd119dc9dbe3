# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the text of a 429."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.jobs.rate_limit import RateLimit


@pytest.mark.parametrize(
    ("said", "of_concurrency", "cap"),
    [
        ("maximum of 2 concurrent predictions reached", True, 2),
        ("maximum of 10 concurrent predictions reached", True, 10),
        ("too many runs in flight; maximum of 2 concurrent predictions reached", True, 2),
        ("Concurrency limit reached (2). Add credit at $10 or more to lift it.", True, 2),
        ("Your balance is $8.50, so at most 2 runs may be in flight at once.", True, 2),
        ("Accounts with a balance of $10 or less may have 2 predictions in flight", True, 2),
        ("You have 7 runs in flight, the limit is 5", True, 5),
        ('{"max_concurrent": 10, "in_flight": 10}', True, 10),
        ("rate limit; 100 creates a minute", False, None),
        ("Limit of 60 requests per minute exceeded", False, None),
        ("100 creates a minute, and a maximum of 2 concurrent predictions reached", True, 2),
        ("Rate limit exceeded. Try again in 5 seconds.", True, None),
        ("limit reached, retry after 12 s", True, None),
        ("HTTP 429, request 0af3", True, None),
        ("maximum of 0 concurrent predictions", True, None),
        ("maximum of 123456789 concurrent predictions", True, None),
        ("", True, None),
        ("x" * 500 + " limit 2", True, None),
    ],
)
def test_the_text_of_a_429_is_parsed(said: str, of_concurrency: bool, cap: int | None) -> None:
    assert RateLimit.read(said) == RateLimit(of_concurrency, cap)


@given(
    st.text()
    | st.lists(st.sampled_from(["limit", "max", "2", " ", "$", "10", "in flight", "a", "minute", ";"])).map("".join)
)
@settings(deadline=None)
def test_any_text_can_be_parsed(said: str) -> None:
    cap = RateLimit.read(said).cap
    assert cap is None or 1 <= cap <= 99


def test_parsing_is_fast_for_any_text() -> None:
    began = time.process_time()
    for said in ("limit " * 10**6, "max" + " " * 10**6 + "1", "1 a a a " * 10**6, "1" * 10**6):
        RateLimit.read(said)
    assert time.process_time() - began < 1.0
