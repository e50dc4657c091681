"""The configs of a remote core for each kind of machine, parsed by Triton's own protobuf. None of them needs a GPU."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.backends.onnxruntime.gpu_settings import CACHE_FOLDER
from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.config_pbtxt import OnCpu, OnGpu, Queue
from cortex_compile.compiler.core_configs import configs_of_core
from cortex_compile.compiler.gpu_schedule import GpuSchedule
from cortex_compile.compiler.size_profile import size_profile
from cortex_compile.python_backend.manifest import Dimension, TensorSpec, Variant

SETTINGS = TritonSettings("onnxruntime", "model.onnx", {"intra_op_thread_count": "2"})
DIMENSIONS = (Dimension("batch", 1, 32, 4), Dimension("length", 0, 512, 7))
IDS = TensorSpec("ids", "int64", ("batch", "length"))
MASK = TensorSpec("mask", "bool", ("batch", "length+1"))
TABLE = TensorSpec("table", "float32", (10, 3))
HIDDEN = TensorSpec("hidden", "float32", ("batch", "length", 8))

# What the backend's README names; it refuses to load a model with any other key.
KEYS_OF_TENSORRT = {
    "precision_mode", "max_workspace_size_bytes", "trt_engine_cache_enable", "trt_engine_cache_path",
    "trt_engine_cache_prefix", "trt_timing_cache_enable", "trt_timing_cache_path", "trt_profile_min_shapes",
    "trt_profile_opt_shapes", "trt_profile_max_shapes",
}  # fmt: skip


def variant_of(*inputs: TensorSpec, batch: str | None = "batch") -> Variant:
    return Variant("v", "", (), "", (), inputs, (HIDDEN,), DIMENSIONS, batch, "graph.onnx")


def configs_of(variant: Variant, settings: TritonSettings = SETTINGS) -> dict[str, Any]:
    written = configs_of_core("api--model", variant, settings, Queue(8, 60.0), OnGpu(GpuSchedule(), 0), OnCpu(3, 4))
    return {name: text_format.Parse(text, model_config_pb2.ModelConfig()) for name, text in written.items()}


def accelerators_of(config: Any) -> dict[str, dict[str, str]]:
    found = config.optimization.execution_accelerators.gpu_execution_accelerator
    return {accelerator.name: dict(accelerator.parameters) for accelerator in found}


def parameters_of(config: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def test_unasked_triton_runs_a_core_on_the_cpu() -> None:
    configs = configs_of(variant_of(IDS, MASK))
    assert set(configs) == {"config.pbtxt", "configs/cpu.pbtxt", "configs/gpu.pbtxt", "configs/tensorrt.pbtxt"}
    assert configs["config.pbtxt"] == configs["configs/cpu.pbtxt"]
    kinds = {name: config.instance_group[0].kind for name, config in configs.items()}
    kind = model_config_pb2.ModelInstanceGroup.Kind.Value
    assert kinds["config.pbtxt"] == kind("KIND_CPU")
    assert kinds["configs/gpu.pbtxt"] == kinds["configs/tensorrt.pbtxt"] == kind("KIND_GPU")
    assert accelerators_of(configs["config.pbtxt"]) == {}
    assert parameters_of(configs["config.pbtxt"]) == {"intra_op_thread_count": "2"}


def test_what_was_tuned_here_is_for_the_cpu_alone() -> None:
    configs = configs_of(variant_of(IDS, MASK))
    assert [config.instance_group[0].count for config in configs.values()] == [3, 3, 1, 1]
    assert configs["config.pbtxt"].max_batch_size == 4
    assert configs["configs/gpu.pbtxt"].max_batch_size == 32


def test_cuda_computes_in_float32_and_tries_no_algorithms_inside_a_request() -> None:
    config = configs_of(variant_of(IDS, MASK))["configs/gpu.pbtxt"]
    assert accelerators_of(config) == {"cuda": {"use_tf32": "0"}}
    # Among an accelerator's own parameters the backend would overwrite these two.
    expected = {"intra_op_thread_count": "2", "arena_extend_strategy": "1", "cudnn_conv_algo_search": "1"}
    assert parameters_of(config) == expected
    assert not config.model_warmup


def test_tensorrt_knows_the_range_of_every_input_that_varies_and_caches_its_engine() -> None:
    found = accelerators_of(configs_of(variant_of(IDS, MASK, TABLE))["configs/tensorrt.pbtxt"])
    assert list(found) == ["tensorrt", "cuda"]  # in this order: the second takes what the first leaves
    tensorrt = found["tensorrt"]
    assert set(tensorrt) <= KEYS_OF_TENSORRT
    assert tensorrt["precision_mode"] == "FP32"
    assert tensorrt["trt_profile_min_shapes"] == "ids:1x1,mask:1x2"
    assert tensorrt["trt_profile_opt_shapes"] == "ids:4x7,mask:4x8"
    assert tensorrt["trt_profile_max_shapes"] == "ids:32x512,mask:32x513"
    for cache in ("engine", "timing"):
        assert tensorrt[f"trt_{cache}_cache_enable"] == "1"
        assert tensorrt[f"trt_{cache}_cache_path"] == CACHE_FOLDER
    assert tensorrt["trt_engine_cache_prefix"] == "api--model"


def test_nothing_varies_nothing_is_said_of_sizes() -> None:
    tensorrt = accelerators_of(configs_of(variant_of(TABLE, batch=None))["configs/tensorrt.pbtxt"])["tensorrt"]
    assert [key for key in tensorrt if "profile" in key] == []


@pytest.mark.parametrize("batch", ["batch", None])
def test_the_engine_is_built_for_all_sizes_before_the_model_is_ready(batch: str | None) -> None:
    warm_ups = configs_of(variant_of(IDS, MASK, batch=batch))["configs/tensorrt.pbtxt"].model_warmup
    shapes = {}
    for warm_up in warm_ups:
        assert all(data.zero_data for data in warm_up.inputs.values())
        assert warm_up.inputs["mask"].data_type == model_config_pb2.DataType.Value("TYPE_BOOL")
        shapes[warm_up.name] = (warm_up.batch_size, *(list(warm_up.inputs[name].dims) for name in ("ids", "mask")))
    if batch:
        assert shapes == {"smallest": (1, [1], [2]), "typical": (4, [7], [8]), "largest": (32, [512], [513])}
    else:
        assert shapes["largest"] == (1, [32, 512], [32, 513])


def test_a_plan_runs_on_a_gpu_whatever_triton_is_asked_for() -> None:
    configs = configs_of(variant_of(IDS, MASK), TritonSettings("tensorrt", "model.plan"))
    assert set(configs) == {"config.pbtxt", "configs/gpu.pbtxt"}
    for config in configs.values():
        assert config.backend == "tensorrt"
        assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.Kind.Value("KIND_GPU")


def test_a_size_without_a_typical_one_takes_the_smallest() -> None:
    variant = Variant("v", "", (), "", (), (IDS,), (), (Dimension("batch", 1, 3), Dimension("length", 5, 9)), None, "g")
    profile = size_profile(variant)
    assert (profile.minimum, profile.typical, profile.maximum) == (((1, 5),), ((1, 5),), ((3, 9),))
