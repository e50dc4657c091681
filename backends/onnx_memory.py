"""What an ONNX graph computes in: the most bytes that its tensors take at a time, by ONNX's own inference of shapes.

An estimate: an engine fuses nodes and keeps less, or takes workspaces and keeps more. Weights are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ActivationEstimate", "estimate_activations"]


@dataclass(frozen=True)
class ActivationEstimate:
    """``guessed`` of the tensors are of unknown size and were counted as the largest known one."""

    peak_bytes: int
    guessed: int


def estimate_activations(graph: Path, shapes: Mapping[str, tuple[int, ...]]) -> ActivationEstimate:
    """``shapes`` are the inputs', by name."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    for value in model.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            dimension.dim_value = size
    # What exporters wrote with symbols is found again with numbers.
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return _peak(model.graph)


def _peak(graph: Any) -> ActivationEstimate:
    sizes = {value.name: _bytes_of(value) for value in (*graph.input, *graph.value_info, *graph.output)}
    known = [size for size in sizes.values() if size is not None]
    largest = max(known, default=0)
    last_use = {name: index for index, node in enumerate(graph.node) for name in _uses(node)}
    kept = {value.name for value in (*graph.input, *graph.output)}  # by whoever calls
    alive = {value.name: sizes[value.name] or 0 for value in graph.input}
    peak, guessed = sum(alive.values()), 0
    for index, node in enumerate(graph.node):
        inner = [_peak(attribute.g) for attribute in node.attribute if attribute.HasField("g")]
        for name in filter(None, node.output):
            size = sizes.get(name)
            guessed += size is None
            alive[name] = largest if size is None else size
        # Of the branches of an If one runs.
        peak = max(peak, sum(alive.values()) + max((each.peak_bytes for each in inner), default=0))
        guessed += sum(each.guessed for each in inner)
        for name in [name for name in alive if last_use.get(name, -1) <= index and name not in kept]:
            del alive[name]
    return ActivationEstimate(peak, guessed)


def _uses(node: Any) -> Iterator[str]:
    """The names that a node reads, and those that the graphs inside it do."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                yield from _uses(inner)


def _bytes_of(value: Any) -> int | None:
    from onnx import helper

    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or tensor.elem_type == 0:
        return None
    size = int(helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize)
    for dimension in tensor.shape.dim:
        if not dimension.HasField("dim_value"):
            return None
        size *= dimension.dim_value
    return size
