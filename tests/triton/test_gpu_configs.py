"""What is written for GPUs, loaded by a real server without one: every config, with its instances moved to the CPU.

The server's own checks and its loader are what native backends have as well. What only they read (the accelerators'
keys, the specs of CUDA graphs, a plan) is parsed here and no more.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc as client
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.config_pbtxt import OnCpu, OnGpu, Queue
from cortex_compile.compiler.core_configs import configs_of_core
from cortex_compile.compiler.gpu_schedule import GpuSchedule
from cortex_compile.launchers.embedded import EmbeddedServer
from cortex_compile.python_backend.manifest import Dimension, PaddingSpec, TensorSpec, Variant

from .tiny_build import echo_build, python_model, write_model

PLAN = TritonSettings("tensorrt", "model.plan", warm_up=True, cuda_graphs=True)
PADDED = Variant(
    "v", "", (), "", (),
    (TensorSpec("ids", "int64", ("batch", "length")), TensorSpec("mask", "bool", ("batch", "length+1"))),
    (TensorSpec("hidden", "float32", ("batch", "length")),),
    (Dimension("batch", 1, 8, 2), Dimension("length", 0, 64, 7)),
    "batch", "graph.onnx", paddings=(PaddingSpec("length", "mask", {"ids": 0}, (), 64, (16, 64)),),
)  # fmt: skip
ONE_SIZE = replace(
    PADDED,
    inputs=tuple(replace(spec, shape=("batch", 4)) for spec in PADDED.inputs),
    outputs=(TensorSpec("hidden", "float32", ("batch", 4)),),
    dimensions=PADDED.dimensions[:1],
    paddings=(),
)
UNBATCHED = replace(
    ONE_SIZE,
    inputs=tuple(replace(spec, shape=(2, 4)) for spec in PADDED.inputs),
    outputs=(TensorSpec("hidden", "float32", (2, 4)),),
    dimensions=(),
    batch_dimension=None,
)
CORES = {
    "onnx-padded": (PADDED, TritonSettings("onnxruntime", "model.onnx", {"intra_op_thread_count": "1"})),
    "plan-padded": (PADDED, PLAN),
    "plan-one-size": (ONE_SIZE, PLAN),
    "plan-unbatched": (UNBATCHED, PLAN),
}


def configs_for_gpus() -> dict[str, Any]:
    """Each as a model of another name, as a server without a GPU and without their backends takes it."""
    found = {}
    on_gpu = OnGpu(GpuSchedule(devices=(0, 1), instances=1, priority=2), 500)
    for core, (variant, settings) in CORES.items():
        written = configs_of_core("api--core", variant, settings, Queue(64, 30.0), on_gpu, OnCpu())
        for path in {"configs/gpu.pbtxt", "configs/tensorrt.pbtxt"} & set(written):
            config = text_format.Parse(written[path], model_config_pb2.ModelConfig())
            config.name = f"api--{core}-{Path(path).stem}"
            config.backend, config.default_model_filename = "onnxruntime", "model.onnx"
            # As compiler/plans_of_other_gpus.py has it.
            config.cc_model_filenames["8.0"] = "model-8.0.plan"
            for group in config.instance_group:
                group.kind = group.KIND_CPU
                del group.gpus[:]
            found[config.name] = config
    return found


def write_graph(repository: Path, config: Any) -> None:
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "n"]),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, ["b", "m"]),
    ]
    output = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["b", "n"])
    graph = helper.make_graph(
        [helper.make_node("Cast", ["ids"], ["hidden"], to=TensorProto.FLOAT)], "g", inputs, [output]
    )
    model = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    write_model(repository, config, {"model.onnx": model.SerializeToString()})


@pytest.fixture(scope="module")
def address(installed_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that has all of them, and two models that share a slot."""
    folder = tmp_path_factory.mktemp("build")
    for config in configs_for_gpus().values():
        write_graph(folder / "model_repository", config)
    for name, priority in ((FIRST, 1), (SECOND, 2)):
        write_slow_model(folder / "model_repository", name, priority)
    server = EmbeddedServer([echo_build(folder, "api")], http_port=0, grpc_port=0, metrics_port=0)
    yield server.start(timeout_s=90).grpc
    server.stop()


def test_triton_takes_every_config_and_they_answer(address: str) -> None:
    configs = configs_for_gpus()
    assert len(configs) == 5
    triton = client.InferenceServerClient(address)
    for name, written in configs.items():
        taken = triton.get_model_config(name).config
        for field in ("dynamic_batching", "instance_group", "optimization", "model_warmup"):
            for said in _said(written, field):
                assert said in _said(taken, field), (name, field)
        assert dict(taken.cc_model_filenames) == {"8.0": "model-8.0.plan"}
        ids, mask = np.arange(8).reshape(2, 4), np.ones((2, 5 if "padded" in name else 4), bool)
        assert _infer(triton, name, ids, mask).tolist() == ids.tolist()
    triton.close()


def _said(config: Any, field: str) -> set[str]:
    """What is set, a line each; Triton adds to it (priorities of pinned memory, names of groups)."""
    part = getattr(config, field)
    parts = [part] if hasattr(part, "ListFields") else part
    return {line.strip() for each in parts for line in str(each).splitlines() if ":" in line}


def _infer(triton: Any, name: str, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    inputs = []
    for tensor, array, kind in (("ids", ids, "INT64"), ("mask", mask, "BOOL")):
        inputs.append(client.InferInput(tensor, list(array.shape), kind))
        inputs[-1].set_data_from_numpy(array)
    result: np.ndarray[Any, Any] = triton.infer(name, inputs).as_numpy("hidden")
    return result


FIRST, SECOND = "api--first", "api--second"

SLOW_MODEL = """
    import time
    import triton_python_backend_utils as pb_utils


    class TritonPythonModel:
        def execute(self, requests):
            time.sleep(0.01 * len(requests))
            return [pb_utils.InferenceResponse([]) for _ in requests]
"""


def write_slow_model(repository: Path, name: str, priority: int) -> None:
    config = python_model(name)
    limiter = config.instance_group[0].rate_limiter
    limiter.resources.add(name="gpu", count=1)
    limiter.priority = priority
    write_model(repository, config, {"model.py": SLOW_MODEL})


def test_models_that_share_a_slot_take_turns_by_priority(address: str) -> None:
    """Both always have requests waiting; the one of priority 1 is to have about twice the turns of the other."""
    enough = threading.Event()
    clients = [threading.Thread(target=_ask_until, args=(enough, address, name)) for name in (FIRST, SECOND) * 6]
    triton = client.InferenceServerClient(address)
    for thread in clients:
        thread.start()
    try:
        counts = [0, 0]
        while sum(counts) < 120:
            enough.wait(0.05)
            counts = [_executions(triton, name) for name in (FIRST, SECOND)]
    finally:
        enough.set()
        for thread in clients:
            thread.join()
        triton.close()
    assert 1.5 < counts[0] / counts[1] < 2.7, counts


def _ask_until(enough: threading.Event, address: str, model: str) -> None:
    triton = client.InferenceServerClient(address)
    tensor = client.InferInput("x", [1], "UINT8")
    tensor.set_data_from_numpy(np.zeros(1, np.uint8))
    while not enough.is_set():
        triton.infer(model, [tensor])
    triton.close()


def test_requests_share_batches_where_cores_take_turns(address: str) -> None:
    name = "api--onnx-padded-gpu"
    triton = client.InferenceServerClient(address)
    before = _executions(triton, name)
    ids, mask = np.arange(8).reshape(2, 4), np.ones((2, 5), bool)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: _infer(triton, name, ids, mask).tolist(), range(64)))
    executions = _executions(triton, name) - before
    triton.close()
    assert answers == [ids.tolist()] * 64
    assert executions < 64


def _executions(triton: Any, model: str) -> int:
    return int(triton.get_inference_statistics(model).model_stats[0].execution_count)
