"""One engine on one signature of one module: export, verify, measure. Whatever happens is an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cortex_compile.backends.protocol import Engine, ExportedGraph, ExportRequest, Refused
from cortex_compile.compiler.artifacts import Attempt
from cortex_compile.compiler.capture_modules import CapturedModule, CapturedSignature
from cortex_compile.compiler.compare_runs import Bench, Run, Unequal
from cortex_compile.compiler.export_request import left_as_it_was, make_export_request
from cortex_compile.compiler.find_positions import Positions, find_positions
from cortex_compile.compiler.keep_attributes import KeptAttributes
from cortex_compile.compiler.measure_candidate import EqualGraph, measure_candidate, run_session
from cortex_compile.compiler.memory_use import own_mib
from cortex_compile.compiler.read_limits import read_limits
from cortex_compile.compiler.tensor_sizes import Family, choices_of_families, find_families
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.compiler.verify_numerics import Proof, verify_numerics
from cortex_compile.errors import CortexCompileError
from cortex_compile.python_backend.caches import is_first_step
from cortex_compile.python_backend.manifest import PositionSpec, TensorSpec, Variant

if TYPE_CHECKING:
    import torch

Stage = Literal["export", "verify", "measure"]
Tell = Callable[[Stage], None]

_SYMBOL = re.compile(r"[A-Za-z_]\w*")


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

    An engine's next exporter is asked where the one before makes no graph, or one that is not equal.

    Args:
        folder: where the graph's files go; empty.
        tell: called as each stage starts.
    """
    refused: list[Attempt] = []
    for exporter in engine.exporters:
        attempt, variant = _try_exporter(
            captured, signature, variant_name, engine, exporter, folder, threads, reproduce, tell, tolerances
        )
        if attempt.refused_at not in ("export", "verify"):
            return attempt, variant
        refused.append(attempt)
    # Who came furthest has most to tell.
    furthest = next((attempt for attempt in refused if attempt.refused_at == "verify"), refused[0])
    reasons = [f"{exporter}: {attempt.reason}" for exporter, attempt in zip(engine.exporters, refused, strict=True)]
    told_once = len({attempt.reason for attempt in refused}) == 1
    return replace(furthest, reason=furthest.reason if told_once else "; ".join(reasons)), None


def _try_exporter(
    captured: CapturedModule,
    signature: CapturedSignature,
    variant_name: str,
    engine: Engine,
    exporter: str,
    folder: Path,
    threads: int,
    reproduce: str,
    tell: Tell,
    tolerances: Tolerances,
) -> tuple[Attempt, Variant | None]:
    attempt = Attempt(engine.name, "export", "", reproduce)
    recorded = [call.arguments.tensors for call in signature.calls]
    families = find_families(recorded)
    positions = find_positions(recorded, families)
    for number, varying in enumerate(choices_of_families(families)):
        place = folder / exporter / str(number)
        place.mkdir(parents=True)
        result = _export_and_verify(
            captured, signature, variant_name, engine, exporter, place, threads, varying, positions, tell, tolerances
        )
        if isinstance(result, EqualGraph):
            tell("measure")
            measured = measure_candidate(captured, signature, result, engine, threads)
            variant = replace(result.variant, graph=str(Path(result.variant.graph).relative_to(folder)))
            found = Attempt(
                engine.name,
                None,
                "",
                reproduce,
                result.verdict,
                measured.measurements,
                measured.curves,
                result.session_mib,
                exporter=exporter,
                side_by_side=measured.side_by_side,
            )
            if measured.reason:
                return replace(found, refused_at="measure", reason=measured.reason), None
            return found, variant
        if result.reason == attempt.reason:
            break  # fewer varying sizes will not help
        if not attempt.reason or result.refused_at == "verify":
            made_by = exporter if result.refused_at == "verify" else ""
            attempt = replace(result, reproduce=reproduce, exporter=made_by)
    return attempt, None


def _export_and_verify(
    captured: CapturedModule,
    signature: CapturedSignature,
    variant_name: str,
    engine: Engine,
    exporter: str,
    folder: Path,
    threads: int,
    varying: tuple[Family, ...],
    positions: tuple[Positions, ...],
    tell: Tell,
    tolerances: Tolerances,
) -> EqualGraph | Attempt:
    call = signature.calls[0]
    tell("export")
    request = make_export_request(captured.module, call, varying, positions, exporter)
    try:
        with _no_grad(), left_as_it_was(captured.module):
            request.module(*request.examples)
    except Exception as error:
        return Attempt(engine.name, "export", f"eager fails on other sizes than the samples': {_first_line(error)}", "")
    with left_as_it_was(captured.module):
        exported = engine.export(request, folder)
    if isinstance(exported, Refused):
        return Attempt(engine.name, "export", exported.reason, "")
    before_mib = own_mib()
    try:
        ways = [other.calls[0].arguments.states for other in captured.signatures.values()]
        session = engine.open_session(exported.graph, threads, not is_first_step(call.arguments.states, ways))
    except CortexCompileError as error:
        return Attempt(engine.name, "export", str(error), "")
    session_mib = round(max(0.0, own_mib() - before_mib), 1)
    tell("verify")
    dimensions = _dimensions(exported, request, varying)
    exported = _with_names(exported, dimensions)
    eager = _eager(request, KeptAttributes(captured.module))
    compiled = partial(run_session, session)
    with _no_grad():
        proof = verify_numerics(
            eager,
            compiled,
            [recorded.arguments.tensors for recorded in signature.calls],
            dimensions,
            positions,
            request.input_names,
            request.output_names,
            tolerances,
            read_limits(captured.module),
            may_share_batches=not call.plan.caches,
        )
    if not proof.verdict.equal:
        return Attempt(engine.name, "verify", proof.verdict.reason, "", proof.verdict)
    variant = _variant(variant_name, signature, request, exported, proof, dimensions)
    variant = replace(variant, positions=_position_specs(positions, dimensions, call.arguments.tensors))
    bench = Bench(eager, compiled, request.output_names, positions, tolerances)
    return EqualGraph(variant, session, proof.verdict, dimensions, session_mib, bench)


def _eager(request: ExportRequest, attributes: KeptAttributes) -> Run:
    def run(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        try:
            result: Sequence[torch.Tensor] = request.module(*tensors)
        finally:
            changed = attributes.put_back()
        if changed is not None:
            raise Unequal(f"at this size the module sets its own attribute {changed!r}, as a graph would not")
        return result

    return run


def _dimensions(exported: ExportedGraph, request: ExportRequest, varying: Sequence[Family]) -> dict[str, Family]:
    """The families that vary in the graph too, under names that a person reads: the batch, or an input and an axis."""
    found = {}
    for family in varying:
        if all(isinstance(exported.input_shapes[index][axis], str) for index, axis in family.members):
            index, axis = min(axis for axis, offset in family.axes if offset == 0)
            found["batch" if family.is_batch else f"{request.input_names[index]}_axis_{axis}"] = family
    return found


def _with_names(exported: ExportedGraph, dimensions: dict[str, Family]) -> ExportedGraph:
    """The shapes with our names for the exporter's s26. An axis that varies in the graph and in no family is fixed."""
    symbols: dict[str, str] = {}
    shapes = [list(shape) for shape in exported.input_shapes]
    for name, family in dimensions.items():
        for (index, axis), offset in family.axes:
            if offset == 0:
                symbols[str(exported.input_shapes[index][axis])] = name
            shapes[index][axis] = f"{name}+{offset}" if offset else name
    outputs = tuple(
        tuple(
            re.sub(r"[A-Za-z_]\w*", lambda match: symbols.get(match[0], match[0]), size)
            if isinstance(size, str)
            else size
            for size in shape
        )
        for shape in exported.output_shapes
    )
    return replace(exported, input_shapes=tuple(tuple(shape) for shape in shapes), output_shapes=outputs)


def _position_specs(
    positions: Sequence[Positions], dimensions: dict[str, Family], tensors: Sequence[torch.Tensor]
) -> tuple[PositionSpec, ...]:
    names = {family: name for name, family in dimensions.items()}
    specs = []
    for position in positions:
        if position.family is None or position.family in names:
            name = None if position.family is None else names[position.family]
            specs.append(PositionSpec(position.index, name, position.offset))
        else:  # the size does not vary in this graph, so neither does the start
            specs.append(PositionSpec(position.index, None, position.offset + position.family.size_in(tensors)))
    return tuple(specs)


def _variant(
    name: str,
    signature: CapturedSignature,
    request: ExportRequest,
    exported: ExportedGraph,
    proof: Proof,
    families: dict[str, Family],
) -> Variant:
    call = signature.calls[0]
    return Variant(
        name=name,
        arguments=signature.arguments_spec,
        argument_leaves=call.arguments.leaves,
        result=signature.result_spec,
        result_leaves=call.plan.leaves,
        inputs=_input_specs(
            request.input_names,
            call.arguments.tensors,
            exported.input_shapes,
            {dimension.name for dimension in proof.dimensions},
        ),
        outputs=_tensor_specs(request.output_names, call.outputs, exported.output_shapes),
        dimensions=tuple(
            replace(dimension, typical=families[dimension.name].size_in(call.arguments.tensors))
            for dimension in proof.dimensions
        ),
        batch_dimension=proof.verdict.batch_dimension,
        graph=str(exported.graph),
        argument_caches=call.arguments.states,
        result_caches=call.plan.caches,
        paddings=proof.paddings,
    )


def _input_specs(
    names: Sequence[str], tensors: Sequence[torch.Tensor], shapes: Sequence[tuple[int | str, ...]], known: set[str]
) -> tuple[TensorSpec, ...]:
    """A size that the graph lets vary and that nothing proved is the recorded one."""
    fixed = [
        tuple(
            size if isinstance(size, int) or size.partition("+")[0] in known else recorded
            for size, recorded in zip(shape, tensor.shape, strict=True)
        )
        for shape, tensor in zip(shapes, tensors, strict=True)
    ]
    return _tensor_specs(names, tensors, fixed)


def _tensor_specs(
    names: Sequence[str], tensors: Sequence[torch.Tensor], shapes: Sequence[tuple[int | str, ...]]
) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, str(tensor.dtype).removeprefix("torch."), shape)
        for name, tensor, shape in zip(names, tensors, shapes, strict=True)
    )


@contextmanager
def _no_grad() -> Iterator[Any]:
    import torch

    with torch.no_grad():
        yield


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
