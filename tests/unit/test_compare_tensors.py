from __future__ import annotations

import pytest
import torch

from cortex_compile.compiler.artifacts import Difference
from cortex_compile.compiler.compare_tensors import worst_difference

ONE = torch.ones(2, 2)
INFINITE = torch.tensor([float("inf"), 1.0])


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (ONE, ONE.double(), "dtype"),
        (ONE, torch.ones(2), "shape"),
        (torch.tensor([float("nan"), 1.0]), torch.tensor([1.0, 1.0]), "NaN"),
        (INFINITE, torch.tensor([1.0, 1.0]), "infinity"),
        (INFINITE, -INFINITE, "infinity"),
    ],
)
def test_another_kind_of_result_is_a_sentence(expected: torch.Tensor, found: torch.Tensor, words: str) -> None:
    difference = worst_difference([expected], [found], ["logits"])
    assert isinstance(difference, str)
    assert difference.startswith("logits: ")
    assert words in difference


def test_the_worst_element_is_named() -> None:
    found = ONE.clone()
    found[1, 0] = 1.5
    difference = worst_difference([ONE, ONE], [ONE, found], ["a", "b"])
    assert isinstance(difference, Difference)
    assert (difference.where, difference.index, difference.found) == ("b", (1, 0), 1.5)
    assert difference.excess > 1


def test_the_edge_of_the_tolerance() -> None:
    inside = worst_difference([ONE], [ONE + 1.0e-3], ["a"])
    outside = worst_difference([ONE], [ONE + 1.2e-3], ["a"])
    assert isinstance(inside, Difference)
    assert isinstance(outside, Difference)
    assert inside.excess <= 1 < outside.excess


def test_integers_are_equal_or_not() -> None:
    difference = worst_difference([torch.tensor([3])], [torch.tensor([4])], ["ids"])
    assert isinstance(difference, Difference)
    assert difference.excess > 1


def test_equal_infinities_are_equal() -> None:
    difference = worst_difference([INFINITE], [INFINITE], ["a"])
    assert isinstance(difference, Difference)
    assert difference.excess == 0


def test_another_number_of_results() -> None:
    assert worst_difference([ONE], [], []) == "it returned 0 tensors, eager 1"
