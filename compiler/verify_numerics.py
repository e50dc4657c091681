"""Prove a graph equal to its module: on the samples, on other values and sizes, row by row, and filled up.

Every comparison is against the module itself, run eager on the same inputs. The first one that fails refuses the
graph; what eager itself cannot do (a longer text than there are positions) bounds the sizes that count as proven.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cortex_compile.compiler.artifacts import Verdict
from cortex_compile.compiler.compare_runs import Bench, EagerFails, Run, Unequal
from cortex_compile.compiler.find_positions import Positions
from cortex_compile.compiler.prove_padding import ProvenPadding, prove_padding, why_not_together
from cortex_compile.compiler.prove_rows import why_rows_depend
from cortex_compile.compiler.prove_sizes import ProvenSizes, prove_sizes
from cortex_compile.compiler.read_limits import ModuleLimits
from cortex_compile.compiler.tensor_sizes import Axis, Family, Values
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.python_backend.manifest import Dimension, PaddingSpec

if TYPE_CHECKING:
    import torch

Calls = Sequence[Sequence["torch.Tensor"]]

# Of the processor's time. What is not proven until then does not count.
SIZES_BUDGET_S = 60.0
PADDING_BUDGET_S = 20.0
# No size is larger when all vary at once.
LARGEST_TOGETHER = 17


@dataclass(frozen=True)
class Proof:
    """The verdict, the sizes it holds for, and along which of them calls may be filled up."""

    verdict: Verdict
    dimensions: tuple[Dimension, ...]
    paddings: tuple[PaddingSpec, ...] = ()


def verify_numerics(
    eager: Run,
    compiled: Run,
    calls: Calls,
    dimensions: Mapping[str, Family],
    positions: Sequence[Positions],
    input_names: Sequence[str],
    output_names: Sequence[str],
    tolerances: Tolerances,
    limits: ModuleLimits,
    may_share_batches: bool = True,
) -> Proof:
    """
    Args:
        calls: the tensors of the recorded calls, each of another shape.
        dimensions: the sizes that the graph lets vary, by name.
        positions: the vectors among the inputs that count and are given no other values.
        limits: what the module says of itself.
        may_share_batches: whether to prove what lets calls of several requests run as one.
    """
    bench = Bench(eager, compiled, output_names, positions, tolerances)
    batch = next((name for name, family in dimensions.items() if family.is_batch), None)
    deadline = time.process_time() + SIZES_BUDGET_S
    sizes: dict[str, ProvenSizes] = {}
    try:
        _compare_recorded(bench, calls)
        _compare_values(bench, calls[0])
        for name, family in dimensions.items():
            sizes[name] = prove_sizes(bench, name, family, calls, limits.sizes, deadline, limits.least)
        sizes = _compare_together(bench, calls[0], dimensions, sizes)
    except Unequal as error:
        worst = error.difference or bench.worst
        tried = {name: each.equal for name, each in sizes.items()}
        return Proof(Verdict(False, str(error), bench.compared, worst, tried, None, bench.excused), ())
    depends, paddings = "it is called for every token, inside the predictor's process", list[ProvenPadding]()
    if tolerances.are_rough:
        depends = "with less precision a row is rounded by what else is in its batch"
    elif may_share_batches:
        depends = why_rows_depend(
            bench, calls[0], dimensions.get(batch or ""), sizes[batch].bounds.maximum if batch else 1, input_names
        )
        paddings = _prove_paddings(bench, calls, dimensions, sizes, input_names, limits)
    verdict = Verdict(
        equal=True,
        reason="",
        calls_compared=bench.compared,
        worst=bench.worst,
        sizes_tried={name: each.equal for name, each in sizes.items()},
        batch_dimension=None if depends else batch,
        excused=bench.excused,
        bounds=tuple(each.bounds for each in sizes.values()),
        batch_reason=depends,
        padding=tuple(each.verdict for each in paddings),
    )
    proven = tuple(Dimension(name, each.bounds.minimum, each.bounds.maximum) for name, each in sizes.items())
    return Proof(verdict, proven, tuple(each.spec for each in paddings if each.spec is not None))


def _compare_recorded(bench: Bench, calls: Calls) -> None:
    for number, call in enumerate(calls):
        try:
            bench.compare(call, f"recorded call {number}", may_excuse=False)
        except EagerFails as error:
            raise Unequal(f"eager itself fails when recorded call {number} is repeated ({error})") from error


def _compare_values(bench: Bench, call: Sequence[torch.Tensor]) -> None:
    kinds: tuple[Values, ...] = ("random", "wide", "positive", "negative")
    for values in kinds:
        for seed in (1, 2):
            _compare_where_eager_can(bench, bench.inputs(call, {}, values, seed), f"{values} values")


def _compare_where_eager_can(bench: Bench, inputs: Sequence[torch.Tensor], what: str) -> None:
    try:
        bench.compare(inputs, what)
    except EagerFails:
        return


def _compare_together(
    bench: Bench, call: Sequence[torch.Tensor], dimensions: Mapping[str, Family], sizes: dict[str, ProvenSizes]
) -> dict[str, ProvenSizes]:
    """Sizes that hold one by one need not hold together. Returns the sizes: without 0, where the zeros do not.

    Raises:
        Unequal: they do not.
    """

    def compare(smaller: bool) -> None:
        chosen: dict[Axis, int] = {}
        for name, each in sizes.items():
            size = each.bounds.minimum if smaller else min(each.bounds.maximum, LARGEST_TOGETHER)
            chosen |= dimensions[name].sizes(size)
        _compare_where_eager_can(bench, bench.inputs(call, chosen, "random", 3), "all sizes together")

    compare(smaller=False)
    try:
        compare(smaller=True)
    except Unequal as error:
        empty = [name for name, each in sizes.items() if each.bounds.minimum == 0]
        if not empty:
            raise
        sizes = sizes | {name: _without_zero(sizes[name], str(error)) for name in empty}
        compare(smaller=True)
    return sizes


def _without_zero(sizes: ProvenSizes, reason: str) -> ProvenSizes:
    equal = tuple(size for size in sizes.equal if size > 0)
    return ProvenSizes(replace(sizes.bounds, minimum=min(equal), why_no_smaller=reason), equal)


def _prove_paddings(
    bench: Bench,
    calls: Calls,
    dimensions: Mapping[str, Family],
    sizes: Mapping[str, ProvenSizes],
    input_names: Sequence[str],
    limits: ModuleLimits,
) -> list[ProvenPadding]:
    deadline = time.process_time() + PADDING_BUDGET_S
    found = [
        prove_padding(bench, family, sizes[name].bounds, calls, input_names, limits.pad_value, deadline)
        for name, family in dimensions.items()
        if not family.is_batch and sizes[name].bounds.minimum < sizes[name].bounds.maximum
    ]
    safe = [each for each in found if each.padding is not None]
    if len(safe) < 2:
        return found
    families = [dimensions[each.verdict.dimension] for each in safe]
    reason = why_not_together(bench, calls[0], families, [each.padding for each in safe if each.padding is not None])
    if not reason:
        return found
    reason = f"not together with {safe[0].verdict.dimension!r}: {reason}"
    others = [ProvenPadding(replace(each.verdict, safe=False, reason=reason)) for each in safe[1:]]
    return [each for each in found if each not in safe[1:]] + others
