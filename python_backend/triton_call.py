"""One Triton call is one prediction, or up to 64 whose bytes stand one after the other in the same vectors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from .answer import Answer
from .request import BadRequest
from .streams import Stream

__all__ = [
    "MAX_PREDICTIONS",
    "OUTPUTS",
    "Finish",
    "JoinedAnswers",
    "PendingCall",
    "PredictionBytes",
    "finish_each",
    "join_answers",
    "split_call",
    "status_of",
]

MAX_PREDICTIONS = 64

OUTPUTS = ("response", "status", "_sizes")

Finish = Callable[[Answer], None]


class PredictionBytes(NamedTuple):
    payload: bytes
    context: bytes | None


def split_call(
    payload: bytes, context: bytes | None, sizes: np.ndarray[Any, Any] | None
) -> tuple[PredictionBytes, ...]:
    """Cut the vectors by ``sizes``: INT64 [2, N], the lengths of each payload and of each context.

    Raises:
        BadRequest: lengths that do not add up.
    """
    if sizes is None:
        return (PredictionBytes(payload, context),)
    if sizes.ndim != 2 or sizes.shape[0] != 2 or not 1 <= sizes.shape[1] <= MAX_PREDICTIONS:
        raise _bad_sizes(f"shape {list(sizes.shape)}; expected [2, N] with N from 1 to {MAX_PREDICTIONS}")
    payloads = _cut(payload, sizes[0].tolist(), "payload")
    contexts = _cut(context or b"", sizes[1].tolist(), "context")
    return tuple(PredictionBytes(*pair) for pair in zip(payloads, contexts, strict=True))


def _cut(data: bytes, lengths: list[int], name: str) -> list[bytes]:
    if min(lengths) < 0 or sum(lengths) != len(data):
        raise _bad_sizes(f"lengths of {name} add up to {sum(lengths)}; it has {len(data)} bytes")
    return [data[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]


def _bad_sizes(text: str) -> BadRequest:
    return BadRequest(400, json.dumps({"error": f"_sizes: {text}"}).encode(), "application/json")


class JoinedAnswers:
    """The output vectors of a call, each made when it is asked for."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._bodies = [answer.body for answer in answers]
        self._statuses = [status_of(answer) for answer in answers]

    @property
    def response(self) -> np.ndarray[Any, Any]:
        return _join(self._bodies)

    @property
    def status(self) -> np.ndarray[Any, Any]:
        return _join(self._statuses)

    @property
    def sizes(self) -> np.ndarray[Any, Any]:
        return np.array([[*map(len, self._bodies)], [*map(len, self._statuses)]], dtype=np.int64)


def join_answers(answers: Sequence[Answer]) -> JoinedAnswers:
    return JoinedAnswers(answers)


def status_of(answer: Answer | Stream) -> bytes:
    """JSON: ``status_code``, ``headers``, and ``timing`` where it is known."""
    status: dict[str, Any] = {"status_code": answer.status_code, "headers": answer.headers}
    if answer.timing is not None:
        status["timing"] = answer.timing._asdict()
    return json.dumps(status).encode()


def _join(parts: list[bytes]) -> np.ndarray[Any, Any]:
    # A bytearray, since an array over bytes is read-only and DLPack refuses it.
    return np.frombuffer(bytearray(b"".join(parts)), dtype=np.uint8)


def finish_each(count: int, send: Callable[[list[Answer]], None]) -> list[Finish]:
    """For each prediction of a call, what takes its answer. When all have come, ``send`` is given them."""
    if count == 1:
        return [lambda answer: send([answer])]
    call = PendingCall(count, send)
    return [partial(call.finish, index) for index in range(count)]


class PendingCall:
    """Gathers the answers of a call, whichever order they come in, and gives them on when the last is there."""

    def __init__(self, count: int, send: Callable[[list[Answer]], None]) -> None:
        self._answers: list[Answer | None] = [None] * count
        self._missing = count
        self._lock = threading.Lock()
        self._send = send

    def finish(self, index: int, answer: Answer) -> None:
        with self._lock:
            self._answers[index] = answer
            self._missing -= 1
            last = self._missing == 0
        if last:
            self._send([item for item in self._answers if item is not None])
