"""Which way a prediction goes to Triton: by what the API's predictions were seen to take, and how many there are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.facade.lost_calls import LostCalls
from cortex_compile.facade.service import PredictionService
from cortex_compile.facade.triton_answer import PredictorAnswer


class Triton:
    """Answers at once, each time as if it had taken so long."""

    def __init__(self, took_ms: float) -> None:
        self.ways: list[str] = []
        self._took_ms = took_ms

    async def predict_many(self, model: str, payloads: Sequence[bytes], *_: Any) -> list[PredictorAnswer]:
        return self._answer("grpc", len(payloads))

    async def predict_quickly(self, model: str, payloads: Sequence[bytes], *_: Any) -> list[PredictorAnswer]:
        return self._answer("http", len(payloads))

    def _answer(self, way: str, count: int) -> list[PredictorAnswer]:
        self.ways.append(way)
        return [PredictorAnswer(200, [], b"", {"prepost": self._took_ms}) for _ in range(count)]


@pytest.mark.parametrize(
    ("took_ms", "in_flight", "works_at", "way"),
    [
        (0.1, 1, 1, "http"),
        (0.1, 50, 1, "http"),
        (10, 8, 1, "http"),
        (10, 9, 1, "grpc"),
        (30, 1, 1, "http"),
        (30, 2, 1, "grpc"),
        (30, 64, 64, "http"),
        (30, 65, 64, "grpc"),
    ],
)
def test_what_has_not_begun_and_is_long_or_among_many_can_be_cancelled(
    took_ms: float, in_flight: int, works_at: int, way: str
) -> None:
    triton: Any = Triton(took_ms)
    api = ApiRoute("api", "/api", 1000, shared_calls=1, most_under_way=2 * works_at)
    service = PredictionService(api, triton, LostCalls({}))

    async def ask() -> None:
        for _ in range(32):
            await service.predict(b"{}", b"", [])
        with contextlib.ExitStack() as others:
            for _ in range(in_flight):
                others.enter_context(service.slots)
            await service.predict(b"{}", b"", [])

    asyncio.run(ask())
    assert triton.ways[-1] == way
