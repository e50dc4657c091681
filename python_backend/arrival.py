"""A prediction on its way to a thread, and whether anybody still waits for it when its turn has come."""

from __future__ import annotations

from collections.abc import Callable

from .answer import Answer
from .request import Request
from .timing import Stopwatch, Timing
from .triton_call import PredictionBytes

__all__ = ["TOO_LATE", "Arrival", "UsualTime"]

TOO_LATE = Answer(b"Gateway Timeout", 504, (("content-type", "text/plain; charset=utf-8"),))
"""Hardly anybody reads it, but a call has to be answered."""

# Asking Triton costs a message to its process: not worth it for a request that was taken at once.
_SHORT_WAIT_S = 0.005

# Of the usual time: what is begun with less left is over too late more often than not.
_ENOUGH = 2.0


class UsualTime:
    """How long predictions take in this process, the latest counting most."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        self.seconds += 0.1 * (seconds - self.seconds)


class Arrival:
    __slots__ = ("is_cancelled", "prediction", "stopwatch", "usual")

    def __init__(self, prediction: PredictionBytes, is_cancelled: Callable[[], bool], usual: UsualTime) -> None:
        """
        Args:
            is_cancelled: asks Triton whether the client has left.
        """
        self.prediction = prediction
        self.is_cancelled = is_cancelled
        self.usual = usual
        self.stopwatch = Stopwatch()

    def is_given_up(self, request: Request, waited_s: float) -> bool:
        """Nobody waits for it any longer, or nobody will when it is done.

        Where more is asked than can be answered, whoever is next has waited for nearly all of its time: begun in vain,
        each would take the place of one that could still be answered.
        """
        if request.timeout_s is not None:
            needed_s = min(_ENOUGH * self.usual.seconds, request.timeout_s / 2)
            if waited_s >= request.timeout_s - needed_s:
                return True
        return waited_s > _SHORT_WAIT_S and self.is_cancelled()

    def read_time(self) -> Timing:
        """What it took, now that it is answered."""
        timing = self.stopwatch.read()
        self.usual.note((timing.prepost_ms + timing.core_ms) / 1000)
        return timing
