"""The way of a request when predict takes batches: read at once, gathered, answered together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .answer import Answer, answer_error, describe_error, parse_arguments
from .answer_batch import answer_batch
from .batch_requests import RequestBatcher
from .load_predictor import LoadedClass
from .manifest import BatchingSpec
from .request import Request

__all__ = ["BatchedPredictions"]

_LOGGER = logging.getLogger("cortex_compile.batches")

Finish = Callable[[Answer], None]
RunWork = Callable[[Callable[[], None] | None], None]


@dataclass(frozen=True)
class _Waiting:
    request_id: str | None
    arguments: dict[str, Any]
    finish: Finish


class BatchedPredictions:
    """``add`` takes requests from any thread; whoever is in ``run`` answers them, a batch at a time."""

    def __init__(self, predictor: object, loaded: LoadedClass, spec: BatchingSpec, run_background: RunWork) -> None:
        """``run_background`` does the work that an answer leaves for later. It may not raise."""
        self._predictor = predictor
        self._loaded = loaded
        self._run_background = run_background
        batcher: RequestBatcher[_Waiting] = RequestBatcher(spec, self._answer)
        self.run, self.close, self._add = batcher.run, batcher.close, batcher.add

    def add(self, request: Request, finish: Finish) -> None:
        """Read the request now: one that cannot be read is in no batch.

        Raises:
            BadRequest: the request is not what its headers say; ``finish`` is not called.
        """
        self._add(_Waiting(request.header("x-request-id"), parse_arguments(self._loaded, request), finish))

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            answers = answer_batch(self._predictor, self._loaded, [waiting.arguments for waiting in batch])
        except BaseException as error:
            # The client of a request without an answer waits for ever, so not even this may pass.
            answers = [answer_error(error)] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            waiting.finish(answer)
        self._log_errors(batch, answers)
        for answer in answers:
            self._run_background(answer.background)

    def _log_errors(self, batch: list[_Waiting], answers: list[Answer]) -> None:
        """Once for each error, though the whole batch got it."""
        requests_by_error: dict[int, tuple[BaseException, list[str | None]]] = {}
        for waiting, answer in zip(batch, answers, strict=True):
            if answer.error is not None:
                requests_by_error.setdefault(id(answer.error), (answer.error, []))[1].append(waiting.request_id)
        for error, requests in requests_by_error.values():
            told = describe_error(error, self._loaded.project)
            named = ", ".join(map(repr, requests))
            _LOGGER.error("batch of %d, requests %s: %s", len(batch), named, told, exc_info=error)
