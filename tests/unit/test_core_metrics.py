"""What a process tells Triton of its compiled modules; Triton is a stand-in that remembers."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cortex_compile.python_backend.core_metrics import CoreMetrics
from cortex_compile.python_backend.exchange import ExchangedCore

NET = ("api", "iris"), ("module", "predictor.net")
COMPILED = ("cortex_compile_compiled_calls_total", NET)
DRIFT = "cortex_compile_drift"


def eager(reason: str) -> Any:
    return "cortex_compile_eager_calls_total", (*NET, ("reason", reason))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    values: dict[Any, float] = {}

    class MetricFamily:
        COUNTER, GAUGE = "counter", "gauge"

        def __init__(self, name: str, description: str, kind: str) -> None:
            self.name, self.kind = name, kind

        def Metric(self, labels: dict[str, str]) -> Any:
            key = self.name, tuple(labels.items())
            values.setdefault(key, 0)

            def add(amount: float) -> None:
                assert self.kind == "counter"
                assert amount > 0
                values[key] += amount

            def put(value: float) -> None:
                assert self.kind == "gauge"
                values[key] = value

            return SimpleNamespace(increment=add, set=put)

    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", SimpleNamespace(MetricFamily=MetricFamily))
    return values


def test_what_was_counted_is_told_once(told: dict[Any, float]) -> None:
    metrics = CoreMetrics("iris")
    core = ExchangedCore("net", "predictor.net", "compiled", "")
    core.counts.compiled = 1
    metrics.watch([core])
    metrics.start()
    assert told == {COMPILED: 1}
    core.counts.compiled = 3
    core.counts.eager["other dtype"] = 2
    metrics.stop()
    assert told == {COMPILED: 3, eager("other dtype"): 2}


def test_a_model_that_is_loaded_again_goes_on_counting_and_may_drift(told: dict[Any, float]) -> None:
    metrics = CoreMetrics("iris")
    first = ExchangedCore("net", "predictor.net", "eager", "its weights differ")
    metrics.watch([first])
    metrics.start()
    drift = DRIFT, (*NET, ("reason", "its weights differ"))
    assert told == {COMPILED: 0, drift: 1}
    second = ExchangedCore("net", "predictor.net", "compiled", "")
    second.counts.compiled = 5
    metrics.watch([second])
    third = ExchangedCore("net", "predictor.net", "compiled", "")
    third.counts.compiled = 2
    metrics.watch([third])
    metrics.stop()
    assert told == {COMPILED: 7, drift: 0}


def test_an_engine_that_fails_is_an_alarm_until_it_runs_again(told: dict[Any, float]) -> None:
    metrics = CoreMetrics("iris")
    core = ExchangedCore("net", "predictor.net", "compiled", "")
    failing = "cortex_compile_engine_failing", NET
    core.counts.failing = 2
    metrics.watch([core])
    metrics.start()
    assert told == {COMPILED: 0, failing: 2}
    core.counts.failing = 0
    metrics.stop()
    assert told == {COMPILED: 0, failing: 0}


def test_a_server_without_metrics_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", SimpleNamespace())
    metrics = CoreMetrics("iris")
    metrics.start()
    metrics.stop()
    assert caplog.messages == ["Triton's metrics do not tell of compiled modules"]
