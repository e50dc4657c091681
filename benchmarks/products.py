"""``python benchmarks/products.py``: how quick torch and ONNX Runtime multiply in float32 here, on one core.

The shapes are an encoder's of MiniLM's size: eight texts of 29 tokens, 384 wide, into its feed-forward layer of 1536.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import onnx
import onnxruntime
import torch

_ROWS, _WIDTH, _INNER = 8 * 29, 384, 1536
_TIMES = 300


def main() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    torch.set_num_threads(1)
    left, right = torch.randn(_ROWS, _WIDTH), torch.randn(_WIDTH, _INNER)
    session, given = _session(right), {"left": left.numpy()}
    rates = [_rate(lambda: torch.mm(left, right)), _rate(lambda: session.run(None, given))]
    print(f"torch {rates[0]:.0f} GFLOP/s, ONNX Runtime {rates[1]:.0f} GFLOP/s, {rates[1] / rates[0]:.2f}×")


def _session(right: torch.Tensor) -> onnxruntime.InferenceSession:
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["left", "right"], ["product"])],
        "product",
        [onnx.helper.make_tensor_value_info("left", float32, [_ROWS, _WIDTH])],
        [onnx.helper.make_tensor_value_info("product", float32, [_ROWS, _INNER])],
        [onnx.numpy_helper.from_array(right.numpy(), "right")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def _rate(multiply: Callable[[], object]) -> float:
    """GFLOP/s."""
    for _ in range(_TIMES // 10):
        multiply()
    began = time.perf_counter()
    for _ in range(_TIMES):
        multiply()
    return 2 * _ROWS * _WIDTH * _INNER * _TIMES / (time.perf_counter() - began) / 1e9


if __name__ == "__main__":
    main()
