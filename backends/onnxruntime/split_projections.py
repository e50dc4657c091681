"""Queries, keys and values that one linear layer makes together, made by a layer each.

A packed layer saves a GPU launches. On a CPU its result has to be taken apart, which copies it twice: an encoder of
MiniLM's size takes 0.95 to 0.99 of the time without (``python benchmarks/split_projections.py``, ONNX Runtime 1.31, one
core).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compile.backends.onnxruntime.packed_layers import PackedLayer, find_packed_layer

if TYPE_CHECKING:
    from onnxscript import ir

__all__ = ["split_projections"]

Array = np.ndarray[Any, Any]


def split_projections(model: ir.Model) -> int:
    """Change a model in place; returns how many layers were split."""
    found = [packed for node in model.graph if (packed := find_packed_layer(node)) is not None]
    for packed in found:
        _replace(model.graph, packed)
    return len(found)


def _replace(graph: ir.Graph, packed: PackedLayer) -> None:
    """A layer for each part, in its place; what is not used any more goes."""
    for index, part in packed.parts:
        nodes = list(_layer_of_part(graph, packed, index, part.name or ""))
        new = nodes[-1].outputs[0]
        new.shape, new.type = part.shape, part.type
        graph.insert_before(packed.reshape, nodes)
        part.replace_all_uses_with(new)
    _remove_unused(graph, [part for _, part in packed.parts])


def _layer_of_part(graph: ir.Graph, packed: PackedLayer, index: int, name: str) -> Iterator[ir.Node]:
    from onnxscript import ir

    def constant(values: Array, what: str) -> ir.Value:
        tensor = ir.tensor(np.ascontiguousarray(values), name=f"{name}.{what}")
        kind = ir.TensorType(tensor.dtype)
        value = ir.Value(name=tensor.name, shape=ir.Shape(values.shape), type=kind, const_value=tensor)
        graph.register_initializer(value)
        return value

    def part_of(whole: ir.Value) -> Array:
        assert whole.const_value is not None
        values = whole.const_value.numpy()
        columns = values.reshape(*values.shape[:-1], *packed.sizes)
        part: Array = columns.take(index, values.ndim - 1 + packed.axis)
        return part.reshape(*values.shape[:-1], -1)

    layer = packed.layer
    yield (node := ir.node("MatMul", [layer.x, constant(part_of(layer.weight), "weight")]))
    if layer.bias is not None:
        yield (node := ir.node("Add", [node.outputs[0], constant(part_of(layer.bias), "bias")]))
    sizes = [size for axis, size in enumerate(packed.sizes) if axis != packed.axis]
    # 0: as it was before.
    shape = constant(np.array([0] * packed.leading + sizes, np.int64), "shape")
    yield (node := ir.node("Reshape", [node.outputs[0], shape]))
    if packed.order != tuple(sorted(packed.order)):
        yield ir.node("Transpose", [node.outputs[0]], {"perm": list(packed.order)})


def _remove_unused(graph: ir.Graph, values: list[ir.Value]) -> None:
    """What made these, and what only that used."""
    while values:
        value = values.pop()
        node = value.producer()
        if value.uses() or value.is_graph_output():
            continue
        if node is None:
            graph.initializers.pop(value.name or "", None)
        elif not any(output.uses() for output in node.outputs) and node.graph is graph:
            inputs = [given for given in node.inputs if given is not None]
            graph.remove(node, safe=True)
            values.extend(inputs)
