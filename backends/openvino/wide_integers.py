"""OpenVINO computes integers in 32 bits and says nothing when one does not fit: 3,000,000,000 comes out negative.

Its session looks at the integers that a caller gives. What a graph makes of them cannot be looked at, so a graph that
does arithmetic on them, or turns computed numbers into integers, is refused. Integers that are only compared, moved,
used as indices or made into floats stay what they are; those made of sizes and of truth values stay small.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMPARES = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "ArgMax", "ArgMin", "NonZero", "Sign"}
_MEASURES = {"Shape", "Size"}
# The values that come out went in.
_MOVES = {
    "Clip", "Compress", "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Max",
    "Min", "OneHot", "Pad", "ReduceMax", "ReduceMin", "Reshape", "ScatterElements", "ScatterND", "Slice", "Split",
    "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where",
}  # fmt: skip
# Of these ops, only some inputs are values that come out again; the others say where from and where to.
_VALUES = {name: (0,) for name in ("Expand", "Gather", "GatherElements", "GatherND", "Reshape", "Slice", "Tile")} | {
    "OneHot": (2,),
    "ScatterElements": (0, 2),
    "ScatterND": (0, 2),
    "Where": (1, 2),
}
_SMALLEST, _LARGEST = -(2**31), 2**31 - 1


def why_integers_may_not_fit(path: Path) -> str | None:
    """Why integers in this ONNX graph may leave 32 bits, in a sentence; None where they cannot."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    kinds = _kinds_of(onnx.shape_inference.infer_shapes(model).graph)
    for name in _constants_beyond(model.graph, path.parent):
        if any(name in node.input and node.op_type != "Slice" for node in model.graph.node):
            return f"it has the integer constant {name!r}, which is beyond the 32 bits that OpenVINO computes in"
    computed = {value.name for value in model.graph.input}  # from what the caller gives
    wide = {name for name in computed if kinds.get(name) == "integer"}
    for node in model.graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            return f"it has a graph inside it ({node.op_type}), in which integers may leave OpenVINO's 32 bits"
        if node.op_type in _MEASURES or computed.isdisjoint(node.input):
            continue
        computed.update(node.output)
        integers = [name for name in node.output if kinds.get(name, "integer") == "integer"]
        if not integers or node.op_type in _COMPARES:
            continue
        if node.op_type == "Cast" and kinds.get(node.input[0]) == "float" and node.input[0] in computed:
            return "it turns computed numbers into integers, which may leave the 32 bits that OpenVINO computes in"
        values = [node.input[index] for index in _VALUES.get(node.op_type, range(len(node.input)))]
        if wide.isdisjoint(values):
            continue
        if node.op_type not in _MOVES and node.op_type != "Cast":
            return f"it computes with integers ({node.op_type}), which may leave the 32 bits that OpenVINO computes in"
        wide.update(integers)
    return None


def _kinds_of(graph: Any) -> dict[str, str]:
    """``float``, ``integer`` or ``bool`` for each tensor whose type is known."""
    import onnx

    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    letters = {"f": "float", "V": "float", "c": "float", "i": "integer", "u": "integer", "b": "bool"}
    dtypes = {name: onnx.helper.tensor_dtype_to_np_dtype(kind) for name, kind in types.items() if kind}
    return {name: letters.get(dtype.kind, "integer") for name, dtype in dtypes.items()}


def _constants_beyond(graph: Any, folder: Path) -> Iterator[str]:
    import onnx

    wide = (onnx.TensorProto.INT64, onnx.TensorProto.UINT64)
    constants = [(tensor.name, tensor) for tensor in graph.initializer]
    constants += [
        (node.output[0], attribute.t)
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    for name, tensor in constants:
        if tensor.data_type in wide:
            values = onnx.numpy_helper.to_array(tensor, str(folder))
            if values.size and (values.max() > _LARGEST or values.min() < _SMALLEST):
                yield name
