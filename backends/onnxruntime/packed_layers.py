"""Linear layers of an ONNX graph whose result is only taken apart: reshaped, turned, and indexed along one axis.

So are ``view(b, l, 3, h, d)``, ``view(b, l, h, 3, d)``, and what ``nn.MultiheadAttention`` does, in dynamo's exports.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxscript import ir

__all__ = ["Layer", "PackedLayer", "find_packed_layer"]


@dataclass(frozen=True)
class Layer:
    """``x @ weight + bias``; ``result`` is used by one reshape and nothing else."""

    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    result: ir.Value


@dataclass(frozen=True)
class PackedLayer:
    """A layer and its parts, by their index along ``axis`` of ``sizes``, the axes that a row of its result was given.

    ``order`` is that of a part's own axes, of which ``leading`` come before those of a row.
    """

    layer: Layer
    reshape: ir.Node
    leading: int
    sizes: tuple[int, ...]
    axis: int
    order: tuple[int, ...]
    parts: tuple[tuple[int, ir.Value], ...]


def find_packed_layer(reshape: ir.Node) -> PackedLayer | None:
    """The one that this node reshapes, if it is one."""
    layer = _layer_before(reshape) if reshape.op_type == "Reshape" else None
    value = reshape.outputs[0]
    if layer is None or value.shape is None or layer.result.shape is None:
        return None
    before, after = list(layer.result.shape), list(value.shape)
    leading = len(before) - 1
    sizes = tuple(size for size in after[leading:] if isinstance(size, int))
    if after[:leading] != before[:leading] or len(sizes) != len(after) - leading or math.prod(sizes) != before[-1]:
        return None
    view = _View(value, list(range(len(after))))
    while view.move_on():
        pass
    place, parts = _parts_of(view.value)
    taken = view.axes[place]
    left = [axis for axis in view.axes if axis is not None and axis != taken]
    if taken is None or taken < leading or len(left) != len(after) - 1 or not parts:
        return None
    if any(part.is_graph_output() for _, part in parts):
        return None
    order = tuple(sorted(left).index(axis) for axis in left)
    return PackedLayer(layer, reshape, leading, sizes, taken - leading, order, tuple(parts))


def _layer_before(reshape: ir.Node) -> Layer | None:
    result = reshape.inputs[0]
    node = None if result is None else result.producer()
    bias = None
    if node is not None and node.op_type == "Add":
        for summand, other in (node.inputs, node.inputs[::-1]):
            if _is_constant(other, rank=1) and summand is not None and _is_used_once(summand):
                node, bias = summand.producer(), other
                break
    if result is None or node is None or node.op_type != "MatMul" or not _is_used_once(result):
        return None
    x, weight = node.inputs
    if x is None or weight is None or not _is_constant(weight, rank=2) or not _is_used_once(weight):
        return None
    return Layer(x, weight, bias, result)


@dataclass
class _View:
    """A value, and which axis of the reshaped result each of its axes is; None: one of size 1 that was put in."""

    value: ir.Value
    axes: list[int | None]

    def move_on(self) -> bool:
        """Past the one node that uses it, if that only moves axes."""
        node = _only_user(self.value)
        if node is None or node.op_type not in ("Transpose", "Unsqueeze", "Squeeze"):
            return False
        axes = list(self.axes)
        if node.op_type == "Transpose":
            order = node.attributes.get_ints("perm", list(range(len(axes)))[::-1])
            axes = [axes[place] for place in order]
        else:
            places = _integers(node.inputs[-1])
            if not places:
                return False
            if node.op_type == "Unsqueeze":
                for place in sorted(place % (len(axes) + len(places)) for place in places):
                    axes.insert(place, None)
            else:
                gone = {place % len(axes) for place in places}
                if any(axes[place] is not None for place in gone):
                    return False
                axes = [found for place, found in enumerate(axes) if place not in gone]
        self.value, self.axes = node.outputs[0], axes
        return True


def _parts_of(value: ir.Value) -> tuple[int, list[tuple[int, ir.Value]]]:
    """The axis along which all who use it take one index each, and what they take; nothing if they do otherwise."""
    found = [_taken_by(node, value) for node in value.consumers()]
    axes = {axis for axis, _, _ in found}
    if None in axes or len(axes) != 1:
        return 0, []
    return axes.pop() or 0, [(index, part) for _, index, part in found]


def _taken_by(node: ir.Node, value: ir.Value) -> tuple[int | None, int, ir.Value]:
    """The axis, None where it is not one index that is taken; the index; and what is taken."""
    other = None, 0, value
    if node.inputs[0] is not value or value.shape is None:
        return other
    rank, taken = len(value.shape), node.outputs[0]
    if node.op_type == "Gather":
        index = node.inputs[1]
        is_one = _is_constant(index, rank=0)
        axis, start, end = node.attributes.get_int("axis", 0), _integers(index), None
    elif node.op_type == "Slice" and len(node.inputs) >= 4 and (squeeze := _only_user(taken)):
        start, end, axes = (_integers(given) for given in node.inputs[1:4])
        is_one = len(start) == len(end) == 1 and end[0] == start[0] + 1
        is_one = is_one and squeeze.op_type == "Squeeze" and _integers(squeeze.inputs[-1]) == axes
        axis, taken = axes[0] if axes else 0, squeeze.outputs[0]
    else:
        return other
    return (axis % rank, start[0], taken) if is_one and start[0] >= 0 else other


def _is_constant(value: ir.Value | None, rank: int) -> bool:
    return value is not None and value.const_value is not None and len(value.const_value.shape) == rank


def _is_used_once(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


def _only_user(value: ir.Value) -> ir.Node | None:
    return next(iter(value.consumers())) if _is_used_once(value) else None


def _integers(value: ir.Value | None) -> list[int]:
    """Those of a constant; none of anything else."""
    if value is None or value.const_value is None or not value.const_value.dtype.is_integer():
        return []
    return [int(each) for each in value.const_value.numpy().reshape(-1)]
