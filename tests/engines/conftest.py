from __future__ import annotations

import pytest

from cortex_compile.compiler import measure_candidate, measure_latency


@pytest.fixture
def any_speed_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided from timings is not tested, so they take no time."""
    monkeypatch.setattr(measure_latency, "WINDOW_S", 0.001)
    monkeypatch.setattr(measure_candidate, "MINIMUM_SPEEDUP", 0.0)
