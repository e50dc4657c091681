"""How many rows a run of a core's graph is best shared by: a pure function of what was measured and proven."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from cortex_compile.compiler.artifacts import Attempt, Candidate, CompileSettings, SizePoint
from cortex_compile.python_backend.manifest import SharedRun, Variant

__all__ = ["choose_shared_run"]

# A row must cost so much less than alone to be worth a wait, and may cost so much more than at its best: who is in a
# large run waits for all of it, and what a run of several threads leaves idle another uses.
_WORTH = 0.9
_NEAR = {"latency": 1.15, "throughput": 1.05}
# Runs side by side take more memory than one with all threads: a second copy of what the engine makes of the weights.
_QUICKER = 0.95
# Smaller runs have the cost of a call for fewer rows.
_LEAST_ROWS = 8


def choose_shared_run(candidates: Sequence[Candidate], engine: str, settings: CompileSettings) -> SharedRun | None:
    """None where a run of several rows takes as long as so many runs, or is not proven, for all ways of calling it.

    Args:
        candidates: those of the chosen engine, a variant each.
        settings: their ``max_batch`` is what the author allows.
    """
    if engine == "tensorrt":  # its calls may be on a GPU; batches there are Triton's
        return None
    proven = [each for each in candidates if each.variant is not None and each.variant.may_share_runs]
    found = [_of_variant(each, settings) for each in proven]
    return max((shared for shared in found if shared is not None), key=lambda shared: shared.cells, default=None)


def _of_variant(candidate: Candidate, settings: CompileSettings) -> SharedRun | None:
    variant, most_rows = candidate.variant, settings.max_batch
    assert variant is not None
    curves = [curve for curve in candidate.attempt.curves if curve.dimension == variant.batch_dimension]
    points = [point for curve in curves for point in curve.points if most_rows is None or point.size <= most_rows]
    sizes, near_enough = _typical_sizes(variant), _NEAR[settings.objective]
    rows, side_by_side_from = _rows({point.size: point.compiled_ms / point.size for point in points}, near_enough), None
    if points and (beside := _side_by_side(points, candidate.attempt, near_enough)) is not None:
        rows, side_by_side_from = beside
    return None if rows is None or sizes is None else SharedRun(rows, rows * math.prod(sizes), side_by_side_from)


def _side_by_side(points: Sequence[SizePoint], attempt: Attempt, near_enough: float) -> tuple[int, int] | None:
    """The rows of a run, and from how many rows for each thread on such runs go on side by side; None where one run
    with all threads takes no longer."""
    beside = {point.size: point.ms for point in attempt.side_by_side if point.size <= points[-1].size}
    threads = attempt.measurements[0].threads if attempt.measurements else 1
    rows = _rows({size: ms / size for size, ms in beside.items()}, near_enough)
    if rows is None or beside[rows] > _QUICKER * _ms_of(threads * rows, points):
        return None
    return rows, next(size for size, ms in beside.items() if ms <= _ms_of(threads * size, points))


def _ms_of(rows: int, points: Sequence[SizePoint]) -> float:
    """What a run of so many rows takes, by those that were measured."""
    for before, after in pairwise(points):
        if rows <= after.size:
            share = (rows - before.size) / (after.size - before.size)
            return before.compiled_ms + share * (after.compiled_ms - before.compiled_ms)
    return points[-1].compiled_ms * rows / points[-1].size


def _rows(cost: Mapping[int, float], near_enough: float) -> int | None:
    """``cost`` of a row, by the size of its run."""
    least = min(cost.values(), default=0.0)
    if 1 not in cost or least > _WORTH * cost[1]:
        return None
    near = sorted(size for size, of_a_row in cost.items() if of_a_row <= near_enough * least and size > 1)
    return next((size for size in near if size >= _LEAST_ROWS), near[-1] if near else None)


def _typical_sizes(variant: Variant) -> list[int] | None:
    """Of what varies besides the batch, in the first call of the samples, whose other sizes the curve was taken at."""
    others = [dimension for dimension in variant.dimensions if dimension.name != variant.batch_dimension]
    if any(not dimension.typical for dimension in others):
        return None
    return [dimension.typical for dimension in others if dimension.typical]
