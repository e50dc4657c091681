"""A prediction on its way to a thread, and whether anybody still waits for it when its turn has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .answer import Answer
from .request import Request
from .timing import Stopwatch
from .triton_call import PredictionBytes

__all__ = ["TOO_LATE", "Arrival"]

TOO_LATE = Answer(b"Gateway Timeout", 504, (("content-type", "text/plain; charset=utf-8"),))
"""Nobody reads it, but a call has to be answered."""

# Asking Triton costs a message to its process: not worth it for a request that was taken at once.
_SHORT_WAIT_S = 0.005


@dataclass(frozen=True)
class Arrival:
    """``is_cancelled`` asks Triton whether the client has left."""

    prediction: PredictionBytes
    is_cancelled: Callable[[], bool]
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def is_given_up(self, request: Request, waited_s: float) -> bool:
        if request.timeout_s is not None and waited_s >= request.timeout_s:
            return True
        return waited_s > _SHORT_WAIT_S and self.is_cancelled()
