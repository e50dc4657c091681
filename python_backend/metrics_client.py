"""What a predictor that asks for Cortex's ``metrics_client`` is given."""

from __future__ import annotations

import logging
from collections.abc import Mapping

_LOGGER = logging.getLogger("cortex.metrics")
_RESERVED = ("cortex_", "istio_")


class MetricsClient:
    """Cortex's three calls. The values go to the log, at level debug."""

    def gauge(self, metric: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        self._log("gauge", metric, value, tags)

    def increment(self, metric: str, value: float = 1, tags: Mapping[str, str] | None = None) -> None:
        self._log("increment", metric, value, tags)

    def histogram(self, metric: str, value: float, tags: Mapping[str, str] | None = None) -> None:
        self._log("histogram", metric, value, tags)

    def _log(self, kind: str, metric: str, value: float, tags: Mapping[str, str] | None) -> None:
        if metric.startswith(_RESERVED):
            raise ValueError(f"metric {metric!r}: names that start with cortex_ or istio_ are reserved; choose another")
        _LOGGER.debug("%s %s %s %s", kind, metric, value, dict(tags or {}))
