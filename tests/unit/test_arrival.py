"""Whether a prediction whose turn has come is still worth beginning."""

from __future__ import annotations

import pytest

from cortex_compile.python_backend.arrival import Arrival, UsualTime
from cortex_compile.python_backend.request import Request
from cortex_compile.python_backend.triton_call import PredictionBytes


def arrival(usual_s: float = 0.0, cancelled: bool = False) -> Arrival:
    usual = UsualTime()
    usual.seconds = usual_s
    return Arrival(PredictionBytes(b"", None), lambda: cancelled, usual)


@pytest.mark.parametrize(
    ("waited_s", "usual_s", "given_up"),
    [
        (9.9, 0.0, False),
        (10.0, 0.0, True),
        (9.0, 0.1, False),
        (9.9, 0.1, True),  # it would be over too late
        (4.9, 60.0, False),  # whatever it usually takes, half of the time is worth a try
        (5.0, 60.0, True),
    ],
)
def test_what_would_be_over_too_late_is_not_begun(waited_s: float, usual_s: float, given_up: bool) -> None:
    assert arrival(usual_s).is_given_up(Request(b"", timeout_s=10.0), waited_s) is given_up


def test_what_nobody_waits_for_is_not_begun() -> None:
    assert arrival(cancelled=True).is_given_up(Request(b""), 1.0)
    assert not arrival().is_given_up(Request(b""), 1000.0)


def test_the_usual_time_follows_what_predictions_take() -> None:
    usual = UsualTime()
    for _ in range(100):
        usual.note(2.0)
    assert usual.seconds == pytest.approx(2.0, rel=0.01)
    for _ in range(100):
        usual.note(0.1)
    assert usual.seconds == pytest.approx(0.1, rel=0.01)
    taken = arrival()
    taken.stopwatch.start()
    taken.read_time()
    assert taken.usual.seconds > 0
