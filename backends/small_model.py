"""The model on which an engine that runs ONNX shows that it is there: y = x + x."""

from __future__ import annotations

INPUT = [1.0, 2.0, 3.0]
DOUBLED = [2.0, 4.0, 6.0]


def small_model() -> bytes:
    """
    Raises:
        ImportError: onnx, or what torch's exporter needs besides, is not installed.
    """
    import onnx
    import onnxscript  # noqa: F401

    double = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    tensor = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy"]
    graph = onnx.helper.make_graph([double], "double", tensor[:1], tensor[1:])
    opset = [onnx.helper.make_opsetid("", 20)]
    model: bytes = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    return model
