"""An engine that fails at run time: the module answers itself, the engine rests, is tried again, and metrics tell."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cortex_compile.python_backend.compiled_forward import CallCounts, ReadyVariant, make_compiled_forward
from cortex_compile.python_backend.engine_rest import FIRST_REST_S, LONGEST_REST_S, EngineRest


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Engine:
    """Stands in for a variant that fits every call."""

    def __init__(self, clock: Clock) -> None:
        self.rest = EngineRest(clock)
        self.works = True
        self.runs = 0

    variant = SimpleNamespace(arguments="", argument_leaves=(), inputs=(), dimensions=(), positions=())

    def mismatch(self, call: Any) -> None:
        return None

    def run(self, call: Any) -> str:
        self.runs += 1
        if not self.works:
            raise RuntimeError("the engine's own words")
        return "compiled"


def eager(x: str) -> str:
    if x == "bad":
        raise IndexError("of the user's")
    return "eager"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Engine:
    return Engine(clock)


def forward_of(engine: Engine, counts: CallCounts) -> Any:
    return make_compiled_forward("predictor.net", eager, [cast(ReadyVariant, engine)], [], counts)


def test_it_rests_after_a_failure_and_is_tried_again(
    engine: Engine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    counts = CallCounts()
    forward = forward_of(engine, counts)
    assert forward("x") == "compiled"
    engine.works = False
    with caplog.at_level(logging.WARNING, "cortex_compile.runtime"):
        assert [forward("x") for _ in range(3)] == ["eager"] * 3
        assert engine.runs == 2
        assert counts.failing == 1
        clock.now += FIRST_REST_S
        assert forward("x") == "eager"
        assert engine.runs == 3
        engine.works = True
        clock.now += FIRST_REST_S
        assert forward("x") == "eager"  # the second rest is longer
        clock.now += FIRST_REST_S
        assert forward("x") == "compiled"
    assert (counts.compiled, counts.eager, counts.failing) == (2, {"engine failed": 5}, 0)
    assert caplog.messages == [
        "module predictor.net: the engine failed; its own forward answers",
        "module predictor.net: the engine runs again",
    ]


def test_a_call_that_the_module_itself_cannot_answer_is_no_failure_of_the_engine(engine: Engine) -> None:
    engine.works = False
    counts = CallCounts()
    forward = forward_of(engine, counts)
    with pytest.raises(IndexError):
        forward("bad")
    engine.works = True
    assert forward("x") == "compiled"
    assert counts.failing == 0


def test_rests_grow_to_a_minute(clock: Clock) -> None:
    rest = EngineRest(clock)
    waited = []
    for _ in range(8):
        rest.begin()
        start = clock.now
        while not rest.is_over():
            clock.now += 0.5
        waited.append(clock.now - start)
    assert waited == [1, 2, 4, 8, 16, 32, 60, LONGEST_REST_S]
