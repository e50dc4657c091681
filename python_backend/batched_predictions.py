"""The way of a request when predict takes batches: read at once, gathered, answered together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .answer import Answer, answer_error, describe_error, parse_arguments
from .answer_batch import answer_batch
from .arrival import TOO_LATE, Arrival
from .batch_requests import RequestBatcher
from .deadlines import Deadlines
from .load_predictor import LoadedClass
from .manifest import BatchingSpec
from .request import Request

__all__ = ["BatchedPredictions"]

_LOGGER = logging.getLogger("cortex_compile.batches")

Finish = Callable[[Answer], None]


@dataclass(frozen=True)
class _Waiting:
    request: Request
    arrival: Arrival
    arguments: dict[str, Any]
    finish: Finish


class BatchedPredictions:
    """``add`` takes requests from any thread; whoever is in ``run`` answers them, a batch at a time."""

    def __init__(
        self,
        predictor: object,
        loaded: LoadedClass,
        spec: BatchingSpec,
        deadlines: Deadlines,
        after_answers: Callable[[Sequence[Answer]], None],
    ) -> None:
        """``after_answers`` does what a batch leaves for later, when it is answered. It may not raise."""
        self._predictor = predictor
        self._loaded = loaded
        self._deadlines = deadlines
        self._after_answers = after_answers
        batcher: RequestBatcher[_Waiting] = RequestBatcher(spec, self._answer)
        self.run, self.close, self._add = batcher.run, batcher.close, batcher.add

    def add(self, request: Request, arrival: Arrival, finish: Finish) -> None:
        """Read the request now: one that cannot be read is in no batch.

        Raises:
            BadRequest: the request is not what its headers say; ``finish`` is not called.
        """
        self._add(_Waiting(request, arrival, parse_arguments(self._loaded, request), finish))

    def _answer(self, batch: list[_Waiting]) -> None:
        answers = self._answers_to(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.finish(answer)
        try:
            self._log_errors(batch, answers)
            self._after_answers(answers)
        except Exception:
            _LOGGER.exception("what comes after a batch failed")

    def _answers_to(self, gathered: list[_Waiting]) -> list[Answer]:
        """Never raises: the client of a request without an answer waits for ever."""
        try:
            waits_s = [waiting.arrival.stopwatch.start() for waiting in gathered]
            left = [
                item.arrival.is_given_up(item.request, wait_s) for item, wait_s in zip(gathered, waits_s, strict=True)
            ]
            answers = iter(self._predict([waiting for waiting, gone in zip(gathered, left, strict=True) if not gone]))
            return [TOO_LATE if gone else next(answers) for gone in left]
        except BaseException as error:
            return [answer_error(error)] * len(gathered)

    def _predict(self, batch: list[_Waiting]) -> list[Answer]:
        if not batch:
            return []
        with self._deadlines.within(_longest_timeout_s(batch)):
            answers = answer_batch(self._predictor, self._loaded, [waiting.arguments for waiting in batch])
        arrivals = [waiting.arrival for waiting in batch]
        for arrival in arrivals:
            # Compiled models ran for all of them; the last that was started counted that.
            arrival.stopwatch.core_s = arrivals[-1].stopwatch.core_s
        return [replace(answer, timing=item.read_time()) for answer, item in zip(answers, arrivals, strict=True)]

    def _log_errors(self, batch: list[_Waiting], answers: list[Answer]) -> None:
        """Once for each error, though the whole batch got it."""
        requests_by_error: dict[int, tuple[BaseException, list[str | None]]] = {}
        for waiting, answer in zip(batch, answers, strict=True):
            if answer.error is not None:
                requests_by_error.setdefault(id(answer.error), (answer.error, []))[1].append(
                    waiting.request.header("x-request-id")
                )
        for error, requests in requests_by_error.values():
            told = describe_error(error, self._loaded.project)
            named = ", ".join(map(repr, requests))
            _LOGGER.error("batch of %d, requests %s: %s", len(batch), named, told, exc_info=error)


def _longest_timeout_s(batch: list[_Waiting]) -> float | None:
    timeouts_s = [waiting.request.timeout_s for waiting in batch]
    return None if None in timeouts_s else max(timeout_s for timeout_s in timeouts_s if timeout_s is not None)
