"""The globals that a module's forward can read are constants of its graph."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cortex_compile.python_backend.fingerprint import first_changed
from cortex_compile.python_backend.globals_read import globals_read, locate_globals

NET = """
import math
from statistics import mean
import torch
import user_settings
from user_settings import shift

SCALE = 2.0
UNUSED = 1
OPTIONS = {"gain": 3.0, "names": {"a"}}
TABLE = torch.ones(2)


class Settings:
    def __init__(self):
        self.offset = 4


HELD = Settings()


class Part(torch.nn.Module):
    def forward(self, x):
        return self.scaled(x) + (lambda: HELD.offset)() + mean([1.0]) + math.pi

    def scaled(self, x):
        return x * SCALE * OPTIONS["gain"] * self.factor

    def never_called(self):
        return UNUSED

    @property
    def factor(self):
        return user_settings.FACTOR


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = Part()

    def forward(self, x):
        return shift(self.part(x))
"""
SETTINGS = """
FACTOR = 5
SHIFT = [1, 2]
OTHER = 1


def shift(x):
    return x + SHIFT[0]
"""


@pytest.fixture
def user_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "user_net.py").write_text(NET)
    (tmp_path / "user_settings.py").write_text(SETTINGS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("user_net")
    for name in ("user_net", "user_settings"):
        sys.modules.pop(name)


def test_what_forward_and_the_functions_that_it_reaches_name_is_read(user_net: Any) -> None:
    found = {(read.module, read.name): read.value for read in globals_read(user_net.Net())}
    assert found == {
        ("user_net", "SCALE"): 2.0,
        ("user_net", "OPTIONS.gain"): 3.0,
        ("user_net", "HELD.offset"): 4,
        ("user_settings", "FACTOR"): 5,
        ("user_settings", "SHIFT"): [1, 2],
    }


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda net: setattr(net, "SCALE", 2.5), "the global 'SCALE'"),
        (lambda net: net.OPTIONS.update(gain=1.0), "the global 'OPTIONS.gain'"),
        (lambda net: setattr(net.HELD, "offset", 5), "the global 'HELD.offset'"),
        (lambda net: setattr(net.user_settings, "FACTOR", 6), "the global 'FACTOR'"),
        (lambda net: net.user_settings.SHIFT.append(3), "the global 'SHIFT'"),
        (lambda net: setattr(net, "UNUSED", 2), None),
    ],
)
def test_a_changed_global_is_named(user_net: Any, change: Any, what: str | None) -> None:
    module = user_net.Net()
    watched = locate_globals(module, globals_read(module))
    assert first_changed(watched) is None
    change(user_net)
    assert first_changed(watched) == what


def test_of_a_librarys_modules_none_is_read() -> None:
    from torch import nn

    assert globals_read(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2))) == ()
