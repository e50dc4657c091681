"""A graph that is proven equal, measured: on the recorded calls, at other sizes, and runs of it beside each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortex_compile.backends.protocol import Engine, Session
from cortex_compile.compiler.artifacts import Measurement, SideBySidePoint, SizeCurve, Verdict
from cortex_compile.compiler.capture_modules import CapturedModule, CapturedSignature, RecordedCall
from cortex_compile.compiler.compare_runs import Bench
from cortex_compile.compiler.measure_latency import MINIMUM_SPEEDUP, measure_latency
from cortex_compile.compiler.measure_side_by_side import measure_side_by_side
from cortex_compile.compiler.measure_sizes import measure_sizes
from cortex_compile.compiler.tensor_sizes import Family
from cortex_compile.python_backend.calls import rebuild_arguments
from cortex_compile.python_backend.compiled_forward import CallCounts, ReadyVariant, make_compiled_forward
from cortex_compile.python_backend.manifest import TensorSpec, Variant

if TYPE_CHECKING:
    import torch

__all__ = ["EqualGraph", "Measured", "describe_inputs", "measure_candidate", "run_session"]


@dataclass(frozen=True)
class EqualGraph:
    """A graph that is proven equal, on its way to being measured."""

    variant: Variant
    session: Session
    verdict: Verdict
    families: dict[str, Family]
    session_mib: float
    bench: Bench


@dataclass(frozen=True)
class Measured:
    """``reason`` says why the measurements speak against the graph, or is ""."""

    measurements: tuple[Measurement, ...] = ()
    curves: tuple[SizeCurve, ...] = ()
    side_by_side: tuple[SideBySidePoint, ...] = ()
    reason: str = ""


def measure_candidate(
    captured: CapturedModule, signature: CapturedSignature, equal: EqualGraph, engine: Engine, threads: int
) -> Measured:
    """
    Args:
        threads: of ``equal.session``.
    """
    import torch

    counts = CallCounts()
    eager = captured.module.forward
    ready = ReadyVariant(equal.variant, equal.session)
    compiled = make_compiled_forward(captured.path, eager, [ready], [], counts)
    measurements = []
    with torch.no_grad():
        for call in signature.calls:
            _call_with(compiled, call)
            if counts.eager:
                return Measured(reason=f"a recorded call does not match its own signature ({', '.join(counts.eager)})")
            shapes = describe_inputs(equal.variant.inputs, call.arguments.tensors)
            # The arguments are made anew each time: a cache among them grows.
            measurements.append(
                measure_latency(
                    lambda call=call: _call_with(eager, call),  # type: ignore[misc]
                    lambda call=call: _call_with(compiled, call),  # type: ignore[misc]
                    ", ".join(shapes),
                    threads,
                )
            )
    speedup = math.prod(measurement.speedup for measurement in measurements) ** (1 / len(measurements))
    if speedup < MINIMUM_SPEEDUP:
        slow = f"not faster than eager: {speedup:.2f}×, needed are {MINIMUM_SPEEDUP}×"
        return Measured(tuple(measurements), reason=slow)
    call = signature.calls[0]
    curves: tuple[SizeCurve, ...] = ()
    with torch.no_grad(), suppress(Exception):  # without them, calls share no runs
        curves = measure_sizes(
            lambda tensors: _call_with(eager, call, tensors),
            lambda tensors: _call_with(compiled, call, tensors),
            call.arguments.tensors,
            equal.families,
            equal.variant.dimensions,
            equal.bench.positions,
            threads,
        )
    if counts.eager:
        curves = ()  # what was timed is not the graph
    side_by_side = _measure_side_by_side(captured, signature, equal, engine, curves, threads)
    return Measured(tuple(measurements), curves, side_by_side)


def _measure_side_by_side(
    captured: CapturedModule,
    signature: CapturedSignature,
    equal: EqualGraph,
    engine: Engine,
    curves: Sequence[SizeCurve],
    threads: int,
) -> tuple[SideBySidePoint, ...]:
    """Nothing where calls share no runs in the predictor's process, or the graph is not equal with one thread."""
    batch = equal.variant.batch_dimension
    sizes = [point.size for curve in curves if curve.dimension == batch for point in curve.points]
    if batch is None or not sizes or threads == 1 or not equal.variant.may_share_runs or engine.name == "tensorrt":
        return ()
    import torch

    call, family, counts = signature.calls[0], equal.families[batch], CallCounts()
    with torch.no_grad(), suppress(Exception):  # without it, a run with all threads is all there is
        session = engine.open_session(Path(equal.variant.graph), 1)
        bench = replace(equal.bench, compiled=partial(run_session, session))
        for size in (sizes[0], sizes[-1]):
            bench.compare(bench.inputs(call.arguments.tensors, family.sizes(size), "random", 6), "one thread")
        ready = ReadyVariant(equal.variant, session)
        compiled = make_compiled_forward(captured.path, captured.module.forward, [ready], [], counts)
        points = measure_side_by_side(
            lambda tensors: _call_with(compiled, call, tensors),
            lambda size: bench.inputs(call.arguments.tensors, family.sizes(size), "sample", 0),
            sizes,
            threads,
        )
        return () if counts.eager else points
    return ()


def _call_with(forward: Callable[..., Any], call: RecordedCall, tensors: Sequence[torch.Tensor] | None = None) -> Any:
    """Repeat a recorded call, perhaps with other tensors."""
    args, kwargs = rebuild_arguments(call.arguments, call.arguments.tensors if tensors is None else tensors)
    return forward(*args, **kwargs)


def describe_inputs(specs: Sequence[TensorSpec], tensors: Sequence[torch.Tensor]) -> tuple[str, ...]:
    """``input_ids int64[2, 7]`` for each tensor."""
    return tuple(f"{spec.name} {spec.dtype}{list(tensor.shape)}" for spec, tensor in zip(specs, tensors, strict=True))


def run_session(session: Session, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """``session`` on tensors, which for it are arrays."""
    import torch

    return [torch.from_numpy(array) for array in session.run([tensor.contiguous().numpy() for tensor in tensors])]
