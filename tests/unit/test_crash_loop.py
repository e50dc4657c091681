from __future__ import annotations

from cortex_compile.launchers.crash_loop import CrashLoop


def test_pauses_grow_until_it_is_hopeless() -> None:
    loop = CrashLoop(pauses_s=(0.0, 1.0, 2.0))
    assert [loop.failed(float(second)) for second in range(5)] == [0.0, 1.0, 2.0, None, None]


def test_a_healthy_minute_forgives_all_and_less_forgives_nothing() -> None:
    loop = CrashLoop(pauses_s=(0.0, 1.0), healthy_s=60.0)
    assert loop.failed(0.0) == 0.0
    loop.recovered(5.0)
    assert loop.failed(64.0) == 1.0
    loop.recovered(65.0)
    assert loop.failed(125.0) == 0.0
    # A minute that passed between two failed attempts was no healthy one.
    assert loop.failed(500.0) == 1.0
    assert loop.failed(900.0) is None
