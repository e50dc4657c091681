"""What a proof covers: sizes, values, rows. The graphs here are plain functions, wrong in one known place each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from cortex_compile.compiler import prove_sizes
from cortex_compile.compiler.find_positions import find_positions
from cortex_compile.compiler.read_limits import ModuleLimits, read_limits
from cortex_compile.compiler.tensor_sizes import find_families
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.compiler.verify_numerics import Proof, verify_numerics

Function = Callable[[torch.Tensor], torch.Tensor]
NOTHING_STATED = ModuleLimits()


def prove(eager: Function, compiled: Function, *calls: torch.Tensor, limits: ModuleLimits = NOTHING_STATED) -> Proof:
    recorded = [[call] for call in calls]
    families = find_families(recorded)
    dimensions = {f"size{number}": family for number, family in enumerate(families)}

    def run(function: Function) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]:
        return lambda tensors: [function(tensors[0].clone())]

    positions = find_positions(recorded, families)
    return verify_numerics(
        run(eager), run(compiled), recorded, dimensions, positions, ["x"], ["y"], Tolerances(), limits
    )


def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def up_to_511(x: torch.Tensor) -> torch.Tensor:
    if x.shape[1] > 511:
        raise IndexError("no more positions")
    return x * 2


def wrong_from(size: int) -> Function:
    return lambda x: x * 3 if x.shape[1] >= size else x * 2


def test_what_the_model_itself_cannot_do_bounds_the_proof() -> None:
    proof = prove(up_to_511, double, torch.randn(2, 7))
    assert proof.verdict.equal
    ranges = {(dimension.minimum, dimension.maximum) for dimension in proof.dimensions}
    assert ranges == {(0, 64), (0, 511)}


def test_a_size_at_which_the_graph_goes_wrong_bounds_the_proof() -> None:
    proof = prove(double, wrong_from(101), torch.randn(2, 7))
    assert proof.verdict.equal
    assert max(dimension.maximum for dimension in proof.dimensions) == 100
    assert proof.verdict.worst is not None
    assert proof.verdict.worst.excess == 0


def test_a_graph_that_is_wrong_between_the_samples_sizes_is_refused() -> None:
    proof = prove(double, lambda x: x * 3 if 8 < x.shape[1] < 16 else x * 2, torch.randn(2, 4), torch.randn(2, 20))
    assert not proof.verdict.equal
    assert "size 12" in proof.verdict.reason


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (lambda x: x * 2 if x.sum() > 0 else x - 1, "times the tolerance"),
        (lambda x: x.abs() * 2, "times the tolerance"),
        (lambda x: x.clamp(max=3) * 2, "times the tolerance"),
        (lambda x: (x * 2).double(), "dtype"),
        (lambda x: (x * 2)[:, :-1], "shape"),
        (lambda x: 1 / 0, "fails where eager answers: ZeroDivisionError: division by zero"),
    ],
)
def test_a_graph_that_is_right_on_the_sample_only_is_refused(graph: Function, words: str) -> None:
    proof = prove(double, graph, torch.rand(2, 5) + 0.5)
    assert not proof.verdict.equal
    assert words in proof.verdict.reason


def test_rows_that_see_each_other_are_no_batch() -> None:
    assert prove(double, double, torch.randn(2, 5)).verdict.batch_dimension is not None

    def centred(x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0, keepdim=True)

    assert prove(centred, centred, torch.randn(2, 5)).verdict.batch_dimension is None


def test_sizes_that_grow_together_stay_together() -> None:
    calls = [[torch.ones(1, past + 1), torch.ones(1, 4, past, 8)] for past in (3, 5, 9)]
    varied = [family for family in find_families(calls) if family.varied]
    (family,) = varied
    assert dict(family.axes) == {(0, 1): 1, (1, 2): 0}
    assert family.sizes(20) == {(0, 1): 21, (1, 2): 20}


def test_a_vector_that_counts_goes_on_counting() -> None:
    calls = [[torch.tensor([past]), torch.ones(1, 4, past, 8)] for past in (3, 5, 9)]
    (position,) = find_positions(calls, find_families(calls))
    assert position.family is not None
    assert position.values(calls[0], position.family.sizes(20)).tolist() == [20]
    assert position.values(calls[0], {}).tolist() == [3]


def test_a_vector_that_does_not_count_is_no_position() -> None:
    calls = [[torch.tensor([5, 3]), torch.ones(1, 2)], [torch.tensor([1, 9]), torch.ones(1, 3)]]
    assert find_positions(calls, find_families(calls)) == ()


def test_what_eager_itself_cannot_tell_apart_is_excused_far_from_the_samples_only() -> None:
    """A step so steep that rounding decides on which side of it a number falls."""

    def steep(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh((x - 30) * 1e6)

    def steep_and_rounded_otherwise(x: torch.Tensor) -> torch.Tensor:
        return steep(x * (1 + 1e-7))

    near = torch.full((2, 3), 30.0)
    proof = prove(steep, steep_and_rounded_otherwise, near)
    assert not proof.verdict.equal
    assert "recorded call 0" in proof.verdict.reason
    far = torch.zeros(2, 3)
    far[0, 0] = 1.0
    assert prove(steep, lambda x: steep(x) + 0.01, far).verdict.equal is False


def test_sizes_0_and_1_and_the_largest_are_tried_and_said() -> None:
    def at_least_one(x: torch.Tensor) -> torch.Tensor:
        return x - x.amax(1, keepdim=True)  # torch refuses the largest of nothing

    (batch, length) = prove(at_least_one, at_least_one, torch.randn(2, 7), torch.randn(3, 9)).verdict.bounds
    assert (batch.minimum, batch.maximum) == (0, 64)
    assert (length.minimum, length.maximum) == (1, 4096)
    assert "on size 0 the module itself fails (IndexError: amax" in length.why_no_smaller
    assert "4096" in length.why_no_larger


def test_a_graph_that_fails_on_nothing_alone_is_used_for_something() -> None:
    def needs_a_row(x: torch.Tensor) -> torch.Tensor:
        if x.numel() == 0 and x.shape[0] + x.shape[1] == 0:
            raise ValueError("nothing at all")
        return x * 2

    proof = prove(double, needs_a_row, torch.randn(2, 7))
    assert proof.verdict.equal
    assert [dimension.minimum for dimension in proof.dimensions] == [1, 1]


def test_a_sample_that_is_empty_is_resized() -> None:
    proof = prove(double, double, torch.zeros(1, 0), torch.zeros(1, 3))
    assert proof.verdict.equal, proof.verdict.reason
    assert all(dimension.minimum == 0 for dimension in proof.dimensions)


class Positioned(torch.nn.Module):
    def __init__(self, positions: int) -> None:
        super().__init__()
        self.config = type("Config", (), {})()
        self.config.max_position_embeddings = positions
        self.config.hidden_size = 300
        self.config.pad_token_id = 1
        self.position_embeddings = torch.nn.Embedding(positions + 2, 4)


def test_what_a_module_states_is_tried_and_so_is_the_next_size() -> None:
    limits = read_limits(Positioned(300))
    assert [(each.size, each.where) for each in limits.sizes] == [
        (300, "config.max_position_embeddings"),
        (302, "position_embeddings.weight"),
    ]
    assert limits.pad_value == 1
    (size, _) = read_limits(torch.nn.Sequential(Positioned(300))).sizes
    assert (size.size, size.where) == (300, "0.config.max_position_embeddings")

    def ends(x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] > 300:
            raise IndexError("no more positions")
        return x * 2

    proof = prove(ends, double, torch.randn(2, 7), torch.randn(3, 9), limits=limits)
    bounds = proof.verdict.bounds[1]
    assert bounds.maximum == 300
    assert bounds.why_no_larger == (
        "on size 301 the module itself fails (IndexError: no more positions);"
        " it states config.max_position_embeddings = 300"
    )
    tried = proof.verdict.sizes_tried["size1"]
    assert 287 not in tried
    assert proof.verdict.calls_compared < 60


def test_a_size_that_would_take_too_long_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove_sizes, "SLOWEST_S", -1.0)
    proof = prove(double, double, torch.randn(2, 7), torch.randn(3, 9), limits=read_limits(Positioned(300)))
    (batch, length) = proof.verdict.bounds
    assert (batch.maximum, length.maximum) == (64, 303)
    assert "size 351 was not tried, since comparing it would take about" in length.why_no_larger
    monkeypatch.setattr(prove_sizes, "SLOWEST_END_S", -1.0)
    proof = prove(double, double, torch.randn(2, 7), torch.randn(3, 9), limits=read_limits(Positioned(300)))
    assert [each.maximum for each in proof.verdict.bounds] == [4, 10]


def test_why_rows_are_no_batch_is_said() -> None:
    def centred(x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0, keepdim=True)

    def one_row_for_all(x: torch.Tensor) -> torch.Tensor:
        return x[:1]

    assert "row 0 of 5" in prove(centred, centred, torch.randn(2, 5)).verdict.batch_reason
    assert "an output has no row" in prove(one_row_for_all, one_row_for_all, torch.randn(2, 5)).verdict.batch_reason
