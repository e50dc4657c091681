"""An engine that failed at a call rests, longer each time, and is then tried again: calls run eager meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["EngineRest"]

FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0


class EngineRest:
    """Of one variant. A model of its own is back after a moment when its process was replaced; a graph that its engine
    cannot run fails each time, which then costs one call a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rest_s = 0.0
        self._until = 0.0

    @property
    def failing(self) -> bool:
        """True from a failure until it runs again."""
        return self._rest_s > 0.0

    def is_over(self) -> bool:
        return not self._rest_s or self._clock() >= self._until

    def begin(self) -> None:
        """It failed."""
        self._rest_s = min(self._rest_s * 2 or FIRST_REST_S, LONGEST_REST_S)
        self._until = self._clock() + self._rest_s

    def end(self) -> None:
        """It ran."""
        self._rest_s = 0.0
