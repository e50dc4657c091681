"""Prove a graph equal to its module: on the samples, on other sizes, on other values, and row by row.

Every comparison is against the module itself, run eager on the same inputs. The first one that fails refuses the
graph; what eager itself cannot do (a longer text than there are positions) bounds the sizes that count as proven.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cortex_compile.compiler.artifacts import Difference, Verdict
from cortex_compile.compiler.compare_tensors import worst_difference
from cortex_compile.compiler.find_positions import Positions, resize_call
from cortex_compile.compiler.tensor_sizes import Axis, Family, Values
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.python_backend.manifest import Dimension

if TYPE_CHECKING:
    import torch

Run = Callable[[Sequence["torch.Tensor"]], Sequence["torch.Tensor"]]
"""Tensors in the order of the signature, to the tensors of the result."""

LARGEST_BATCH = 64
LARGEST_SIZE = 4096
# Growing a size stops here; what is proven up to there is what counts.
SLOWEST_EAGER_S = 2.0
TIME_BUDGET_S = 60.0

# Far from what a model was made for it may be ill-conditioned: a softmax tips over, and rounding decides which way. So
# beyond the recorded calls a difference is excused if eager itself moves by at least a tenth of it when its inputs move
# by what rounding to float32 may cost. A graph that computes something else is not excused: eager stands still there.
ROUNDING = 1e-6
EXCUSED_FACTOR = 10.0


@dataclass(frozen=True)
class Proof:
    """The verdict, and the sizes it holds for."""

    verdict: Verdict
    dimensions: tuple[Dimension, ...]


class _Unequal(Exception):
    def __init__(self, reason: str, difference: Difference | None = None) -> None:
        super().__init__(reason)
        self.difference = difference


@dataclass
class _Bench:
    eager: Run
    compiled: Run
    output_names: Sequence[str]
    positions: Sequence[Positions]
    tolerances: Tolerances
    compared: int = 0
    excused: int = 0
    worst: Difference | None = None
    sizes: dict[str, set[int]] = field(default_factory=dict)

    def inputs(
        self, call: Sequence[torch.Tensor], sizes: Mapping[Axis, int], values: Values, seed: int
    ) -> Sequence[torch.Tensor]:
        return resize_call(call, sizes, self.positions, values, seed)

    def compare(self, inputs: Sequence[torch.Tensor], what: str, may_excuse: bool = True) -> bool:
        """True if equal, False if eager itself cannot do it.

        Raises:
            _Unequal: the graph fails or answers otherwise.
        """
        try:
            expected = self.eager(inputs)
        except Exception:
            return False
        self.compare_with(expected, inputs, what, may_excuse)
        return True

    def compare_with(
        self, expected: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor], what: str, may_excuse: bool
    ) -> None:
        try:
            found = self.compiled(inputs)
        except Exception as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise _Unequal(f"on {what} the graph fails where eager answers: {text[:300]}") from error
        difference = worst_difference(expected, found, self.output_names, self.tolerances)
        self.compared += 1
        if isinstance(difference, str):
            raise _Unequal(f"on {what}: {difference}")
        if (
            difference.excess > 1
            and may_excuse
            and difference.excess <= EXCUSED_FACTOR * self._own_movement(expected, inputs)
        ):
            self.excused += 1
            return
        if difference.excess > 1:
            raise _Unequal(
                f"on {what}: {difference.where}{list(difference.index)} is {difference.found:.7g}, eager says "
                f"{difference.expected:.7g}, {difference.excess:.3g} times the tolerance",
                difference,
            )
        if self.worst is None or difference.excess >= self.worst.excess:
            self.worst = difference

    def _own_movement(self, expected: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]) -> float:
        """How far eager's own result moves, in tolerances, when its inputs are rounded otherwise."""
        import torch

        generator = torch.Generator().manual_seed(5)
        moved = [
            tensor * (1 + ROUNDING * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor
            for tensor in inputs
        ]
        difference = worst_difference(expected, self.eager(moved), self.output_names, self.tolerances)
        return 0.0 if isinstance(difference, str) else difference.excess


def verify_numerics(
    eager: Run,
    compiled: Run,
    calls: Sequence[Sequence[torch.Tensor]],
    dimensions: dict[str, Family],
    positions: Sequence[Positions],
    output_names: Sequence[str],
    tolerances: Tolerances,
) -> Proof:
    """
    Args:
        calls: the tensors of the recorded calls, each of another shape.
        dimensions: the sizes that the graph lets vary, by name.
        positions: the vectors among the inputs that count and are given no other values.
    """
    bench = _Bench(eager, compiled, output_names, positions, tolerances)
    batch = next((name for name, family in dimensions.items() if family.is_batch), None)
    deadline = time.monotonic() + TIME_BUDGET_S
    try:
        for number, call in enumerate(calls):
            if not bench.compare(call, f"recorded call {number}", may_excuse=False):
                raise _Unequal(f"eager itself fails when recorded call {number} is repeated")
        _compare_values(bench, calls[0])
        proven = tuple(
            _prove_dimension(bench, name, family, calls, LARGEST_BATCH if name == batch else LARGEST_SIZE, deadline)
            for name, family in dimensions.items()
        )
        _compare_together(bench, calls[0], dimensions, proven)
        independent = batch is not None and _rows_are_independent(bench, calls[0], dimensions[batch])
    except _Unequal as error:
        bench.worst = error.difference or bench.worst
        return Proof(_verdict(bench, str(error), None), ())
    return Proof(_verdict(bench, "", batch if independent else None), proven)


def _verdict(bench: _Bench, reason: str, batch: str | None) -> Verdict:
    sizes = {name: tuple(sorted(tried)) for name, tried in bench.sizes.items()}
    return Verdict(not reason, reason, bench.compared, bench.worst, sizes, batch, bench.excused)


def _compare_values(bench: _Bench, call: Sequence[torch.Tensor]) -> None:
    kinds: tuple[Values, ...] = ("random", "wide", "positive", "negative")
    for values in kinds:
        for seed in (1, 2):
            bench.compare(bench.inputs(call, {}, values, seed), f"{values} values")


def _prove_dimension(
    bench: _Bench,
    name: str,
    family: Family,
    calls: Sequence[Sequence[torch.Tensor]],
    limit: int,
    deadline: float,
) -> Dimension:
    """Try sizes between the samples' own, smaller ones and ever larger ones; where all were equal is proven.

    Between the samples' sizes the graph must be equal. Beyond them, what eager cannot do or the graph does otherwise
    bounds the range, and a larger call runs eager.
    """
    seen = {family.size_in(call) for call in calls}
    tried = set(seen)

    def equal(size: int) -> bool:
        return bench.compare(bench.inputs(calls[0], family.sizes(size), "random", size), f"size {size} of {name}")

    def fits(size: int) -> bool:
        try:
            return equal(size)
        except _Unequal:
            return False

    middle = (min(seen) + max(seen)) // 2
    if middle not in seen and equal(middle):
        tried.add(middle)
    smallest = min(seen)
    for size in range(smallest - 1, 0, -1) if smallest <= 4 else (smallest - 1, 3, 2, 1):
        if not fits(size):
            break
        tried.add(size)
    for size in _growing(max(seen), limit):
        started = time.monotonic()
        if not fits(size):
            _bisect(max(tried), size, fits, tried)
            break
        tried.add(size)
        if time.monotonic() - started > SLOWEST_EAGER_S or time.monotonic() > deadline:
            break
    bench.sizes[name] = tried
    return Dimension(name, min(tried), max(tried))


def _growing(start: int, limit: int) -> Iterator[int]:
    size = start + 1
    while size < limit:
        yield size
        size = size * 2 + 1
    if start < limit:
        yield limit


def _bisect(good: int, bad: int, fits: Callable[[int], bool], tried: set[int]) -> None:
    """Find the largest size that fits: mostly the limit that the model itself states."""
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
            tried.add(middle)
        else:
            bad = middle


def _compare_together(
    bench: _Bench,
    call: Sequence[torch.Tensor],
    dimensions: dict[str, Family],
    proven: Sequence[Dimension],
) -> None:
    """Sizes that hold one by one need not hold together."""
    for smaller in (True, False):
        sizes: dict[Axis, int] = {}
        for dimension in proven:
            size = dimension.minimum if smaller else min(dimension.maximum, 17)
            sizes |= dimensions[dimension.name].sizes(size)
        bench.compare(bench.inputs(call, sizes, "random", 3), "all sizes together")


def _rows_are_independent(bench: _Bench, call: Sequence[torch.Tensor], family: Family) -> bool:
    """True if rows computed together equal rows computed alone, which is what lets Triton batch requests."""
    if family.members != frozenset((index, 0) for index in range(len(call))):
        return False  # an input that has no row for each row of the batch
    rows = 5
    together = bench.inputs(call, family.sizes(rows), "random", 4)
    try:
        found = bench.compiled(together)
    except Exception:
        return False
    if any(tensor.dim() == 0 or tensor.shape[0] != rows for tensor in found):
        return False
    for row in range(rows):
        alone = bench.compiled([tensor[row : row + 1] for tensor in together])
        same_row = [tensor[row : row + 1] for tensor in found]
        difference = worst_difference(same_row, alone, bench.output_names, bench.tolerances)
        if isinstance(difference, str) or difference.excess > 1:
            return False
    return True
