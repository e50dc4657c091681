"""One Triton call is one prediction, or up to 64 whose bytes stand one after the other in the same vectors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .answer import Answer
from .request import BadRequest
from .streams import Stream

__all__ = [
    "MAX_PREDICTIONS",
    "JoinedAnswers",
    "PendingCall",
    "PredictionBytes",
    "join_answers",
    "split_call",
    "status_of",
]

MAX_PREDICTIONS = 64


@dataclass(frozen=True)
class PredictionBytes:
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


@dataclass(frozen=True)
class JoinedAnswers:
    """The output vectors of a call."""

    response: np.ndarray[Any, Any]
    status: np.ndarray[Any, Any]
    sizes: np.ndarray[Any, Any]


def join_answers(answers: Sequence[Answer]) -> JoinedAnswers:
    bodies = [answer.body for answer in answers]
    statuses = [status_of(answer) for answer in answers]
    sizes = np.array([[len(body) for body in bodies], [len(status) for status in statuses]], dtype=np.int64)
    return JoinedAnswers(_join(bodies), _join(statuses), sizes)


def status_of(answer: Answer | Stream) -> bytes:
    """JSON: ``status_code``, ``headers``, and ``timing`` where it is known."""
    status: dict[str, Any] = {"status_code": answer.status_code, "headers": answer.headers}
    if answer.timing is not None:
        status["timing"] = asdict(answer.timing)
    return json.dumps(status).encode()


def _join(parts: list[bytes]) -> np.ndarray[Any, Any]:
    # A bytearray, since an array over bytes is read-only and DLPack refuses it.
    return np.frombuffer(bytearray(b"".join(parts)), dtype=np.uint8)


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
