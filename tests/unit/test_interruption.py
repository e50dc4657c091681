from __future__ import annotations

import signal

import pytest

from cortex_compile.cli import interruption


def test_presses_within_a_second_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(interruption.time, "monotonic", lambda: now_s)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interruption.take_presses_together()
        for now_s in (100.0, 101.5):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            now_s += 0.9
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_that_was_set_to_something_else_stays() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interruption.take_presses_together()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
