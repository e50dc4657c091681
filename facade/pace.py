"""How long an API's predictions take in the predictor itself, and so how many of them may share a call."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

__all__ = ["LARGEST_CALL", "Pace"]

# What the predictor's model takes.
LARGEST_CALL = 64
# A call should be over after this long on average: each prediction in it waits for the others.
LONGEST_CALL_MS = 5.0
# An answer that nobody waits for any longer may take this long to be made.
SHORT_MS = 25.0

_NEWEST_SHARE = 0.1
_KEPT = 128
_JUDGED_EVERY = 32


class Pace:
    """Watches the times that the answers tell.

    ``together`` is how many predictions may share a call; ``is_short`` tells that one is over so soon that
    it need not be cancelled when its client leaves; ``usual_s`` is what one takes, the latest counting most.
    """

    def __init__(self, shared_rows: int = 1) -> None:
        """
        Args:
            shared_rows: so many predictions take the model hardly longer than one.
        """
        self.together = self._shared_rows = shared_rows
        self.is_short = False
        self.usual_s = 0.0
        self._times_ms: deque[float] = deque(maxlen=_KEPT)
        self._unjudged = 0

    def note(self, timing_ms: Mapping[str, float]) -> None:
        """An answer came: ``prepost`` and ``core`` are what its prediction took."""
        if not timing_ms:
            return
        took_ms = timing_ms.get("prepost", 0.0) + timing_ms.get("core", 0.0)
        self.usual_s += _NEWEST_SHARE * (took_ms / 1000 - self.usual_s)
        self._times_ms.append(took_ms)
        self._unjudged += 1
        if self._unjudged >= _JUDGED_EVERY:
            self._unjudged = 0
            self._judge()

    def _judge(self) -> None:
        # The mean and not the median: a few that take long hold up all that share their calls.
        mean = sum(self._times_ms) / len(self._times_ms)
        self.is_short = mean <= SHORT_MS
        least = self._shared_rows if self.is_short else 1
        self.together = max(least, min(LARGEST_CALL, int(LONGEST_CALL_MS / max(mean, 0.01))))
