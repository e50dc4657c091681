"""What a module does besides computing is found, and told with what to change."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cortex_compile.compiler.capture_modules import CapturedModule, capture_modules


class Predictor:
    def __init__(self, net: nn.Module) -> None:
        self.net = net


def capture(net: nn.Module, *arguments: Any) -> CapturedModule:
    (captured,) = capture_modules(
        Predictor(net), ModuleType("cortex_predictor"), Path(__file__).parent, lambda: net(*arguments)
    )
    return captured


class Forward(nn.Module):
    """A linear layer, and what ``extra`` does with the module and its argument."""

    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.history: list[float] = []
        self.extra = extra

    def forward(self, given: Any) -> torch.Tensor:
        x = given if isinstance(given, torch.Tensor) else given["x"] if isinstance(given, dict) else given.x
        result: torch.Tensor = self.layer(x)
        self.extra(self, given)
        return result


@dataclass
class Given:
    x: torch.Tensor
    seen: int = 0


def set_features(net: Any, x: Any) -> None:
    net.features = x * 2


def replace_buffer(net: Any, x: Any) -> None:
    net.mean = 0.9 * net.mean + 0.1


def set_number(net: Any, x: Any) -> None:
    net.layer.calls = len(vars(net.layer))


def fill_dict(net: Any, given: dict[str, Any]) -> None:
    given["y"] = given["x"] * 2


def count_in(net: Any, given: Given) -> None:
    given.seen += 1


@pytest.mark.parametrize(
    ("extra", "given", "words"),
    [
        (set_features, torch.ones(1, 2), "sets its own attribute 'features' in forward"),
        (set_number, torch.ones(1, 2), "sets its own attribute 'layer.calls' in forward"),
        (lambda net, x: net.history.append(1.0), torch.ones(1, 2), "sets its own attribute 'history'"),
        (replace_buffer, torch.ones(1, 2), "changes its own buffer 'mean' in forward; keep what it learns"),
        (lambda net, x: net.mean.add_(1), torch.ones(1, 2), "changes its own buffer 'mean' in forward"),
        (lambda net, x: net.layer.bias.data.add_(1), torch.ones(1, 2), None),
        (lambda net, x: random.random(), torch.ones(1, 2), "draws random numbers in forward; draw them in predict"),
        (lambda net, x: np.random.rand(), torch.ones(1, 2), "draws random numbers in forward"),
        (lambda net, x: torch.rand(1), torch.ones(1, 2), None),
        (lambda net, x: x.add_(1), torch.ones(1, 2), "changes its arguments in place; let it work on a copy"),
        (fill_dict, {"x": torch.ones(1, 2)}, "puts something into the dict, list or object that it is given"),
        (count_in, Given(torch.ones(1, 2)), "puts something into the dict, list or object"),
        (lambda net, x: None, torch.ones(1, 2), None),
        (lambda net, x: setattr(net, "history", net.history), torch.ones(1, 2), None),
    ],
)
def test_what_forward_does_besides_computing_is_told(extra: Any, given: Any, words: str | None) -> None:
    refused = capture(Forward(extra).eval(), given).refused
    assert (words or "None") in str(refused), refused


@pytest.mark.parametrize("net", [nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.BatchNorm1d(2)])
def test_training_mode_is_told_with_the_line_to_write(net: nn.Module) -> None:
    refused = capture(net, torch.ones(3, 2)).refused
    assert refused is not None
    assert refused.endswith("since it is in training mode; call predictor.net.eval() in __init__")


def test_autocast_is_told() -> None:
    net = nn.Linear(2, 2)
    with torch.autocast("cpu"):
        refused = capture(net, torch.ones(1, 2)).refused
    assert refused == "it is called inside torch.autocast, where a graph would not do the same; call it outside"


def test_watching_leaves_the_module_as_it_was() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    net[1].eval()
    net[0].weight.requires_grad = False
    net.register_forward_hook(lambda *_: None)
    net(torch.ones(3, 2)).sum().backward()
    before = [(name, id(tensor), tensor._version, tensor.requires_grad) for name, tensor in net.named_parameters()]
    before += [(name, id(tensor), tensor._version, False) for name, tensor in net.named_buffers()]
    gradients = [parameter.grad for parameter in net.parameters()]
    names = [set(vars(part)) for part in net.modules()]
    flags = [(part.training, len(part._forward_hooks), len(part._forward_pre_hooks)) for part in net.modules()]
    capture(net, torch.ones(3, 2))
    after = [(name, id(tensor), tensor._version, tensor.requires_grad) for name, tensor in net.named_parameters()]
    after += [(name, id(tensor), tensor._version, False) for name, tensor in net.named_buffers()]
    assert after == before
    assert all(mine is parameter.grad for mine, parameter in zip(gradients, net.parameters(), strict=True))
    assert [set(vars(part)) for part in net.modules()] == names
    assert [(part.training, len(part._forward_hooks), len(part._forward_pre_hooks)) for part in net.modules()] == flags
