"""One engine on one signature of one module: export, verify, measure. Whatever happens is an answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cortex_compile.backends.protocol import Engine, ExportedGraph, ExportRequest, Refused, Session
from cortex_compile.compiler.artifacts import Attempt, Measurement, Verdict
from cortex_compile.compiler.capture_modules import CapturedModule, CapturedSignature, RecordedCall
from cortex_compile.compiler.export_request import left_as_it_was, make_export_request
from cortex_compile.compiler.measure_latency import MINIMUM_SPEEDUP, measure_latency
from cortex_compile.compiler.tensor_sizes import Axis, batch_axes, candidate_axes
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.compiler.verify_numerics import Proof, verify_numerics
from cortex_compile.errors import CortexCompileError
from cortex_compile.python_backend.calls import rebuild_arguments
from cortex_compile.python_backend.compiled_forward import CallCounts, ReadyVariant, make_compiled_forward
from cortex_compile.python_backend.manifest import TensorSpec, Variant

if TYPE_CHECKING:
    import torch

Stage = Literal["export", "verify", "measure"]
Tell = Callable[[Stage], None]


@dataclass(frozen=True)
class _Equal:
    """A graph that is proven equal, on its way to being measured."""

    variant: Variant
    session: Session
    verdict: Verdict


def try_candidate(
    captured: CapturedModule,
    signature: CapturedSignature,
    variant_name: str,
    engine: Engine,
    folder: Path,
    threads: int,
    reproduce: str,
    tell: Tell,
    tolerances: Tolerances,
) -> tuple[Attempt, Variant | None]:
    """Export with as many varying sizes as the module allows, prove the graph equal, and see whether it is faster.

    Args:
        folder: where the graph's files go; empty.
        tell: called as each stage starts.
    """
    attempt = Attempt(engine.name, "export", "", reproduce)
    for number, axes in enumerate(candidate_axes([call.arguments.tensors for call in signature.calls])):
        place = folder / str(number)
        place.mkdir(parents=True)
        result = _export_and_verify(captured, signature, variant_name, engine, place, threads, axes, tell, tolerances)
        if isinstance(result, _Equal):
            tell("measure")
            measurements, reason = _measure(captured, signature, result, threads)
            variant = replace(result.variant, graph=str(Path(result.variant.graph).relative_to(folder)))
            if reason:
                return Attempt(engine.name, "measure", reason, reproduce, result.verdict, measurements), None
            return Attempt(engine.name, None, "", reproduce, result.verdict, measurements), variant
        if result.reason == attempt.reason:
            break  # fewer varying sizes will not help
        if not attempt.reason or result.refused_at == "verify":
            attempt = replace(result, reproduce=reproduce)
    return attempt, None


def _export_and_verify(
    captured: CapturedModule,
    signature: CapturedSignature,
    variant_name: str,
    engine: Engine,
    folder: Path,
    threads: int,
    axes: frozenset[Axis],
    tell: Tell,
    tolerances: Tolerances,
) -> _Equal | Attempt:
    call = signature.calls[0]
    tell("export")
    request = make_export_request(captured.module, call, axes)
    try:
        with _no_grad():
            request.module(*request.examples)
    except Exception as error:
        return Attempt(engine.name, "export", f"eager fails on other sizes than the samples': {_first_line(error)}", "")
    with left_as_it_was(captured.module):
        exported = engine.export(request, folder)
    if isinstance(exported, Refused):
        return Attempt(engine.name, "export", exported.reason, "")
    try:
        session = engine.open_session(exported.graph, threads)
    except CortexCompileError as error:
        return Attempt(engine.name, "export", str(error), "")
    tell("verify")
    exported = _name_dimensions(exported, request)
    dimensions = _dimensions(exported)
    with _no_grad():
        proof = verify_numerics(
            lambda tensors: request.module(*tensors),
            lambda tensors: _run(session, tensors),
            [recorded.arguments.tensors for recorded in signature.calls],
            dimensions,
            request.output_names,
            tolerances,
        )
    if not proof.verdict.equal:
        return Attempt(engine.name, "verify", proof.verdict.reason, "", proof.verdict)
    variant = _variant(variant_name, signature, request, exported, proof)
    return _Equal(variant, session, proof.verdict)


def _name_dimensions(exported: ExportedGraph, request: ExportRequest) -> ExportedGraph:
    """Names that a person reads, for the exporter's s26: ``batch``, or the first input that has it and the axis."""
    batch = batch_axes(request.examples)
    names = {}
    for name, axes in _dimensions(exported).items():
        index, axis = min(axes)
        names[name] = "batch" if axes == batch else f"{request.input_names[index]}_axis_{axis}"

    def renamed(shapes: tuple[tuple[int | str, ...], ...]) -> tuple[tuple[int | str, ...], ...]:
        return tuple(tuple(names.get(size, size) if isinstance(size, str) else size for size in s) for s in shapes)

    return replace(exported, input_shapes=renamed(exported.input_shapes), output_shapes=renamed(exported.output_shapes))


def _dimensions(exported: ExportedGraph) -> dict[str, frozenset[Axis]]:
    found: dict[str, set[Axis]] = {}
    for index, shape in enumerate(exported.input_shapes):
        for axis, size in enumerate(shape):
            if isinstance(size, str):
                found.setdefault(size, set()).add((index, axis))
    return {name: frozenset(places) for name, places in found.items()}


def _run(session: Session, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    import torch

    return [torch.from_numpy(array) for array in session.run([tensor.contiguous().numpy() for tensor in tensors])]


def _variant(
    name: str, signature: CapturedSignature, request: ExportRequest, exported: ExportedGraph, proof: Proof
) -> Variant:
    call = signature.calls[0]
    return Variant(
        name=name,
        arguments=signature.arguments_spec,
        argument_leaves=call.arguments.leaves,
        result=signature.result_spec,
        result_leaves=call.plan.leaves,
        inputs=_tensor_specs(request.input_names, call.arguments.tensors, exported.input_shapes),
        outputs=_tensor_specs(request.output_names, call.outputs, exported.output_shapes),
        dimensions=proof.dimensions,
        batch_dimension=proof.verdict.batch_dimension,
        graph=str(exported.graph),
        argument_caches=call.arguments.states,
        result_caches=call.plan.caches,
    )


def _tensor_specs(
    names: Sequence[str], tensors: Sequence[torch.Tensor], shapes: Sequence[tuple[int | str, ...]]
) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, str(tensor.dtype).removeprefix("torch."), shape)
        for name, tensor, shape in zip(names, tensors, shapes, strict=True)
    )


def _measure(
    captured: CapturedModule, signature: CapturedSignature, equal: _Equal, threads: int
) -> tuple[tuple[Measurement, ...], str]:
    """The measurements, and why they speak against the graph, or ""."""
    counts = CallCounts()
    eager = captured.module.forward
    ready = ReadyVariant(equal.variant, equal.session)
    compiled = make_compiled_forward(captured.path, eager, [ready], [], counts)
    measurements = []
    with _no_grad():
        for call in signature.calls:
            call_with(compiled, call)
            if counts.eager:
                return (), f"a recorded call does not match its own signature ({', '.join(counts.eager)})"
            shapes = describe_inputs(equal.variant.inputs, call.arguments.tensors)
            # The arguments are made anew each time: a cache among them grows.
            measurements.append(
                measure_latency(
                    lambda call=call: call_with(eager, call),  # type: ignore[misc]
                    lambda call=call: call_with(compiled, call),  # type: ignore[misc]
                    ", ".join(shapes),
                    threads,
                )
            )
    speedup = math.prod(measurement.speedup for measurement in measurements) ** (1 / len(measurements))
    if speedup < MINIMUM_SPEEDUP:
        return tuple(measurements), f"not faster than eager: {speedup:.2f}×, needed are {MINIMUM_SPEEDUP}×"
    return tuple(measurements), ""


def call_with(forward: Callable[..., Any], call: RecordedCall) -> Any:
    """Repeat a recorded call."""
    args, kwargs = rebuild_arguments(call.arguments, call.arguments.tensors)
    return forward(*args, **kwargs)


def describe_inputs(specs: Sequence[TensorSpec], tensors: Sequence[torch.Tensor]) -> tuple[str, ...]:
    """``input_ids int64[2, 7]`` for each tensor."""
    return tuple(f"{spec.name} {spec.dtype}{list(tensor.shape)}" for spec, tensor in zip(specs, tensors, strict=True))


@contextmanager
def _no_grad() -> Iterator[Any]:
    import torch

    with torch.no_grad():
        yield


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
