"""Our Python-based backend ``onnxruntime`` behaves as the native one: values, batches, errors, threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc as client
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from cortex_compile.errors import LaunchError

from .conftest import RunningServer
from .processes import processes_of
from .tiny_build import write_build, write_model

TABLE = np.arange(12, dtype=np.float32).reshape(6, 2)


def test_values_of_each_type_come_back_exactly(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    """Each input of the graph is an output of it as well, but the last, which is computed."""
    types = ["FLOAT", "DOUBLE", "FLOAT16", "INT64", "INT32", "UINT8", "BOOL"]
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in types]
    inputs = [helper.make_tensor_value_info(f"in_{name}", getattr(TensorProto, name), ["b", "n"]) for name in types]
    outputs = [helper.make_tensor_value_info(f"out_{name}", getattr(TensorProto, name), ["b", "n"]) for name in types]
    triton = {"FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16"}
    config = model_config_pb2.ModelConfig(name="types", backend="onnxruntime", max_batch_size=4)
    for name in types:
        data_type = f"TYPE_{triton.get(name, name)}"
        config.input.add(name=f"in_{name}", data_type=data_type, dims=[-1])
        config.output.add(name=f"out_{name}", data_type=data_type, dims=[-1])
    write_onnx_model(tmp_path, config, nodes, inputs, outputs)
    run = start_server(write_build(tmp_path, "types"))

    numbers = np.array([[0, 1, 2.5], [-3, 7, 100]])
    arrays = {
        f"in_{name}": numbers.astype(helper.tensor_dtype_to_np_dtype(getattr(TensorProto, name))) for name in types
    }
    result = infer(run, "types", arrays)
    for name in types:
        sent, received = arrays[f"in_{name}"], result.as_numpy(f"out_{name}")
        assert received.dtype == sent.dtype
        np.testing.assert_array_equal(received, sent)
    only = infer(run, "types", arrays, outputs=["out_INT64"])
    assert [output.name for output in only.get_response().outputs] == ["out_INT64"]
    empty = infer(run, "types", {name: array[:, :0] for name, array in arrays.items()})
    assert empty.as_numpy("out_FLOAT").shape == (2, 0)


def test_requests_at_one_time_are_one_batch(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_lookup(tmp_path)
    run = start_server(write_build(tmp_path, "lookup"))
    asked = [[index % 6] for index in range(16)]
    answers = infer_together(run, asked)
    for indices, answer in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(answer.as_numpy("rows"), TABLE[[indices]])
    (found,) = statistics(run, "lookup")
    assert found.inference_count == 16
    assert found.execution_count < 16
    assert any(batch.batch_size > 1 for batch in found.batch_stats)


def test_only_the_request_to_blame_gets_the_error(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_lookup(tmp_path)
    run = start_server(write_build(tmp_path, "lookup"))
    answers = infer_together(run, [[0], [1], [99], [3], [4], [5], [0], [1]])
    refused = answers.pop(2)
    assert isinstance(refused, InferenceServerException)
    assert "out of data bounds" in str(refused)
    assert "Traceback" not in str(refused)
    assert str(tmp_path) not in str(refused)
    for index, answer in zip([0, 1, 3, 4, 5, 0, 1], answers, strict=True):
        np.testing.assert_array_equal(answer.as_numpy("rows"), TABLE[[[index]]])
    (found,) = statistics(run, "lookup")
    assert found.execution_count < 8, "they were not in one batch, so this shows nothing"


def test_a_batch_of_requests_of_different_lengths_is_answered(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    write_lookup(tmp_path, ragged=True)
    run = start_server(write_build(tmp_path, "lookup"))
    asked = [[0], [1, 2], [3], [4, 5], [0, 1, 2], [5], [2, 1], [3]]
    for indices, answer in zip(asked, infer_together(run, asked), strict=True):
        np.testing.assert_array_equal(answer.as_numpy("rows"), TABLE[[indices]])
    (found,) = statistics(run, "lookup")
    assert found.execution_count < 8, "they were not in one batch, so this shows nothing"


def test_a_model_without_batches_is_answered_one_by_one(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    """With max_batch_size 0 the first dimension is the model's own."""
    write_lookup(tmp_path, max_batch_size=0)
    run = start_server(write_build(tmp_path, "lookup"))
    answer = infer(run, "lookup", {"indices": np.array([[1, 2], [3, 4], [5, 0]])})
    np.testing.assert_array_equal(answer.as_numpy("rows"), TABLE[[[1, 2], [3, 4], [5, 0]]])


def test_the_thread_count_reaches_the_session(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_lookup(tmp_path, name="one", threads="1")
    write_lookup(tmp_path, name="one--four", threads="4")
    run = start_server(write_build(tmp_path, "one"))
    assert threads_of(run, "one--four") - threads_of(run, "one") == 3


def test_each_instance_is_a_process(start_server: Callable[..., RunningServer], tmp_path: Path) -> None:
    write_lookup(tmp_path, instances=2)
    run = start_server(write_build(tmp_path, "lookup"))
    assert len(stubs_of(run, "lookup")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"parameters": {"intra_op_thread_count": {"string_value": "many"}}},
            "'intra_op_thread_count': expected a number of threads, found 'many'",
        ),
        ({"default_model_filename": "other.onnx"}, "other.onnx"),
    ],
)
def test_a_config_it_cannot_follow_is_refused_when_it_loads(
    start_server: Callable[..., RunningServer], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_lookup(tmp_path, **change)
    with pytest.raises(LaunchError, match=message):
        start_server(write_build(tmp_path, "lookup"))


def write_lookup(
    folder: Path,
    name: str = "lookup",
    *,
    max_batch_size: int = 16,
    instances: int = 1,
    threads: str = "1",
    ragged: bool = False,
    **change: Any,
) -> None:
    """A model that looks up rows of TABLE, and fails for an index that has none; it waits for a batch to gather."""
    nodes = [helper.make_node("Gather", ["table", "indices"], ["rows"])]
    indices = helper.make_tensor_value_info("indices", TensorProto.INT64, ["b", "n"])
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["b", "n", 2])
    batch = [] if max_batch_size else [-1]
    config = model_config_pb2.ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=max_batch_size,
        input=[
            model_config_pb2.ModelInput(
                name="indices", data_type="TYPE_INT64", dims=[*batch, -1], allow_ragged_batch=ragged
            )
        ],
        output=[model_config_pb2.ModelOutput(name="rows", data_type="TYPE_FP32", dims=[*batch, -1, 2])],
        instance_group=[model_config_pb2.ModelInstanceGroup(count=instances, kind="KIND_CPU")],
        **{"parameters": {"intra_op_thread_count": {"string_value": threads}}, **change},
    )
    if max_batch_size:
        config.dynamic_batching.max_queue_delay_microseconds = 500_000
    write_onnx_model(folder, config, nodes, [indices], [rows], [onnx.numpy_helper.from_array(TABLE, "table")])


def write_onnx_model(
    folder: Path,
    config: model_config_pb2.ModelConfig,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
) -> None:
    graph = helper.make_graph(nodes, config.name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    write_model(folder / "model_repository", config, {"model.onnx": model.SerializeToString()})


def infer(
    run: RunningServer, model: str, arrays: dict[str, np.ndarray[Any, Any]], outputs: Sequence[str] | None = None
) -> Any:
    connection = client.InferenceServerClient(run.endpoints.grpc)
    try:
        inputs = []
        for name, array in arrays.items():
            inputs.append(client.InferInput(name, list(array.shape), TRITON_TYPES[array.dtype.name]))
            inputs[-1].set_data_from_numpy(array)
        wanted = None if outputs is None else [client.InferRequestedOutput(name) for name in outputs]
        return connection.infer(model, inputs, outputs=wanted)
    finally:
        connection.close()


TRITON_TYPES = {
    "float32": "FP32",
    "float64": "FP64",
    "float16": "FP16",
    "int64": "INT64",
    "int32": "INT32",
    "uint8": "UINT8",
    "bool": "BOOL",
}


def infer_together(run: RunningServer, asked: list[list[int]]) -> list[Any]:
    """One request for each, all under way at one time; an error stands in the place of its answer."""

    def ask(indices: list[int]) -> Any:
        try:
            return infer(run, "lookup", {"indices": np.array([indices], np.int64)})
        except InferenceServerException as error:
            return error

    with ThreadPoolExecutor(len(asked)) as threads:
        return list(threads.map(ask, asked))


def statistics(run: RunningServer, model: str) -> Any:
    connection = client.InferenceServerClient(run.endpoints.grpc)
    try:
        return connection.get_inference_statistics(model).model_stats
    finally:
        connection.close()


def stubs_of(run: RunningServer, model: str) -> list[int]:
    assert run.server.server_pid is not None
    return [
        pid
        for pid in processes_of(run.server.server_pid)
        if f"{model}_".encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and pid != run.server.server_pid
    ]


def threads_of(run: RunningServer, model: str) -> int:
    (pid,) = stubs_of(run, model)
    return len(os.listdir(f"/proc/{pid}/task"))
