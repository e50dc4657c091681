"""Predictors in a container that answer nobody. Nothing of their processes is seen from outside, so they are asked."""

from __future__ import annotations

import contextlib
import re
import time
import urllib.request
from collections.abc import Mapping

from cortex_compile.launchers.model_probes import ModelProbes
from cortex_compile.launchers.ports import LOOPBACK, Ports

__all__ = ["SilentPredictors"]

# The facade gives a predictor as many requests as it is at, and as many more: the question waits for two at most.
_BEFORE_IT = 2
_A_MOMENT_S = 0.5
_OVERDUE_S = 10.0
_METRICS_TIMEOUT_S = 1.0
# Those that were cancelled are failures, and say nothing; an error of the predictor's own is no failure to Triton.
_ENDED = re.compile(r'nv_inference_request_success\{.*model="([^"]+)".*\} (\S+)')


class SilentPredictors:
    """``look`` is to be called every fraction of a second, from one thread, while the server is ready.

    Args:
        timeouts_s: how long a request may take, of each predictor that answers in one piece.
    """

    def __init__(self, ports: Ports, timeouts_s: Mapping[str, float]) -> None:
        self._ports = ports
        self._timeouts_s = timeouts_s
        self._probes = ModelProbes(ports.http)
        self._ended: dict[str, float] = {}
        self._ended_since_s: dict[str, float] = {}

    def forget(self) -> None:
        """The server was started again."""
        self._probes.look([])
        self._ended, self._ended_since_s = {}, {}

    def look(self) -> set[str]:
        """Those that answer nobody at the moment."""
        self._probes.look(list(self._timeouts_s))
        if any(self._probes.unanswered_s(name) > limit_s for name, limit_s in self._timeouts_s.items()):
            self._see_what_ended()
        else:
            self._ended = {}
        late = (name for name, limit_s in self._timeouts_s.items() if self._late_s(name, limit_s) > _A_MOMENT_S)
        return {name for name in late if self._idle_s(name) > self._timeouts_s[name]}

    def stuck(self) -> str | None:
        """One that will not answer any more, in words.

        Whoever asks Triton itself may ask for more than can be answered in any time: none is stuck whose requests end.
        """
        for name, limit_s in self._timeouts_s.items():
            if self._late_s(name, limit_s) > _OVERDUE_S and self._idle_s(name) > limit_s + _OVERDUE_S:
                unanswered_s = self._probes.unanswered_s(name)
                return f"{name!r} is stuck: it has answered nobody for {unanswered_s:.0f} s"
        return None

    def _late_s(self, name: str, limit_s: float) -> float:
        return self._probes.unanswered_s(name) - _BEFORE_IT * limit_s

    def _idle_s(self, name: str) -> float:
        """For how long none of its requests has ended; as long as it was asked where that is not known."""
        since_s = self._ended_since_s.get(name)
        unanswered_s = self._probes.unanswered_s(name)
        return unanswered_s if since_s is None else min(unanswered_s, time.monotonic() - since_s)

    def _see_what_ended(self) -> None:
        found: dict[str, float] = {}
        for name, count in _ENDED.findall(self._metrics()):
            found[name] = found.get(name, 0.0) + float(count)
        for name, count in found.items():
            if self._ended.get(name, count) != count:
                self._ended_since_s[name] = time.monotonic()
        self._ended = found

    def _metrics(self) -> str:
        """Triton's own figures; nothing where it does not tell."""
        url = f"http://{LOOPBACK}:{self._ports.metrics}/metrics"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=_METRICS_TIMEOUT_S) as response:
            return str(response.read().decode(errors="replace"))
        return ""
