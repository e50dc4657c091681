"""How often the launcher replaced something that died or hung, for /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily

__all__ = ["RepairFigures"]


class RepairFigures:
    """Args: repairs: the counts now, by API ("" for the server as a whole) and reason."""

    def __init__(self, repairs: Callable[[], Mapping[str, Mapping[str, int]]]) -> None:
        self._repairs = repairs
        # One of their own: those of several workers are added up, and each knows all of these.
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What the registry calls."""
        told = "Processes that died or hung, and were replaced."
        family = CounterMetricFamily("cortex_compile_repairs", told, labels=("api", "reason"))
        for api, reasons in self._repairs().items():
            for reason, count in reasons.items():
                family.add_metric((api, reason), count)
        yield family

    def as_text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)
