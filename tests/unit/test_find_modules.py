from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import pytest
from torch import nn

from cortex_compile.python_backend.find_modules import find_modules


class Holder:
    def __init__(self, inner: Any) -> None:
        self.inner = inner


class Slotted:
    __slots__ = ("net",)


def user_module(**names: Any) -> ModuleType:
    module = ModuleType("cortex_predictor")
    vars(module).update(names)
    return module


def closing_over(net: nn.Module) -> Any:
    return lambda value: net(value)


def slotted(net: nn.Module) -> Slotted:
    holder = Slotted()
    holder.net = net
    return holder


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda net: net, "predictor.inner"),
        (lambda net: [1, net], "predictor.inner[1]"),
        (lambda net: {"a": {"b": net}}, "predictor.inner['a']['b']"),
        (lambda net: Holder(Holder(net)), "predictor.inner.inner.inner"),
        (lambda net: closing_over(net), "predictor.inner.<net>"),
        (lambda net: net.forward, "predictor.inner.__self__"),
        (lambda net: functools.partial(print, net), "predictor.inner.args[0]"),
        (slotted, "predictor.inner.net"),
    ],
)
def test_a_module_is_found_where_a_predictor_keeps_it(wrap: Any, path: str) -> None:
    net = nn.Linear(1, 1)
    assert find_modules(Holder(wrap(net)), user_module()) == {path: net}


def test_globals_of_the_users_file_are_found() -> None:
    net = nn.Linear(1, 1)
    assert find_modules(object(), user_module(MODEL=net)) == {"MODEL": net}


def test_parts_of_a_module_are_found_by_their_place() -> None:
    stack = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    assert list(find_modules(Holder(stack), user_module())) == [
        "predictor.inner",
        "predictor.inner[0]",
        "predictor.inner[1]",
    ]


def test_the_shortest_path_names_a_shared_module() -> None:
    net = nn.Linear(1, 1)
    predictor = Holder(Holder(net))
    predictor.short = net  # type: ignore[attr-defined]
    assert list(find_modules(predictor, user_module())) == ["predictor.short"]


def test_a_circle_ends() -> None:
    predictor = Holder(None)
    predictor.inner = [predictor]
    assert find_modules(predictor, user_module()) == {}
