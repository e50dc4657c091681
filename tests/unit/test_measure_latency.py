"""A machine that others use too does not make a graph look faster than it is."""

from __future__ import annotations

import pytest

from cortex_compile.compiler import measure_latency as measuring


def test_a_busy_machine_slows_both_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have every other 4 ms: a call of 4 ms takes 8, and one in 40 of 0.1 ms is held up for 4."""
    windows = {"eager": [8.0] * 25, "compiled": ([0.1] * 39 + [4.1]) * 25}
    monkeypatch.setattr(measuring, "_window", lambda call, _: windows[call()])
    found = measuring.measure_latency(lambda: "eager", lambda: "compiled", "x float32[1]", 1)
    assert found.speedup == pytest.approx(40)
    assert (found.eager_p50_ms, found.compiled_p50_ms) == (8.0, 0.1)


def test_one_window_that_was_held_up_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([[4.0], [1.0], [4.0], [1000.0], [4.0], [1.0], [4.0], [1.0], [4.0], [1.0]])
    monkeypatch.setattr(measuring, "_window", lambda *_: next(found))
    assert measuring.measure_latency(lambda: 0, lambda: 0, "x float32[1]", 1).speedup == 4.0
