"""Padding safety: a call filled up to a larger size, what was added hidden by its mask, gives the same as before.

That lets calls of unlike lengths share a batch. The graph on a filled-up call is compared with the module itself on the
call as it was, so nothing rests on what the mask is believed to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cortex_compile.compiler.artifacts import PaddingVerdict, SizeBounds
from cortex_compile.compiler.choose_buckets import choose_buckets
from cortex_compile.compiler.compare_runs import Bench, EagerFails, Unequal
from cortex_compile.compiler.tensor_sizes import Family
from cortex_compile.python_backend.manifest import PaddedAxis, PaddingSpec
from cortex_compile.python_backend.padding import Padding, TensorAxis

if TYPE_CHECKING:
    import torch

Calls = Sequence[Sequence["torch.Tensor"]]
Fills = dict[int, int | float]

FEWEST_LENGTHS = 3


@dataclass(frozen=True)
class ProvenPadding:
    """A verdict, and where it is safe what to write down and what does it."""

    verdict: PaddingVerdict
    spec: PaddingSpec | None = None
    padding: Padding | None = None


def prove_padding(
    bench: Bench,
    family: Family,
    bounds: SizeBounds,
    calls: Calls,
    input_names: Sequence[str],
    pad_value: int | None,
    deadline: float,
) -> ProvenPadding:
    """
    Args:
        bounds: sizes that the graph was proven for.
        pad_value: what the module says that it pads with.
        deadline: on ``time.process_time``'s clock; only what was compared until then counts.
    """
    masks = sorted(_masks(family, calls), key=lambda index: "mask" not in input_names[index])
    obstacle = _obstacle(bench, family, bounds, calls, masks)
    if obstacle is not None:
        return ProvenPadding(PaddingVerdict(bounds.dimension, False, None, obstacle))
    reasons = []
    for mask in masks:
        fills, other_fills = _fills(family, calls, mask, pad_value)
        trial = _Trial(bench, family, calls[0], mask)
        try:
            for size, larger in _steps(family, bounds, calls):
                if time.process_time() > deadline:
                    break
                for number, each in enumerate((fills, other_fills)):
                    trial.compare(size, larger, each, seed=size + number)
        except (EagerFails, Unequal) as error:
            reasons.append(str(error))
            continue
        if len(trial.sizes) < FEWEST_LENGTHS:
            reasons.append("comparing had taken its time already")
            continue
        return _safe(bench, bounds, family, calls, input_names, trial, fills)
    return ProvenPadding(PaddingVerdict(bounds.dimension, False, input_names[masks[0]], reasons[0]))


def why_not_together(
    bench: Bench, call: Sequence[torch.Tensor], families: Sequence[Family], paddings: Sequence[Padding]
) -> str:
    """Safe one by one need not be safe together. A sentence, or ""."""
    sizes = {axis: size for family in families for axis, size in family.sizes(family.size_in(call)).items()}
    inputs = bench.inputs(call, sizes, "random", 6)

    def run(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        arrays = [tensor.numpy() for tensor in tensors]
        held = [padding.size_of(arrays) for padding in paddings]
        for padding, size in zip(paddings, held, strict=True):
            arrays = padding.fill_up(arrays, size + 1)
        results = [tensor.numpy() for tensor in bench.compiled(_tensors(arrays))]
        for padding, size in zip(paddings, held, strict=True):
            results = padding.cut(results, size)
        return _tensors(results)

    try:
        bench.compare_with(bench.run_eager(inputs), run, inputs, "all filled up together")
    except (EagerFails, Unequal) as error:
        return str(error)
    return ""


def _obstacle(bench: Bench, family: Family, bounds: SizeBounds, calls: Calls, masks: Sequence[int]) -> str | None:
    import torch

    if not masks:
        return "no input that has it is a mask of ones and zeros"
    if any(position.family == family or (position.index, 0) in family.members for position in bench.positions):
        return "an input counts along it"
    if bounds.maximum - max(bounds.minimum, 1) < FEWEST_LENGTHS:
        return f"it was proven for fewer than {FEWEST_LENGTHS} lengths that can be filled up"
    if any(tensor.dtype == torch.bfloat16 for tensor in calls[0]):
        return "numpy, which carries filled-up calls, has no bfloat16"
    return None


def _masks(family: Family, calls: Calls) -> Iterator[int]:
    """Inputs that have the dimension and hold nothing but ones and zeros, and some ones."""
    for index in sorted({index for index, _ in family.members}):
        tensors = [call[index] for call in calls if call[index].numel()]
        only_those = all(bool(((tensor == 0) | (tensor == 1)).all()) for tensor in tensors)
        if only_those and any(bool((tensor == 1).any()) for tensor in tensors):
            yield index


def _fills(family: Family, calls: Calls, mask: int, pad_value: int | None) -> tuple[Fills, Fills]:
    """What to fill up with when served, and something else, to see that it does not matter. Nothing outside the values
    that the samples have: an index beyond a table would be another matter."""
    chosen: Fills = {}
    other: Fills = {}
    for index in {index for index, _ in family.members} - {mask}:
        tensors = [call[index] for call in calls if call[index].numel()]
        if tensors[0].is_floating_point():
            chosen[index] = 0.0
            other[index] = max(float(tensor.abs().max()) for tensor in tensors) or 1.0
            continue
        lowest = min(int(tensor.min()) for tensor in tensors)
        highest = max(int(tensor.max()) for tensor in tensors)
        stated = pad_value is not None and lowest <= pad_value <= highest
        chosen[index] = pad_value if stated and pad_value is not None else lowest
        other[index] = highest if highest != chosen[index] else lowest
    return chosen, other


def _steps(family: Family, bounds: SizeBounds, calls: Calls) -> list[tuple[int, int]]:
    """(length, what it is filled up to), the cheap ones first."""
    smallest, largest = max(bounds.minimum, 1), bounds.maximum
    seen = {family.size_in(call) for call in calls}
    wanted = {smallest, smallest + 1, min(seen), max(seen), (smallest + largest) // 2, largest - 1}
    lengths = sorted(size for size in wanted if smallest <= size < largest)
    by_one = [(size, size + 1) for size in lengths]
    doubled = [(size, min(size * 2 + 3, largest)) for size in lengths]
    whole = [(size, largest) for size in (lengths[0], lengths[-1])]
    return sorted(dict.fromkeys(by_one + doubled + whole), key=lambda step: step[1])


def _safe(
    bench: Bench,
    bounds: SizeBounds,
    family: Family,
    calls: Calls,
    input_names: Sequence[str],
    trial: _Trial,
    fills: Fills,
) -> ProvenPadding:
    padding = trial.padding(fills)
    mask = input_names[padding.mask]
    spec = PaddingSpec(
        dimension=bounds.dimension,
        mask=mask,
        fills={input_names[index]: value for index, value in sorted(fills.items())},
        outputs=tuple(PaddedAxis(bench.output_names[index], axis, offset) for index, axis, offset in padding.outputs),
        largest=trial.largest,
        buckets=choose_buckets([family.size_in(call) for call in calls], trial.largest),
    )
    words = f"{len(trial.sizes)} lengths, filled up to as many as {trial.largest} with two values each"
    return ProvenPadding(PaddingVerdict(bounds.dimension, True, mask, words), spec, padding)


class _Trial:
    """Fills calls up along one dimension and compares; learns where it stands in the results."""

    def __init__(self, bench: Bench, family: Family, call: Sequence[torch.Tensor], mask: int) -> None:
        self._bench = bench
        self._family = family
        self._call = call
        self._mask = mask
        self._outputs: tuple[TensorAxis, ...] | None = None
        self.sizes: set[int] = set()
        self.largest = 0

    def padding(self, fills: Fills) -> Padding:
        inputs = tuple((index, axis, offset) for (index, axis), offset in self._family.axes)
        return Padding(inputs, self._outputs or (), self._mask, fills)

    def compare(self, size: int, larger: int, fills: Fills, seed: int) -> None:
        """
        Raises:
            EagerFails: the module cannot do the call as it was.
            Unequal: filled up, the graph answers otherwise.
        """
        inputs = self._bench.inputs(self._call, self._family.sizes(size), "random", seed)
        expected = self._bench.run_eager(inputs)

        def run(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
            arrays = self.padding(fills).fill_up([tensor.numpy() for tensor in tensors], larger)
            found = self._bench.compiled(_tensors(arrays))
            self._find_outputs(expected, found, size)
            return _tensors(self.padding(fills).cut([tensor.numpy() for tensor in found], size))

        self._bench.compare_with(expected, run, inputs, f"{size} filled up to {larger}")
        self.sizes.add(size)
        self.largest = max(self.largest, larger)

    def _find_outputs(self, expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor], size: int) -> None:
        """An axis that became longer has the dimension, always the same ones and always by as much."""
        axes = tuple(
            (index, axis, before - size)
            for index, (mine, theirs) in enumerate(zip(expected, found, strict=True))
            for axis, (before, after) in enumerate(zip(mine.shape, theirs.shape, strict=True))
            if before != after
        )
        if self._outputs not in (None, axes):
            raise ValueError("its results do not grow as its inputs do")
        self._outputs = axes


def _tensors(arrays: Sequence[Any]) -> list[torch.Tensor]:
    import torch

    return [torch.from_numpy(array) for array in arrays]
