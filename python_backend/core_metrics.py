"""What Triton's metrics tell of compiled modules: how often each ran compiled and eager, and which is not the same.

Triton adds up what the processes of a server count. The facade reads it there (``facade/core_figures.py``).
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from .exchange import ExchangedCore

__all__ = ["CoreMetrics"]

_LOGGER = logging.getLogger("cortex_compile.runtime")

# To tell Triton takes 60 µs, and a decoder's step runs hundreds of times a second.
_PUBLISH_EVERY_S = 1.0
_TIMEOUT_S = 2.0

_COMPILED = "cortex_compile_compiled_calls_total"
_EAGER = "cortex_compile_eager_calls_total"
_DRIFT = "cortex_compile_drift"
_FAILING = "cortex_compile_engine_failing"
_GAUGES = (_DRIFT, _FAILING)
_DESCRIPTIONS = {
    _COMPILED: "Calls of a compiled module that its graph answered.",
    _EAGER: "Calls of a compiled module that its own forward answered, by what was not proven.",
    _DRIFT: "1 where a module stays eager, since it is not the one that was compiled.",
    _FAILING: "Graphs of a compiled module whose engine failed, and for which its own forward answers.",
}

Figure = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a metric, and its labels."""


class CoreMetrics:
    """Publishes the counts of one process from a thread of its own, so that no prediction waits for it."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._cores: dict[str, ExchangedCore] = {}
        self._calls_of_replaced: Counter[Figure] = Counter()
        self._published: dict[Figure, int] = {}
        self._families: dict[str, Any] = {}
        self._metrics: dict[Figure, Any] = {}
        self._told_once, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="core metrics", daemon=True)

    def start(self) -> None:
        """What is watched already is told when this returns: who asks a model that is ready hears of it."""
        self._thread.start()
        self._told_once.wait(_TIMEOUT_S)

    def watch(self, cores: Sequence[ExchangedCore]) -> None:
        """Tell of these from now on; one at the path of another takes its place."""
        with self._lock:
            for core in cores:
                if core.path in self._cores:
                    self._calls_of_replaced.update(dict(self._calls_of(self._cores[core.path])))
                self._cores[core.path] = core

    def stop(self) -> None:
        """What was counted since is told, too."""
        self._stopping.set()
        self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        try:
            self._create_families()
            self._publish()
            self._told_once.set()
            while not self._stopping.wait(_PUBLISH_EVERY_S):
                self._publish()
            self._publish()
        except Exception:
            # A server without metrics: predictions go on.
            _LOGGER.exception("Triton's metrics do not tell of compiled modules")
            self._told_once.set()

    def _create_families(self) -> None:
        import triton_python_backend_utils as pb_utils

        kinds = {_COMPILED: pb_utils.MetricFamily.COUNTER, _EAGER: pb_utils.MetricFamily.COUNTER}
        for name, description in _DESCRIPTIONS.items():
            kind = kinds.get(name, pb_utils.MetricFamily.GAUGE)
            family = pb_utils.MetricFamily(name=name, description=description, kind=kind)
            # Never destroyed: Triton would remove a metric that other processes still count in, and at the end of this
            # one, where its stub is gone before its objects, that is a crash.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(family))
            self._families[name] = family

    def _publish(self) -> None:
        figures = self._figures()
        for figure, value in figures.items():
            name, labels = figure
            if figure not in self._metrics:
                self._metrics[figure] = self._families[name].Metric(labels=dict(labels))
            before = self._published.get(figure, 0)
            # Other processes have the same gauge: one that never had it does not speak for them.
            if name in _GAUGES and value != before:
                self._metrics[figure].set(value)
            elif name not in _GAUGES and value > before:
                self._metrics[figure].increment(value - before)
            self._published[figure] = value

    def _figures(self) -> dict[Figure, int]:
        with self._lock:
            cores = list(self._cores.values())
            figures = Counter(self._calls_of_replaced)
        gauges = {figure: 0 for figure in self._published if figure[0] in _GAUGES}
        for core in cores:
            figures.update(dict(self._calls_of(core)))
            if core.state == "eager":
                gauges[_DRIFT, (*self._labels_of(core), ("reason", core.reason))] = 1
            elif core.counts.failing:
                gauges[_FAILING, self._labels_of(core)] = core.counts.failing
        return {**figures, **gauges}

    def _calls_of(self, core: ExchangedCore) -> Iterator[tuple[Figure, int]]:
        yield (_COMPILED, self._labels_of(core)), core.counts.compiled
        # A copy: predictions go on counting.
        for reason, count in dict(core.counts.eager).items():
            yield (_EAGER, (*self._labels_of(core), ("reason", reason))), count

    def _labels_of(self, core: ExchangedCore) -> tuple[tuple[str, str], ...]:
        return ("api", self._api), ("module", core.path)
