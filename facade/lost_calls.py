"""Calls to a predictor whose process died: Triton 2.51 never ends them; they end when the launcher says that it did."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

import grpc

from .triton_answer import TritonCallError

__all__ = ["LostCalls"]

Result = TypeVar("Result")

_SERVER = ""
# A compiled module's own process: the predictor hears from Triton that it died, and goes on without.
_NOT_THE_PREDICTORS = "core_"


class LostCalls:
    """The calls under way in one event loop.

    Args:
        repairs: how often something was replaced until now, by API ("" for the server as a whole) and reason.
    """

    def __init__(self, repairs: Mapping[str, Mapping[str, int]]) -> None:
        self._under_way: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self._ended: set[asyncio.Task[Any]] = set()
        self._replaced = _count(repairs)

    async def run(self, api: str, call: Awaitable[Result]) -> Result:
        """What the call gives.

        Raises:
            TritonCallError: the predictor's process was replaced meanwhile, and the call was ended.
        """
        task, under_way = asyncio.current_task(), self._under_way[api]
        assert task is not None
        under_way.add(task)
        try:
            return await call
        except asyncio.CancelledError:
            if task not in self._ended or task.cancelling() > 1:  # by somebody else, too
                raise
            problem = "its process died meanwhile, and was replaced"
            raise TritonCallError(grpc.StatusCode.UNAVAILABLE, problem) from None
        finally:
            under_way.discard(task)
            if task in self._ended:
                self._ended.discard(task)
                task.uncancel()

    def note(self, repairs: Mapping[str, Mapping[str, int]]) -> None:
        """End the calls of APIs whose process was replaced since."""
        replaced = _count(repairs)
        for api in replaced:
            if replaced[api] > self._replaced.get(api, 0):
                for name in list(self._under_way) if api == _SERVER else [api]:
                    self._end(name)
        self._replaced = replaced

    def _end(self, api: str) -> None:
        for task in self._under_way[api] - self._ended:
            self._ended.add(task)
            task.cancel()


def _count(repairs: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {
        api: sum(count for reason, count in reasons.items() if not reason.startswith(_NOT_THE_PREDICTORS))
        for api, reasons in repairs.items()
    }
