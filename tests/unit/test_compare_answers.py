from __future__ import annotations

import json

import pytest

from cortex_compile.compiler.compare_answers import answers_equal, worst_of_answers
from cortex_compile.compiler.tolerances import Tolerance
from cortex_compile.python_backend.answer import Answer

TOLERANCE = Tolerance(absolute=0.01, relative=0.0)


def answer(value: object) -> Answer:
    return Answer(json.dumps(value).encode(), 200, (("content-type", "application/json"),))


@pytest.mark.parametrize(
    ("expected", "found", "equal"),
    [
        ({"a": [1.0, "x"]}, {"a": [1.009, "x"]}, True),
        ({"a": [1.0, "x"]}, {"a": [1.011, "x"]}, False),
        ({"a": [1.0, "x"]}, {"a": [1.0, "y"]}, False),
        ([1.0], [1.0, 1.0], False),
        ({"a": 1.0}, {"b": 1.0}, False),
        (1, 2, False),
        (1.0, True, False),
        (float("inf"), 1.0, False),
        (float("inf"), float("inf"), True),
        ([float("nan"), 1.0], [float("nan"), 1.001], True),
        ([float("nan"), 1.0], [0.5, 1.0], False),
    ],
)
def test_numbers_within_the_tolerance_and_all_else_to_the_letter(expected: object, found: object, equal: bool) -> None:
    assert answers_equal(answer(expected), answer(found), TOLERANCE) is equal


def test_status_and_content_type_are_part_of_the_answer() -> None:
    mine = answer(1.0)
    assert not answers_equal(mine, Answer(mine.body, 201, mine.headers), TOLERANCE)
    assert not answers_equal(mine, Answer(mine.body, 200, (("content-type", "text/plain"),)), TOLERANCE)
    text = Answer(b"1.000", 200, (("content-type", "text/plain"),))
    assert not answers_equal(text, Answer(b"one", 200, text.headers), TOLERANCE)


def test_the_worst_place_is_found_and_measured_in_tolerances() -> None:
    expected = {"scores": [{"p": 0.5, "label": "a"}, {"p": 0.25, "label": "b"}]}
    found = {"scores": [{"p": 0.502, "label": "a"}, {"p": 0.28, "label": "b"}]}
    worst = worst_of_answers(answer(expected), answer(found), TOLERANCE)
    assert (worst.where, worst.expected, worst.found) == ("scores[1].p", "0.25", "0.28")
    assert worst.excess == pytest.approx(3.0)
    found["scores"][1]["label"] = "c"
    worst = worst_of_answers(answer(expected), answer(found), TOLERANCE)
    assert (worst.where, worst.expected, worst.found) == ("scores[1].label", "'b'", "'c'")
    assert worst.excess > 1
