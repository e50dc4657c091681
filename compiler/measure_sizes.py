"""How latency grows with a size: eager against compiled at a few of the proven sizes, for the plots of the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cortex_compile.compiler.artifacts import SizeCurve, SizePoint
from cortex_compile.compiler.find_positions import Positions, resize_call
from cortex_compile.compiler.measure_latency import measure_latency
from cortex_compile.compiler.tensor_sizes import Family
from cortex_compile.python_backend.manifest import Dimension

if TYPE_CHECKING:
    import torch

__all__ = ["measure_sizes"]

Run = Callable[[Sequence["torch.Tensor"]], object]

MOST_DIMENSIONS = 3
BATCHES = (1, 4, 8, 16, 32)
LENGTHS = (8, 32, 128, 512)
# By that of the batch it is decided which calls share runs (choose_shared_run.py); the others are to be looked at.
BATCH_BUDGET_S = 3.0
BUDGET_S = 0.5
WINDOWS = 2
WINDOW_S = 0.02


def measure_sizes(
    eager: Run,
    compiled: Run,
    call: Sequence[torch.Tensor],
    families: Mapping[str, Family],
    dimensions: Sequence[Dimension],
    positions: Sequence[Positions],
    threads: int,
) -> tuple[SizeCurve, ...]:
    """A curve for each dimension that may vary, the batch first; the other sizes stay as in ``call``."""
    varying = [dimension for dimension in dimensions if dimension.minimum < dimension.maximum]
    varying.sort(key=lambda dimension: not families[dimension.name].is_batch)
    curves = []
    for dimension in varying[:MOST_DIMENSIONS]:
        family = families[dimension.name]
        deadline = time.perf_counter() + (BATCH_BUDGET_S if family.is_batch else BUDGET_S)
        points: list[SizePoint] = []
        for size in choose_sizes(dimension, family, call):
            if _comes_too_late(points, size, deadline, family.is_batch):
                break
            tensors = resize_call(call, family.sizes(size), positions)
            measured = measure_latency(
                lambda tensors=tensors: eager(tensors),  # type: ignore[misc]
                lambda tensors=tensors: compiled(tensors),  # type: ignore[misc]
                dimension.name,
                threads,
                WINDOWS,
                WINDOW_S,
            )
            points.append(SizePoint(size, measured.eager_p50_ms, measured.compiled_p50_ms))
        if len(points) > 1:
            curves.append(SizeCurve(dimension.name, family.size_in(call), tuple(points)))
    return tuple(curves)


def choose_sizes(dimension: Dimension, family: Family, call: Sequence[torch.Tensor]) -> tuple[int, ...]:
    """A few sizes that were proven: round ones, the sample's own, and the largest if it is no larger than those."""
    round_ones = BATCHES if family.is_batch else LENGTHS
    largest = min(dimension.maximum, round_ones[-1])
    sizes = {size for size in round_ones if dimension.minimum <= size <= largest}
    return tuple(sorted({*sizes, largest, min(family.size_in(call), largest)} - {0}))


def _comes_too_late(points: Sequence[SizePoint], size: int, deadline: float, is_batch: bool) -> bool:
    left_s = deadline - time.perf_counter()
    if not points:
        return left_s < 0
    # Attention is quadratic, but not in its rows; what is not is quicker than this says.
    growth = (size / points[-1].size) ** (1 if is_batch else 2)
    expected_ms = (points[-1].eager_ms + points[-1].compiled_ms) * growth
    return expected_ms * (WINDOWS + 1) > left_s * 1e3
