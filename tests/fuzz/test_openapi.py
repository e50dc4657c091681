"""Schemathesis against what /openapi.json says: what is answered is what is documented."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings

from ..contract.live import TIMEOUT_S, Live
from .requests import SETTINGS

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def operations(live: Live) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{live.port}/openapi.json")
    return [operation.ok() for operation in schema.get_all_operations()]


def test_every_path_is_documented(operations: list[Any]) -> None:
    assert {operation.label for operation in operations} == {
        "POST /",
        "POST /fuzz",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }


def test_answers_are_those_that_are_documented(operations: list[Any]) -> None:
    for operation in operations:

        @settings(SETTINGS, max_examples=20)
        @given(operation.as_strategy())
        def ask(case: Any) -> None:
            case.call_and_validate(timeout=TIMEOUT_S)

        ask()
