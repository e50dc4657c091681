"""What is OpenVINO's own: integers of 32 bits, float32 kept, nothing told to its makers, requests for each thread."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cortex_compile.backends.onnx_weights import share_weights
from cortex_compile.backends.openvino.wide_integers import why_integers_may_not_fit
from cortex_compile.backends.weights_file import WeightsFile
from cortex_compile.python_backend.open_session import open_session
from cortex_compile.python_backend.openvino_session import OpenVinoSession

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def write_graph(
    path: Path, nodes: list[tuple[str, list[str], str]], inputs: dict[str, int], output: int, **constants: Any
) -> Path:
    """The ops in turn; the last one's result is the output ``y``. What is no constant is a vector."""
    made = []
    for op, names, result in nodes:
        more = {"to": INT64 if result.startswith("int") else FLOAT} if op == "Cast" else {}
        made.append(helper.make_node(op, names, [result], **more))
    initializers = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    values = [helper.make_tensor_value_info(name, kind, [None]) for name, kind in inputs.items()]
    result = helper.make_tensor_value_info("y", output, [None])
    graph = helper.make_graph(made, "graph", values, [result], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


TABLE = np.arange(8, dtype=np.float32)


@pytest.mark.parametrize(
    ("nodes", "inputs", "output", "constants"),
    [
        ([("Gather", ["table", "x"], "y")], {"x": INT64}, FLOAT, {"table": TABLE}),
        ([("Identity", ["x"], "y")], {"x": INT64}, INT64, {}),
        ([("Cast", ["x"], "float"), ("Mul", ["float", "float"], "y")], {"x": INT64}, FLOAT, {}),
        ([("Equal", ["x", "one"], "is"), ("Cast", ["is"], "int"), ("Add", ["int", "one"], "y")], {"x": INT64}, INT64,
         {"one": np.int64(1)}),
        ([("Shape", ["x"], "n"), ("Mul", ["n", "n"], "y")], {"x": INT64}, INT64, {}),
        ([("Slice", ["x", "from", "to"], "y")], {"x": FLOAT}, FLOAT,
         {"from": np.array([0]), "to": np.array([2**63 - 1])}),
    ],
)  # fmt: skip
def test_integers_that_stay_small_are_taken(
    nodes: Any, inputs: Any, output: int, constants: Any, tmp_path: Path
) -> None:
    assert why_integers_may_not_fit(write_graph(tmp_path / "g.onnx", nodes, inputs, output, **constants)) is None


@pytest.mark.parametrize(
    ("nodes", "inputs", "constants", "reason"),
    [
        ([("Mul", ["x", "x"], "y")], {"x": INT64}, {}, "it computes with integers (Mul)"),
        ([("Reshape", ["x", "shape"], "moved"), ("Add", ["moved", "moved"], "y")], {"x": INT64},
         {"shape": np.array([-1])}, "it computes with integers (Add)"),
        ([("Gather", ["x", "place"], "y1"), ("Neg", ["y1"], "y")], {"x": INT64}, {"place": np.array([0])},
         "it computes with integers (Neg)"),
        ([("Cast", ["x"], "int"), ("Identity", ["int"], "y")], {"x": FLOAT}, {}, "it turns computed numbers"),
        ([("Where", ["c", "large", "x"], "y")], {"x": INT64, "c": BOOL}, {"large": np.array([2**40])},
         "it has the integer constant 'large'"),
    ],
)  # fmt: skip
def test_integers_that_may_not_fit_are_refused(
    nodes: Any, inputs: Any, constants: Any, reason: str, tmp_path: Path
) -> None:
    found = why_integers_may_not_fit(write_graph(tmp_path / "g.onnx", nodes, inputs, INT64, **constants))
    assert found is not None
    assert found.startswith(reason)


def test_an_integer_beyond_32_bits_is_an_error_and_not_another_integer(tmp_path: Path) -> None:
    session = OpenVinoSession(write_graph(tmp_path / "g.onnx", [("Identity", ["x"], "y")], {"x": INT64}, INT64), 1)
    fits = np.array([2**31 - 1, -(2**31)])
    np.testing.assert_array_equal(session.run([fits])[0], fits)
    for beyond in (2**31, -(2**31) - 1):
        with pytest.raises(ValueError, match="beyond 32 bits"):
            session.run([np.array([beyond])])
    assert session.run([np.array([], np.int64)])[0].shape == (0,)


def test_it_computes_in_float32_with_the_threads_that_it_is_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((64, 64)).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", FLOAT, [None, 64])]
    outputs = [helper.make_tensor_value_info("y", FLOAT, [None, 64])]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, [onnx.numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "g.onnx")
    x = rng.standard_normal((3, 64)).astype(np.float32)
    session = OpenVinoSession(tmp_path / "g.onnx", 1)
    np.testing.assert_allclose(session.run([x])[0], x @ weights, rtol=1e-4, atol=1e-5)
    assert session._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert str(session._compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"


def test_a_build_opens_it_with_its_weights_in_the_modules_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((64, 64)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    values = [helper.make_tensor_value_info(name, FLOAT, [None, 64]) for name in "xy"]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:], [onnx.numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (core := tmp_path / "core").mkdir()
    onnx.save_model(model, tmp_path / "g.onnx", save_as_external_data=True, location="g.data", size_threshold=0)
    file = WeightsFile(core / "weights.bin")
    file.offset_of(b"of another variant")
    share_weights(tmp_path / "g.onnx", core / "v0.onnx", file)
    x = rng.standard_normal((3, 64)).astype(np.float32)
    (found,) = open_session("openvino", core / "v0.onnx", 1).run([x])
    np.testing.assert_allclose(found, x @ weights, rtol=1e-4, atol=1e-5)


def test_threads_do_not_share_a_request(tmp_path: Path) -> None:
    nodes = [("Cast", ["x"], "float"), ("Mul", ["float", "float"], "y")]
    session = OpenVinoSession(write_graph(tmp_path / "g.onnx", nodes, {"x": INT64}, FLOAT), 1)

    def square(number: int) -> bool:
        x = np.full(20_000, number % 100)
        return bool((session.run([x])[0] == (number % 100) ** 2).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(square, range(200)))


def test_nothing_is_told_to_its_makers() -> None:
    code = "import sys; from cortex_compile.python_backend.openvino_session import import_openvino; import_openvino();"
    code += "print([name for name in sys.modules if name.startswith('openvino_telemetry.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"
