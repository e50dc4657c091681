"""What a module's calls cost on an engine: relative to eager, which each engine was measured in turn with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from cortex_compile.compiler.artifacts import Attempt, Candidate, ModuleRecord, SignatureRecord

__all__ = ["compiled_ms", "cost_ms", "simplest_of_the_quickest", "speedup_of"]

# Nearer than this, two cannot be told apart, and the simpler is taken.
TIE = 0.03


def cost_ms(
    module: ModuleRecord, candidates: Sequence[Candidate], label: str, objective: str, calls_with_batches: bool
) -> float:
    """Milliseconds of all recorded calls; those that the engine refused cost eager's time.

    ``calls_with_batches``: the predictor itself calls its modules with the rows of several requests. Otherwise those
    meet only in a compiled module, and eager has the batches of the recorded calls.

    Absolute times of two engines were taken minutes apart, so only each one's share of eager's is used.
    """
    cost = 0.0
    for signature in module.signatures:
        tried = [candidate for candidate in candidates if candidate.variant_name == signature.variant]
        fits = [each for each in tried if each.attempt.label == label and each.variant]
        share = _share(fits[0], objective, calls_with_batches) if fits else 1.0
        cost += _eager_ms(signature, tried) * share
    return cost


def compiled_ms(module: ModuleRecord, candidates: Sequence[Candidate]) -> float:
    """Milliseconds of all recorded calls that these candidates, of one engine, run."""
    counts = {signature.variant: signature.count for signature in module.signatures}
    return sum(
        counts[each.variant_name] * statistics.mean(measured.compiled_p50_ms for measured in each.attempt.measurements)
        for each in candidates
        if each.variant is not None and each.attempt.measurements
    )


def _eager_ms(signature: SignatureRecord, tried: Sequence[Candidate]) -> float:
    times = [measured.eager_p50_ms for candidate in tried for measured in candidate.attempt.measurements]
    return signature.count * statistics.mean(times) if times else 0.0


def _share(candidate: Candidate, objective: str, calls_with_batches: bool) -> float:
    if objective == "throughput":
        share = _share_by_row(candidate, calls_with_batches)
        if share is not None:
            return share
    return 1 / speedup_of(candidate.attempt)


def speedup_of(attempt: Attempt) -> float:
    return statistics.geometric_mean([measurement.speedup for measurement in attempt.measurements])


def _share_by_row(candidate: Candidate, calls_with_batches: bool) -> float | None:
    """Of eager's time a row, each at the best batch that it gets; None where rows were not proven independent."""
    assert candidate.variant is not None
    batch = candidate.variant.batch_dimension
    points = [point for curve in candidate.attempt.curves if curve.dimension == batch for point in curve.points]
    if not points:
        return None
    recorded = next((each.typical for each in candidate.variant.dimensions if each.name == batch), None) or 1
    of_eager = points if calls_with_batches else [min(points, key=lambda point: abs(point.size - recorded))]
    best = min(point.compiled_ms / point.size for point in points)
    return best / min(point.eager_ms / point.size for point in of_eager)


def _simplicity(engine: str, precision: str) -> int:
    """Of two engines as quick as each other the one with the lower number is taken."""
    if engine == "eager":
        return 0
    return 1 if (engine, precision) == ("onnxruntime", "fp32") else 2


def simplest_of_the_quickest(costs: dict[str, float], engines: dict[str, tuple[str, str]]) -> str:
    """The label to choose; ``engines`` gives the engine and precision of each."""
    least = min(costs.values())
    near = [label for label, cost in costs.items() if cost <= least * (1 + TIE)]
    return min(near, key=lambda label: (_simplicity(*engines[label]), costs[label], label))
