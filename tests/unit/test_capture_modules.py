"""What is recorded of a predictor's modules, and what is refused, in the user's terms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from cortex_compile.compiler.capture_modules import CapturedModule, capture_modules


class Predictor:
    def __init__(self, **names: Any) -> None:
        vars(self).update(names)


def capture(predictor: Predictor, use: Callable[[Any], Any]) -> dict[str, CapturedModule]:
    def answer() -> None:
        use(predictor)

    found = capture_modules(predictor, ModuleType("cortex_predictor"), Path(__file__).parent, answer)
    return {captured.path: captured for captured in found}


class TwoParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, double: bool = False) -> torch.Tensor:
        x = self.second(self.first(x))
        return x * 2 if double else x


class DrawsNumbers(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return x * 1.0


class WritesIntoItsArgument(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x.clone()


class ReturnsAView(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0]


class TakesASet(nn.Module):
    def forward(self, x: torch.Tensor, names: set[str]) -> torch.Tensor:
        return x * len(names)


def test_only_calls_from_outside_any_module_are_recorded() -> None:
    found = capture(Predictor(net=TwoParts()), lambda predictor: predictor.net(torch.ones(3, 2)))
    assert list(found) == ["predictor.net"]
    assert found["predictor.net"].called_from.startswith(f"{Path(__file__).name}:")


def test_a_part_called_by_itself_is_recorded() -> None:
    found = capture(Predictor(net=TwoParts()), lambda predictor: predictor.net.first(torch.ones(3, 2)))
    assert list(found) == ["predictor.net.first"]


def test_forward_called_directly_is_recorded_once() -> None:
    net = TwoParts()
    found = capture(Predictor(net=net), lambda predictor: predictor.net.forward(torch.ones(3, 2)))
    assert found["predictor.net"].count == 1
    assert "forward" not in vars(net)


def test_calls_are_grouped_by_signature_and_kept_by_shape() -> None:
    def use(predictor: Any) -> None:
        for size in (1, 2, 2, 3):
            predictor.net(torch.ones(size, 2))
        predictor.net(torch.ones(1, 2), double=True)

    (captured,) = capture(Predictor(net=TwoParts()), use).values()
    plain, doubled = captured.signatures.values()
    assert (plain.count, len(plain.calls)) == (4, 3)
    assert doubled.count == 1


def test_arguments_are_copied_before_the_call_and_results_after_it() -> None:
    def use(predictor: Any) -> None:
        x = torch.ones(1, 2)
        y = predictor.net(x)
        x.zero_()
        y.detach().zero_()

    (captured,) = capture(Predictor(net=TwoParts()), use).values()
    (signature,) = captured.signatures.values()
    assert signature.calls[0].arguments.tensors[0].tolist() == [[1.0, 1.0]]
    assert signature.calls[0].outputs[0].abs().sum() > 0


@pytest.mark.parametrize(
    ("net", "use", "words"),
    [
        (DrawsNumbers().eval(), lambda p: p.net(torch.ones(1, 2)), "draws random numbers in forward"),
        (nn.Dropout(), lambda p: p.net(torch.ones(1, 2)), "training mode; call predictor.net.eval()"),
        (Counts(), lambda p: p.net(torch.ones(1, 2)), "changes its own buffer 'seen'"),
        (WritesIntoItsArgument(), lambda p: p.net(torch.ones(1, 2)), "changes its arguments in place"),
        (ReturnsAView(), lambda p: p.net(torch.ones(1, 2)), "shares memory with an argument"),
        (nn.Identity(), lambda p: p.net(torch.ones(1, 2)), "returns no tensor of its own"),
        (TakesASet(), lambda p: p.net(torch.ones(1, 2), {"a"}), "0.1 is a set"),
        (nn.Linear(2, 2).bfloat16(), lambda p: p.net(torch.ones(1, 2).bfloat16()), "bfloat16"),
    ],
)
def test_what_no_graph_can_stand_in_for_is_refused(net: nn.Module, use: Any, words: str) -> None:
    (captured,) = capture(Predictor(net=net), use).values()
    assert captured.refused is not None
    assert words in captured.refused


def test_a_hook_on_a_part_is_a_reason() -> None:
    net = TwoParts()
    net.first.register_forward_hook(lambda *_: None)
    (captured,) = capture(Predictor(net=net), lambda predictor: predictor.net(torch.ones(1, 2))).values()
    assert captured.refused is not None
    assert "'first' has a hook" in captured.refused


def test_a_module_that_nothing_leads_to_is_told() -> None:
    (captured,) = capture(Predictor(), lambda _: nn.Linear(2, 2)(torch.ones(1, 2))).values()
    assert captured.refused is not None
    assert "leads to it" in captured.refused


def test_the_class_is_left_as_it_was() -> None:
    before = nn.Module.__call__
    with pytest.raises(ZeroDivisionError):
        capture(Predictor(net=TwoParts()), lambda _: 1 / 0)
    assert nn.Module.__call__ is before
