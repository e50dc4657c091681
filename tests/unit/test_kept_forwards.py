"""A forward that the predictor kept as a bound method is seen at capture and reaches the exchanged one."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from cortex_compile.compiler.capture_modules import capture_modules
from cortex_compile.python_backend.find_modules import find_modules
from cortex_compile.python_backend.kept_forwards import find_kept_forwards


class Predictor:
    def __init__(self, **names: Any) -> None:
        vars(self).update(names)


def user_module(**names: Any) -> ModuleType:
    module = ModuleType("cortex_predictor")
    vars(module).update(names)
    return module


@pytest.mark.parametrize("keep", [lambda f: f, lambda f: [f], lambda f: {"run": {"it": f}}, lambda f: Predictor(it=f)])
def test_is_found_where_a_predictor_keeps_it(keep: Any) -> None:
    net = nn.Linear(1, 1)
    (kept,) = find_kept_forwards(Predictor(run=keep(net.forward)), user_module())
    assert kept.module is net


def test_globals_are_looked_at() -> None:
    net = nn.Linear(1, 1)
    assert [kept.module for kept in find_kept_forwards(object(), user_module(run=net.forward))] == [net]


def test_other_bound_methods_are_left_alone() -> None:
    net = nn.Linear(1, 1)
    assert find_kept_forwards(Predictor(run=net.extra_repr, call=net.__call__), user_module()) == []


def test_late_it_calls_what_stands_as_forward_now() -> None:
    net = nn.Linear(1, 1)
    predictor = Predictor(run=net.forward)
    method, (kept,) = predictor.run, find_kept_forwards(predictor, user_module())
    kept.call_late()
    assert torch.equal(predictor.run(torch.ones(1, 1)), method(torch.ones(1, 1)))
    assert inspect.signature(predictor.run) == inspect.signature(method)
    assert find_modules(predictor, user_module()) == {"predictor.run.__self__": net}
    net.forward = lambda x: x * 0 + 7  # type: ignore[method-assign]
    assert predictor.run(torch.ones(1, 1)).item() == 7
    kept.put_back()
    assert predictor.run is method


def test_capture_sees_the_calls_and_puts_the_method_back() -> None:
    net = nn.Linear(1, 1)
    predictor = Predictor(net=net, run=net.forward)
    method = predictor.run
    (captured,) = capture_modules(
        predictor, user_module(), Path(__file__).parent, lambda: predictor.run(torch.ones(1, 1))
    )
    assert (captured.path, captured.count, captured.refused) == ("predictor.net", 1, None)
    assert predictor.run is method
