"""What /metrics shows: requests, latency and requests in flight, by API and by class of status."""

from __future__ import annotations

import os
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["DISCONNECTED", "ApiMetrics", "FacadeMetrics"]

DISCONNECTED = "disconnected"
_STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx", DISCONNECTED)
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class FacadeMetrics:
    """The metrics of one facade, in a registry of its own.

    Args:
        folder: where several processes count together, so that each can tell the figures of all, those of processes
            that have died included.
        number: this process's place among them; it goes on with the counts of the one that had it before.
    """

    def __init__(self, folder: Path | None = None, number: int = 0) -> None:
        self._registry = CollectorRegistry()
        self._folder = folder
        if folder is not None:
            # The library's own way is a choice at its first import, by this variable, and the process id.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
            values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
        labels = ("api", "status_class")
        self._requests = Counter("cortex_compile_requests", "Predictions asked for.", labels, registry=self._registry)
        self._durations = Histogram(
            "cortex_compile_request_duration_seconds",
            "From the first byte of a request's headers to its answer, or to the last chunk of it.",
            labels,
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "cortex_compile_requests_in_flight",
            "Predictions under way.",
            ("api",),
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def of_api(self, name: str) -> ApiMetrics:
        """The metrics of one API, its labels looked up once."""
        return ApiMetrics(
            {label: self._requests.labels(name, label) for label in _STATUS_CLASSES},
            {label: self._durations.labels(name, label) for label in _STATUS_CLASSES},
            self._in_flight.labels(name),
        )

    def as_text(self) -> bytes:
        """Prometheus's text format."""
        if self._folder is None:
            return generate_latest(self._registry)
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(of_all)


class ApiMetrics:
    """Counts the predictions of one API."""

    def __init__(self, requests: dict[str, Counter], durations: dict[str, Histogram], in_flight: Gauge) -> None:
        self._requests = requests
        self._durations = durations
        self._in_flight = in_flight

    def prediction(self) -> Outcome:
        """Count one prediction, in flight until the block ends that this is the context of."""
        return Outcome(self)

    def begin(self) -> None:
        self._in_flight.inc()

    def end(self, status_class: str, took_s: float) -> None:
        self._in_flight.dec()
        self._requests[status_class].inc()
        self._durations[status_class].observe(took_s)


# A class, since a generator made a context manager takes several times as long.
class Outcome:
    """How a prediction ended: nobody was told anything, until a status is sent."""

    status_class = DISCONNECTED

    def __init__(self, metrics: ApiMetrics) -> None:
        self._metrics = metrics

    def __enter__(self) -> Outcome:
        self._started_s = time.perf_counter()
        self._metrics.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.end(self.status_class, time.perf_counter() - self._started_s)

    @property
    def is_told(self) -> bool:
        return self.status_class != DISCONNECTED

    def sent(self, status_code: int) -> None:
        self.status_class = f"{status_code // 100}xx"

    def broke_off(self) -> None:
        """A stream failed after its status was sent: an error of the server's, whatever that status said."""
        self.status_class = "5xx"

    def client_left(self) -> None:
        self.status_class = DISCONNECTED
