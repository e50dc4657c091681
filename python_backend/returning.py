"""Clients that wait for one answer before they ask for the next, and so come again when they are answered."""

from __future__ import annotations

import time

__all__ = ["ReturningClients"]

# Of those who were answered, so many must usually come again in time to be waited for.
_ENOUGH = 0.5
_NEWEST_SHARE = 0.1
# It is looked for longer than it is waited for who comes, since those who are not waited for come later.
_LOOKED_FOR = 1.25


class ReturningClients:
    """Tells how long to wait for those who were answered just now; requests that come at random are not waited for.

    Not for several threads at once. What is counted is the caller's: requests, or their size.
    """

    def __init__(self, share: float, longest_s: float) -> None:
        """
        Args:
            share: so long they are waited for, of the time that their answers took.
            longest_s: and no longer.
        """
        self._share = share
        self._longest_s = longest_s
        self.moment_until_s = 0.0
        """By when those who were answered last have come, if they come at all."""
        self._usual = 1.0
        self.answered = 0
        """How many were answered in one moment with those who were last."""
        self._came = 0
        self._looks_until_s = 0.0

    def note_answered(self, count: int, took_s: float) -> None:
        now = time.perf_counter()
        if now > self._looks_until_s:
            if self.answered:
                self._usual += _NEWEST_SHARE * (min(self._came / self.answered, 1.0) - self._usual)
            self.answered = self._came = 0
        wait_s = min(self._share * took_s, self._longest_s)
        self.answered += count
        self.moment_until_s = now + wait_s
        self._looks_until_s = now + _LOOKED_FOR * wait_s

    def note_came(self, count: int) -> None:
        if self.answered and time.perf_counter() <= self._looks_until_s:
            self._came += count

    @property
    def until_s(self) -> float:
        """As ``moment_until_s``, by ``time.perf_counter``; in the past if they are not usually coming."""
        return self.moment_until_s if self._usual >= _ENOUGH else 0.0
