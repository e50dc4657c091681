"""How often something that fails again and again is tried again, and when that ends."""

from __future__ import annotations

from dataclasses import dataclass

# Before each attempt. The first is at once, since most processes die once: killed, or out of memory at one request.
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
HEALTHY_S = 60.0


@dataclass
class CrashLoop:
    """The failures of one thing. One that was well for ``healthy_s`` begins anew."""

    pauses_s: tuple[float, ...] = PAUSES_S
    healthy_s: float = HEALTHY_S
    failures: int = 0
    _well_since_s: float | None = None

    def failed(self, now_s: float) -> float | None:
        """How many seconds to wait before the next attempt; None: no more of them."""
        if self._well_since_s is not None and now_s - self._well_since_s >= self.healthy_s:
            self.failures = 0
        self._well_since_s = None
        self.failures += 1
        return self.pauses_s[self.failures - 1] if self.failures <= len(self.pauses_s) else None

    def recovered(self, now_s: float) -> None:
        """An attempt was a success."""
        self._well_since_s = now_s
