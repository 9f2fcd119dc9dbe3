# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that every response becomes a valid value or a Failure, and raises nothing else."""

import json
import math
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addon.failure import Failure
from addon.service.eachlabs.responses import error_text, json_object, prediction_of, request_id
from addon.service.net.response import Response

pytestmark = pytest.mark.oldest

KEY = "the-key-of-the-artist"


def is_on_one_line(text: str) -> bool:
    """Return whether the text has no line breaks, control codes or lone surrogates.

    `isprintable` is also False for characters that Python's version of Unicode doesn't know yet, such as a new emoji.
    """
    return not {unicodedata.category(char) for char in text} & {"Cc", "Cs", "Zl", "Zp"}


words = st.one_of(st.text(max_size=30), st.just(KEY), st.sampled_from(["success", "error", "https://cdn.example/a.mp4"]))
numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
values = st.recursive(
    st.one_of(words, numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
)
names = st.sampled_from(["status", "output", "metrics", "message", "details", "logs", "error", "id", "predictionID"])
metrics = st.dictionaries(st.sampled_from(["cost", "predict_time"]), values)
outputs = st.dictionaries(st.sampled_from(["url", "error", "error_message"]), values)
bodies = st.dictionaries(names, st.one_of(values, metrics, outputs, st.lists(outputs, max_size=2)))


# No deadline, since the first example may be slow on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(bodies)
def test_a_run_has_values_of_the_right_type(body: dict[str, Any]) -> None:
    seen = prediction_of("run", body, [KEY])
    assert seen.id == "run"
    assert seen.output_url is None or (isinstance(seen.output_url, str) and seen.output_url)
    assert seen.cost is None or (math.isfinite(seen.cost) and seen.cost >= 0)
    assert is_on_one_line(seen.reason)
    assert KEY not in seen.reason
    assert len(seen.reason) <= 500 + len("[key]") * 100


@given(
    st.one_of(
        st.binary(max_size=200),
        bodies.map(lambda body: json.dumps(body).encode()),
        values.map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_body_is_an_object_or_a_failure(body: bytes) -> None:
    answer = Response(200, {}, body)
    try:
        assert isinstance(json_object(answer, "/v1/prediction/run"), dict)
    except Failure as failure:
        assert failure.message
        assert failure.hint
    told = error_text(answer)
    assert len(told) <= 500
    assert is_on_one_line(told)


@given(st.text(max_size=200))
def test_a_request_id_is_one_word(value: str) -> None:
    told = request_id(Response(500, {"X-Request-Id": value}, b""))
    assert is_on_one_line(told)
    assert len(told) <= len(", request ") + 64


def test_json_of_ten_thousand_levels_is_a_failure() -> None:
    deep = Response(200, {}, b"[" * 10_000 + b"]" * 10_000)
    assert error_text(deep) == ""
    try:
        json_object(deep, "/v1/prediction/run")
    except Failure as failure:
        assert failure.code == "bad_answer"
    else:
        raise AssertionError("it was taken for an object")
