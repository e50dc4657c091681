"""Many requests at once, of any lengths: each gets its own answer, and Python runs for one at a time."""

from __future__ import annotations

import random
import time
from concurrent.futures import Future
from typing import Any

import pytest

from cortex_compile.python_backend.predict_threads import settle
from cortex_compile.python_backend.shared_runs import SharingSession
from cortex_compile.python_backend.turn_threads import TurnThreads

from .test_shared_runs import LONG_S, VARIANT, Engine, assert_answers, call, core


@pytest.mark.parametrize("side_by_side", [False, True], ids=["one run", "side by side"])
@pytest.mark.parametrize("seed", range(4))
def test_at_full_speed_each_request_gets_its_own(seed: int, side_by_side: bool) -> None:
    chosen = random.Random(seed)
    threads, engine = TurnThreads(chosen.choice([2, 5, 12]), lambda: None), Engine()
    measured = core(chosen.choice([2, 4, 8]), chosen.choice([0.0, 1.0, 20.0]), threads=1 + seed % 2 + side_by_side)
    session = SharingSession(engine, VARIANT, measured, threads, engine if side_by_side else None)
    inside = 0
    most_inside = 0

    def answer(number: int) -> None:
        nonlocal inside, most_inside
        chance = random.Random(1000 * seed + number)
        for _ in range(chance.randint(0, 3)):
            inside += 1
            most_inside = max(most_inside, inside)
            values = [14 + number, *chance.choices(range(20, 99), k=chance.randint(0, 19))]
            if chance.random() < 0.05:
                values.append(13)
            if chance.random() < 0.05:
                time.sleep(0.001)
            inside -= 1
            try:
                found = session.run(call(*values))
            except ValueError:
                assert 13 in values
                continue
            assert 13 not in values
            assert_answers(values, found)

    asked = [Future[Any]() for _ in range(1500)]
    for number, outcome in enumerate(asked):
        threads.submit(settle, outcome, answer, (number,))
        if number % 50 == 0:
            time.sleep(0.001)
    for outcome in asked:
        outcome.result(LONG_S)
    threads.shutdown()
    assert most_inside == 1
    assert threads.is_free
    assert not session._waiting
    assert not session._runs
    assert not session._running
    assert max(rows * length for rows, length in engine.shapes) <= max(session._most_cells, 21)
    assert side_by_side or any(rows > 1 for rows, _ in engine.shapes)
