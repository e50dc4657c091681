"""Which calls may be filled up: functions of ids and a mask, each of which minds it in one place, or does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from cortex_compile.compiler.artifacts import PaddingVerdict
from cortex_compile.compiler.compare_runs import Run
from cortex_compile.compiler.find_positions import find_positions
from cortex_compile.compiler.read_limits import ModuleLimits
from cortex_compile.compiler.tensor_sizes import find_families
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.compiler.verify_numerics import Proof, verify_numerics
from cortex_compile.python_backend.manifest import PaddedAxis

Function = Callable[..., Sequence[torch.Tensor]]


def ids(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    found = torch.randint(3, 50, shape, generator=generator)
    found[..., 0], found[..., -1] = 3, 49
    return found


def prove(
    function: Function,
    *calls: Sequence[torch.Tensor],
    compiled: Function | None = None,
    pad_value: int | None = None,
) -> Proof:
    families = find_families(calls)
    dimensions = {f"size{number}": family for number, family in enumerate(families)}
    names = ["ids", "mask", "more"][: len(calls[0])]

    def run(function: Function) -> Run:
        return lambda tensors: function(*(tensor.clone() for tensor in tensors))

    positions = find_positions(calls, families)
    limits = ModuleLimits((), pad_value)
    outputs = [f"y{number}" for number in range(len(function(*calls[0])))]
    graph = run(compiled or function)
    return verify_numerics(run(function), graph, calls, dimensions, positions, names, outputs, Tolerances(), limits)


def along_the_length(proof: Proof) -> PaddingVerdict:
    assert proof.verdict.equal, proof.verdict.reason
    (verdict,) = proof.verdict.padding
    return verdict


CALLS = ([ids(2, 5), torch.ones(2, 5, dtype=torch.int64)], [ids(2, 11), torch.ones(2, 11, dtype=torch.int64)])


def masked_sum_and_states(ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    return [(ids * mask).sum(1, keepdim=True).float(), (ids * mask).float()[:, None]]


def test_what_a_mask_hides_may_be_filled_up() -> None:
    proof = prove(masked_sum_and_states, *CALLS)
    verdict = along_the_length(proof)
    assert (verdict.safe, verdict.mask) == (True, "mask")
    (spec,) = proof.paddings
    assert spec.fills == {"ids": 3}, "no other value than the samples have"
    assert spec.outputs == (PaddedAxis("y1", 2, 0),)
    assert spec.largest == 4096
    assert spec.buckets[0] == 8
    assert proof.verdict.batch_dimension is not None


@pytest.mark.parametrize(("stated", "used"), [(17, 17), (1, 3), (50, 3)])
def test_the_pad_value_that_a_module_states_is_used_where_it_is_one_of_the_samples(stated: int, used: int) -> None:
    (spec,) = prove(masked_sum_and_states, *CALLS, pad_value=stated).paddings
    assert spec.fills == {"ids": used}


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda ids, mask: [ids.float().mean(1, keepdim=True)], id="the mask is not minded"),
        pytest.param(lambda ids, mask: [ids.amax(1, keepdim=True)], id="only a fill larger than all others is seen"),
        pytest.param(lambda ids, mask: [(ids * mask).float().mean(1, keepdim=True)], id="the length is counted"),
        pytest.param(lambda ids, mask: [ids.flip(1) * mask], id="seen from its end"),
        pytest.param(lambda ids, mask: [ids[:, -1:] * mask[:, :1]], id="the last one"),
        pytest.param(lambda ids, mask: [(ids * mask).sum(1, keepdim=True) + (ids.shape[1] > 4000)], id="far away only"),
    ],
)
def test_what_the_filling_changes_may_not(function: Function) -> None:
    verdict = along_the_length(prove(function, *CALLS))
    assert not verdict.safe
    assert "filled up to" in verdict.reason


def test_what_holds_other_numbers_than_ones_and_zeros_is_no_mask() -> None:
    verdict = along_the_length(prove(masked_sum_and_states, *([call[0], call[1] * 2] for call in CALLS)))
    assert (verdict.safe, verdict.reason) == (False, "no input that has it is a mask of ones and zeros")


def test_two_dimensions_that_are_safe_alone_only_are_not_filled_up_together() -> None:
    def function(ids: torch.Tensor, mask: torch.Tensor, more: torch.Tensor) -> list[torch.Tensor]:
        return [(ids * mask).sum(1, keepdim=True) + more.sum(1, keepdim=True)]

    def wrong_together(ids: torch.Tensor, mask: torch.Tensor, more: torch.Tensor) -> list[torch.Tensor]:
        """Right for every size of one of them while the other is as in the first sample."""
        (found,) = function(ids, mask, more)
        return [found + (ids.shape[1] == 6 and more.shape[1] == 7)]

    ones = torch.ones
    calls = [[ids(2, n), ones(2, n, dtype=torch.int64), ones(2, m, dtype=torch.int64)] for n, m in ((5, 6), (11, 8))]
    assert len(prove(function, *calls).paddings) == 2
    proof = prove(function, *calls, compiled=wrong_together)
    assert [spec.dimension for spec in proof.paddings] == ["size1"]
    first, second = proof.verdict.padding
    assert first.safe
    assert not second.safe
    assert "not together with 'size1'" in second.reason
