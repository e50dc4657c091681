"""Calls that a graph must take as the module did, modules that none may stand in for, and modules left as they were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from cortex_compile.python_backend.exchange import ExchangedCore

from .compiling import Predictor, exchange_net

pytestmark = pytest.mark.usefixtures("any_speed_will_do")


@dataclass
class Given:
    x: torch.Tensor
    mask: torch.Tensor | None = None


class Scores(NamedTuple):
    logits: torch.Tensor
    best: torch.Tensor


@dataclass(frozen=True)
class Output:
    scores: Scores
    loss: torch.Tensor | None = None


class TakesAndGives(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, given: Given) -> Output:
        logits = self.layers(given.x)
        return Output(Scores(logits, logits.argmax(-1)))


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x - 1


def test_dataclasses_go_through_and_a_kept_forward_reaches_the_graph(tmp_path: Path) -> None:
    net = TakesAndGives()
    predictor = Predictor(net, run=net.forward)
    core = exchange_net(predictor, lambda: predictor.run(Given(torch.randn(2, 4))), tmp_path)  # type: ignore[attr-defined]
    assert isinstance(core, ExchangedCore), core
    given = Given(torch.randn(5, 4))
    expected = TakesAndGives.forward(net, given)
    for run in (predictor.run, net):  # type: ignore[attr-defined]
        found = run(given)
        assert (type(found), type(found.scores), found.loss) == (Output, Scores, None)
        torch.testing.assert_close(found.scores.logits, expected.scores.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.scores.best, expected.scores.best)
    assert core.counts.compiled == 2
    net(Given(torch.randn(5, 4), torch.ones(5)))
    assert sum(core.counts.eager.values()) == 1


def test_control_flow_on_values_is_told_with_its_line_and_what_to_change(tmp_path: Path) -> None:
    predictor = Predictor(Branches())
    reason = exchange_net(predictor, lambda: predictor.net(torch.rand(2, 4)), tmp_path)
    assert isinstance(reason, str)
    line = Branches.forward.__code__.co_firstlineno + 1
    assert f"depends on the values of a tensor ({Path(__file__).name}:{line} in forward)" in reason
    assert "torch.where" in reason


def test_compiling_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    net = TakesAndGives().eval()
    net.layers[1].train()
    net.layers[1].momentum = 0.0
    net.layers[0].weight.requires_grad = False
    net(Given(torch.randn(2, 4))).scores.logits.sum().backward()
    net.layers[1].eval()
    net.layers[3].train()  # a part without a difference between the modes
    net.register_forward_hook(lambda *_: None)
    before = state_of(net)
    predictor = Predictor.__new__(Predictor)
    predictor.net = net
    core = exchange_net(predictor, lambda: net(Given(torch.randn(2, 4))), tmp_path)
    assert isinstance(core, ExchangedCore), core
    del net.forward
    assert state_of(net) == before


def state_of(net: nn.Module) -> list[Any]:
    """Training flags, hooks, values and gradients of parameters, buffers, devices, and the names of all attributes."""
    found: list[Any] = []
    for part in net.modules():
        found.append((part.training, len(part._forward_hooks), len(part._forward_pre_hooks), sorted(vars(part))))
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        gradient = None if tensor.grad is None else tensor.grad.tolist()
        found.append((name, id(tensor), tensor.tolist(), tensor.requires_grad, gradient, tensor.device.type))
    return found
