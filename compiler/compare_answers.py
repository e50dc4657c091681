"""When are two answers of a predictor the same? Numbers within a tolerance, all else to the letter."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cortex_compile.compiler.tolerances import Tolerance
from cortex_compile.python_backend.answer import Answer

__all__ = ["NO_TOLERANCE", "AnswerDifference", "answers_equal", "worst_of_answers"]

# The excess of a difference that no tolerance is for: other words, another length.
NO_TOLERANCE = 1e300

_LONGEST_WORDS = 60


@dataclass(frozen=True)
class AnswerDifference:
    """Where an answer of the predictor is furthest from its eager one, both as people read them.

    ``where`` is the way into a JSON answer (``scores[3]``). ``excess`` is |expected - found| in tolerances: at most 1
    where they are equal.
    """

    where: str
    expected: str
    found: str
    absolute: float
    relative: float
    excess: float


def answers_equal(expected: Answer, found: Answer, tolerance: Tolerance) -> bool:
    return worst_of_answers(expected, found, tolerance).excess <= 1


def worst_of_answers(expected: Answer, found: Answer, tolerance: Tolerance) -> AnswerDifference:
    """The place where two answers are furthest apart, measured in tolerances.

    JSON answers are compared value by value; all others byte by byte. Status and content type must be equal.
    """
    if expected.status_code != found.status_code:
        return _other("status", expected.status_code, found.status_code, tolerance)
    if _content_type(expected) != _content_type(found):
        return _other("content type", _content_type(expected), _content_type(found), tolerance)
    worst = AnswerDifference("", "", "", tolerance.absolute, tolerance.relative, 0.0)
    if expected.body == found.body:
        return worst
    try:
        mine, theirs = json.loads(expected.body), json.loads(found.body)
    except ValueError:
        return _other("body", expected.body, found.body, tolerance)
    return max(_differences("", mine, theirs, tolerance), key=lambda difference: difference.excess, default=worst)


def _content_type(answer: Answer) -> str | None:
    return next((value for name, value in answer.headers if name.lower() == "content-type"), None)


def _differences(where: str, expected: Any, found: Any, tolerance: Tolerance) -> Iterator[AnswerDifference]:
    """One for each number that is not the same to the last digit, and one for whatever else differs."""
    if isinstance(expected, float) and isinstance(found, int | float) and not isinstance(found, bool):
        if expected != found and not (math.isnan(expected) and math.isnan(found)):
            yield _of_numbers(where, expected, float(found), tolerance)
    elif type(expected) is not type(found):
        yield _other(where, expected, found, tolerance)
    elif isinstance(expected, dict):
        if expected.keys() != found.keys():
            yield _other(f"{where} (keys)".strip(), sorted(expected), sorted(found), tolerance)
        else:
            for key, value in expected.items():
                yield from _differences(f"{where}.{key}" if where else key, value, found[key], tolerance)
    elif isinstance(expected, list):
        if len(expected) != len(found):
            yield _other(f"{where} (length)".strip(), len(expected), len(found), tolerance)
        for index, (mine, theirs) in enumerate(zip(expected, found, strict=False)):
            yield from _differences(f"{where}[{index}]", mine, theirs, tolerance)
    elif expected != found:
        yield _other(where, expected, found, tolerance)


def _of_numbers(where: str, expected: float, found: float, tolerance: Tolerance) -> AnswerDifference:
    allowed = tolerance.absolute + tolerance.relative * abs(expected)
    apart = abs(expected - found)
    if not math.isfinite(apart) or not math.isfinite(allowed):
        excess = NO_TOLERANCE
    else:
        excess = min(apart / allowed, NO_TOLERANCE) if allowed else NO_TOLERANCE
    return AnswerDifference(where, f"{expected:.7g}", f"{found:.7g}", tolerance.absolute, tolerance.relative, excess)


def _other(where: str, expected: Any, found: Any, tolerance: Tolerance) -> AnswerDifference:
    mine, theirs = (repr(value)[:_LONGEST_WORDS] for value in (expected, found))
    return AnswerDifference(where, mine, theirs, tolerance.absolute, tolerance.relative, NO_TOLERANCE)
