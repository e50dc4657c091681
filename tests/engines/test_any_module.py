"""Random modules, called in random ways: compiled they answer as eager does, on every call, seen or not.

CORTEX_COMPILE_FUZZ=500 draws that many, others each time.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from cortex_compile.compiler.compare_tensors import worst_difference
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.python_backend.calls import flatten

from .compiling import Predictor, exchange_net
from .random_modules import Call, Composed, modules, samples, unseen

MORE = int(os.environ.get("CORTEX_COMPILE_FUZZ", "0"))
compiled_calls: list[int] = []


@pytest.mark.usefixtures("any_speed_will_do")
@settings(
    max_examples=MORE or 6,
    derandomize=not MORE,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(net=modules, seen=samples, others=unseen)
def test_compiled_answers_as_eager_does(net: Composed, seen: list[Call], others: list[Call]) -> None:
    predictor = Predictor(net)

    def answer() -> None:
        for seed, call in enumerate(seen):
            call(predictor.net, 100 + seed)

    with TemporaryDirectory() as name:
        core = exchange_net(predictor, answer, Path(name))
        for seed, call in enumerate((*seen, *others)):
            assert_same_answer(call, net, seed)
    compiled_calls.append(0 if isinstance(core, str) else core.counts.compiled)


def test_most_of_them_were_compiled() -> None:
    if not compiled_calls:
        pytest.skip("looks at what the test before it drew")
    assert sum(map(bool, compiled_calls)) > len(compiled_calls) / 2, compiled_calls


def assert_same_answer(call: Call, net: Composed, seed: int) -> None:
    def eager(*args: Any, **kwargs: Any) -> Any:
        return Composed.forward(net, *args, **kwargs)

    with torch.no_grad():
        try:
            expected = call(eager, seed)
        except Exception as error:
            with pytest.raises(type(error)):
                call(net, seed)
            return
        mine, theirs = flatten(expected), flatten(call(net, seed))
    assert (mine.spec, mine.leaves) == (theirs.spec, theirs.leaves)
    names = [str(number) for number in range(len(mine.tensors))]
    worst = worst_difference(mine.tensors, theirs.tensors, names, Tolerances())
    assert not isinstance(worst, str), worst
    assert worst.excess <= 1, (call, worst)


def test_the_comparison_sees_what_differs() -> None:
    """A fuzz test that cannot fail finds nothing."""
    net = Composed(["linear"], "tensor", 0).eval()
    call = Call(2, 3, False, 1.0, False)
    net.forward = lambda ids: Composed.forward(net, ids) + 0.01  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        assert_same_answer(call, net, 0)
