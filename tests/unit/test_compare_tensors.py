from __future__ import annotations

import pytest
import torch

from cortex_compile.compiler.artifacts import Difference
from cortex_compile.compiler.compare_tensors import worst_difference
from cortex_compile.compiler.tolerances import Tolerance, Tolerances

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
    difference = worst_difference([expected], [found], ["logits"], Tolerances())
    assert isinstance(difference, str)
    assert difference.startswith("logits: ")
    assert words in difference


def test_the_worst_element_is_named() -> None:
    found = ONE.clone()
    found[1, 0] = 1.5
    difference = worst_difference([ONE, ONE], [ONE, found], ["a", "b"], Tolerances())
    assert isinstance(difference, Difference)
    assert (difference.where, difference.index, difference.found) == ("b", (1, 0), 1.5)
    assert difference.excess > 1


def test_the_edge_of_the_tolerance() -> None:
    inside = worst_difference([ONE], [ONE + 1.0e-3], ["a"], Tolerances())
    outside = worst_difference([ONE], [ONE + 1.2e-3], ["a"], Tolerances())
    assert isinstance(inside, Difference)
    assert isinstance(outside, Difference)
    assert inside.excess <= 1 < outside.excess


def test_integers_are_equal_or_not() -> None:
    difference = worst_difference([torch.tensor([3])], [torch.tensor([4])], ["ids"], Tolerances())
    assert isinstance(difference, Difference)
    assert difference.excess > 1


def test_equal_infinities_are_equal() -> None:
    difference = worst_difference([INFINITE], [INFINITE], ["a"], Tolerances())
    assert isinstance(difference, Difference)
    assert difference.excess == 0


def test_another_number_of_results() -> None:
    assert worst_difference([ONE], [], [], Tolerances()) == "it returned 0 tensors, eager 1"


def test_another_tolerance() -> None:
    wider = Tolerances(float32=Tolerance(0.0, 0.01))
    difference = worst_difference([ONE], [ONE + 9e-3], ["a"], wider)
    assert isinstance(difference, Difference)
    assert 0.8 < difference.excess <= 1
    of_float64 = worst_difference([ONE.double()], [ONE.double() + 9e-3], ["a"], wider)
    assert isinstance(of_float64, Difference)
    assert of_float64.excess > 1


def test_what_is_looser_than_the_default_is_named() -> None:
    assert list(Tolerances().looser_than(Tolerances())) == []
    tighter_and_looser = Tolerances(float32=Tolerance(1e-6, 1e-2), float16=Tolerance(0.5, 0.0))
    assert list(tighter_and_looser.looser_than(Tolerances())) == ["float32 relative 0.01", "float16 absolute 0.5"]


def test_with_less_precision_the_norm_decides_and_not_one_element() -> None:
    rough = Tolerances().at_precision("int8")
    expected = torch.ones(100)
    outlier, zeros = expected.clone(), torch.zeros(100)
    outlier[7] = 6.0
    assert worst_difference([expected], [outlier], ["y"], Tolerances()).excess > 1  # type: ignore[union-attr]
    found = worst_difference([expected], [outlier], ["y"], rough)
    assert isinstance(found, Difference)
    assert (found.index, found.absolute) == ((7,), 5.0)
    assert found.excess == pytest.approx(5 / (0.7 * 10))
    assert worst_difference([expected], [zeros], ["y"], rough).excess > 1  # type: ignore[union-attr]
    assert worst_difference([expected], [expected], ["y"], rough).excess == 0  # type: ignore[union-attr]
