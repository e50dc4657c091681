"""When are two answers of a predictor the same? Numbers within a tolerance, all else to the letter."""

from __future__ import annotations

import json
import math
from typing import Any

from cortex_compile.compiler.tolerances import Tolerance
from cortex_compile.python_backend.answer import Answer


def answers_equal(expected: Answer, found: Answer, tolerance: Tolerance) -> bool:
    """JSON answers are compared value by value; all others byte by byte. Status and content type must be equal."""
    if expected.status_code != found.status_code or _content_type(expected) != _content_type(found):
        return False
    if expected.body == found.body:
        return True
    try:
        return _equal(json.loads(expected.body), json.loads(found.body), tolerance)
    except ValueError:
        return False


def _content_type(answer: Answer) -> str | None:
    return next((value for name, value in answer.headers if name.lower() == "content-type"), None)


def _equal(expected: Any, found: Any, tolerance: Tolerance) -> bool:
    if isinstance(expected, float) and isinstance(found, (int, float)) and not isinstance(found, bool):
        return expected == found or math.isclose(
            expected, found, rel_tol=tolerance.relative, abs_tol=tolerance.absolute
        )
    if type(expected) is not type(found):
        return False
    if isinstance(expected, dict):
        return expected.keys() == found.keys() and all(
            _equal(value, found[key], tolerance) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(found) and all(
            _equal(mine, theirs, tolerance) for mine, theirs in zip(expected, found, strict=True)
        )
    return bool(expected == found)
