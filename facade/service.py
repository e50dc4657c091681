"""From a request to the predictor's answer. Nothing of HTTP's wire is here."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence

from .api_route import ApiRoute
from .coalesce import Coalescer, Prediction
from .errors import error_of_triton, is_lost, is_refused, overloaded
from .few_lines import FewLines
from .headers import RawHeaders
from .lost_calls import LostCalls
from .triton_client import PredictorAnswer, PredictorStream, TritonCallError, TritonPredictorClient

__all__ = ["BrokenStream", "PredictionService", "context_of"]

_log = logging.getLogger(__name__)

# How often a model that is being loaded again is asked for.
_LOOK_EVERY_S = 0.1
# Requests in flight, of which each may take a while.
_FEW = 8


class BrokenStream(Exception):
    """There will be no more chunks, and those that came are not all. The cause is in the log."""


class _Slots:
    """The requests in flight. Each is one in a block whose context this is.

    Raises:
        HttpError: entering it, there are as many as the API allows.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    def __enter__(self) -> None:
        if self.taken >= self._most:
            raise overloaded(self._most)
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class PredictionService:
    """One API: asks its model, never more often at a time than the API allows."""

    def __init__(self, api: ApiRoute, triton: TritonPredictorClient, lost_calls: LostCalls) -> None:
        self.api = api
        self._triton = triton
        self._lost_calls = lost_calls
        self.slots = _Slots(api.max_concurrency)
        self._failures = FewLines(_log, api.name)
        self._coalescer: Coalescer | None = None
        if api.shared_calls:
            self._coalescer = Coalescer(self._ask_for_many, api.shared_calls, api.most_under_way, api.shared_rows)

    async def predict(self, body: bytes, query_string: bytes, headers: RawHeaders) -> PredictorAnswer:
        """The answer, or the beginning of one that has a ``rest``.

        Raises:
            HttpError: Triton gave no answer of the predictor's.
        """
        context = context_of(query_string, headers, self.api.request_timeout_s)
        return await self._ask(body, context, headers)

    async def describe_models(self, headers: RawHeaders) -> PredictorAnswer:
        """The models that the predictor can load, their versions and dates, in JSON.

        Raises:
            HttpError: Triton gave no answer of the predictor's.
        """
        return await self._ask(b"", json.dumps({"method": "GET"}).encode(), headers)

    async def _ask(self, body: bytes, context: bytes, headers: RawHeaders) -> PredictorAnswer:
        name, timeout_s = self.api.name, self.api.request_timeout_s
        deadline = time.monotonic() + timeout_s
        try:
            try:
                return await self._ask_once(body, context, timeout_s)
            except TritonCallError as failure:
                if not self.api.idempotent or not is_lost(failure.code, failure.details):
                    raise
                return await self._ask_again(body, context, headers, deadline, failure)
        except TritonCallError as failure:
            error = error_of_triton(failure.code, failure.details)
            line = f"{name}: request {_id_of(headers)} answered with {error.status_code}: {failure}"
            self._failures.error((error.status_code, failure.code), line)
            raise error from failure

    async def _ask_again(
        self, body: bytes, context: bytes, headers: RawHeaders, deadline: float, failure: TritonCallError
    ) -> PredictorAnswer:
        """When the model is ready, and no second time when a process dies with it.

        What Triton refuses, since the process is dead or being replaced, has not begun in any. And whoever asks a new
        process before the launcher has told of it is ended with the calls of the old one.
        """
        has_begun = not is_refused(failure.code, failure.details)
        while (left_s := await self._wait_until_ready(deadline)) > 0:
            _log.warning("%s: request %s was lost (%s), and is asked again", self.api.name, _id_of(headers), failure)
            try:
                return await self._ask_once(body, context, left_s)
            except TritonCallError as again:
                begins = not is_refused(again.code, again.details)
                if not is_lost(again.code, again.details) or (has_begun and begins):
                    raise
                failure, has_begun = again, has_begun or begins
            await asyncio.sleep(_LOOK_EVERY_S)
        raise failure

    async def _ask_once(self, body: bytes, context: bytes, timeout_s: float) -> PredictorAnswer:
        if self._coalescer is not None:
            return await self._coalescer.predict(Prediction(body, context), timeout_s)
        ask = self._triton.stream if self.api.streaming else self._triton.predict
        return await self._lost_calls.run(
            self.api.name, ask(self.api.name, body, context, timeout_s, self.api.cancel_after_s)
        )

    async def _wait_until_ready(self, deadline: float) -> float:
        """How much time is left when the model is ready, of which a process died; 0 if it was not in time."""
        while (left_s := deadline - time.monotonic()) > 0:
            if await self._triton.is_model_ready(self.api.name, left_s):
                return left_s
            await asyncio.sleep(min(_LOOK_EVERY_S, left_s))
        return 0.0

    async def _ask_for_many(self, predictions: Sequence[Prediction], timeout_s: float) -> list[PredictorAnswer]:
        assert self._coalescer is not None
        payloads = [prediction.payload for prediction in predictions]
        contexts = [prediction.context for prediction in predictions]
        pace = self._coalescer.pace
        # What cannot be cancelled is made for nobody when clients leave: what has begun in any case, a moment's
        # work, or little of it.
        few = max(_FEW, self.api.works_at) if pace.is_short else self.api.works_at
        quick = pace.together > 1 or self.slots.taken <= few
        ask = self._triton.predict_quickly if quick else self._triton.predict_many
        # What waits was not sent, and so is not lost with the process.
        return await self._lost_calls.run(
            self.api.name, ask(self.api.name, payloads, contexts, timeout_s, self.api.cancel_after_s)
        )

    async def next_chunk(self, rest: PredictorStream, headers: RawHeaders) -> bytes | None:
        """The next chunk of an answer; None after the last. ``headers`` are the request's.

        Raises:
            BrokenStream: there is none, and there should be.
        """
        try:
            return await self._lost_calls.run(self.api.name, rest.next_chunk())
        except TritonCallError as failure:
            _log.error("%s: request %s was answered in part: %s", self.api.name, _id_of(headers), failure)
            raise BrokenStream from failure


def _id_of(headers: RawHeaders) -> str:
    return dict(headers).get(b"x-request-id", b"").decode("latin-1")


def context_of(query_string: bytes, headers: RawHeaders, timeout_s: float) -> bytes:
    content_type = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), None)
    context = {
        "content_type": content_type,
        "query_string": query_string.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers],
        "timeout_s": timeout_s,
    }
    return json.dumps(context).encode()
