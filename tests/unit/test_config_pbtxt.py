"""config.pbtxt parses with Triton's own protobuf and says what the manifest says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.config_pbtxt import OnGpu, Queue, core_config, predictor_config, why_not_remote
from cortex_compile.compiler.gpu_schedule import GpuSchedule, queue_delay_us, schedule_in_words
from cortex_compile.errors import EngineError
from cortex_compile.python_backend.manifest import Dimension, Manifest, PaddingSpec, TensorSpec, Variant

SETTINGS = TritonSettings("onnxruntime", "model.onnx", {"intra_op_thread_count": "2"})

# Each one stands in Triton 2.51's model_config.proto.
KNOWN_FIELDS = {
    "name", "backend", "max_batch_size", "input", "output", "instance_group", "dynamic_batching",
    "default_model_filename", "parameters", "model_transaction_policy", "optimization",
}  # fmt: skip

QUEUE = Queue(in_flight=1, timeout_s=90.0)


def parse(text: str) -> Any:
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert {field.name for field, _ in config.ListFields()} <= KNOWN_FIELDS
    return config


def variant_of(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], batch_dimension: str | None = "batch"
) -> Variant:
    dimensions = (Dimension("batch", 1, 32), Dimension("length", 1, 512))
    return Variant("v", "", (), "", (), inputs, outputs, dimensions, batch_dimension, "graph.onnx")


def tensors_of(tensors: Any) -> list[tuple[str, str, list[int], bool]]:
    name_of = model_config_pb2.DataType.Name
    return [(t.name, name_of(t.data_type), list(t.dims), getattr(t, "optional", False)) for t in tensors]


def test_the_predictor_takes_and_gives_bytes() -> None:
    manifest = Manifest(1, "iris", "/iris", "predictor.py", {}, {}, None, "info", 3, 1, 1024, (), (), {})
    config = parse(predictor_config(manifest))
    assert (config.name, config.backend, config.max_batch_size) == ("iris", "python", 0)
    assert tensors_of(config.input) == [
        ("payload", "TYPE_UINT8", [-1], False),
        ("context", "TYPE_UINT8", [-1], True),
        ("_sizes", "TYPE_INT64", [2, -1], True),
    ]
    assert tensors_of(config.output) == [
        ("response", "TYPE_UINT8", [-1], False),
        ("status", "TYPE_UINT8", [-1], False),
        ("_sizes", "TYPE_INT64", [2, -1], False),
    ]
    (group,) = config.instance_group
    assert (group.count, group.kind) == (3, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert not config.model_transaction_policy.decoupled


def test_a_predictor_that_streams_is_decoupled_and_takes_one_prediction_at_a_time() -> None:
    manifest = Manifest(
        1, "iris", "/iris", "predictor.py", {}, {}, None, "info", 3, 1, 1024, (), (), {}, streaming=True
    )
    config = parse(predictor_config(manifest))
    assert config.model_transaction_policy.decoupled
    assert [tensor.name for tensor in (*config.input, *config.output)] == ["payload", "context", "response", "status"]


def test_a_batched_core_has_no_batch_among_its_dims_and_a_bounded_queue() -> None:
    variant = variant_of(
        (TensorSpec("ids", "int64", ("batch", "length")), TensorSpec("mask", "bool", ("batch", "length"))),
        (TensorSpec("hidden", "float32", ("batch", "length", 384)),),
    )
    config = parse(core_config("iris--model", variant, SETTINGS, queue=Queue(1024, 90.0)))
    assert (config.name, config.backend, config.max_batch_size) == ("iris--model", "onnxruntime", 32)
    assert config.default_model_filename == "model.onnx"
    assert tensors_of(config.input) == [("ids", "TYPE_INT64", [-1], False), ("mask", "TYPE_BOOL", [-1], False)]
    assert tensors_of(config.output) == [("hidden", "TYPE_FP32", [-1, 384], False)]
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert config.HasField("dynamic_batching")
    policy = config.dynamic_batching.default_queue_policy
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (1024, 90_000_000)
    assert not policy.allow_timeout_override
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    assert (config.dynamic_batching.priority_levels, config.dynamic_batching.default_priority_level) == (2, 1)
    small = parse(core_config("iris--model", variant, SETTINGS, queue=QUEUE))
    assert small.dynamic_batching.default_queue_policy.max_queue_size == 8 * 32


@pytest.mark.parametrize(
    ("output", "batch_dimension"),
    [
        (TensorSpec("y", "float16", ("batch", 3)), None),
        # Triton takes no empty dims, so this tensor cannot be batched: tried on 2.51.
        (TensorSpec("y", "float16", ("batch",)), "batch"),
    ],
)
def test_a_core_that_is_not_batched_has_all_its_dims(output: TensorSpec, batch_dimension: str | None) -> None:
    variant = variant_of((TensorSpec("x", "float64", ("batch", 3)),), (output,), batch_dimension)
    config = parse(core_config("m", variant, SETTINGS, queue=QUEUE))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, 3]
    assert list(config.output[0].dims) == [-1 if isinstance(size, str) else size for size in output.shape]


def test_unless_it_is_for_a_gpu_a_core_has_one_instance_on_the_cpu_and_takes_no_turns() -> None:
    variant = variant_of((TensorSpec("x", "uint8", ("batch", 3)),), ())
    (group,) = parse(core_config("m", variant, SETTINGS, queue=QUEUE)).instance_group
    assert (group.count, group.kind) == (1, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert not group.HasField("rate_limiter")


def test_on_gpus_instances_take_turns_by_the_priority_of_their_api() -> None:
    variant = variant_of((TensorSpec("x", "uint8", ("batch", 3)),), ())
    schedule = GpuSchedule(devices=(0, 2), instances=3, priority=4)
    config = parse(core_config("m", variant, SETTINGS, queue=QUEUE, gpu=OnGpu(schedule, 700)))
    (group,) = config.instance_group
    assert (group.count, group.kind, list(group.gpus)) == (3, model_config_pb2.ModelInstanceGroup.KIND_GPU, [0, 2])
    assert group.rate_limiter.priority == 4
    assert [(each.name, each.count) for each in group.rate_limiter.resources] == [("gpu", 1)]
    assert config.dynamic_batching.max_queue_delay_microseconds == 700
    assert not config.optimization.cuda.graphs


def test_a_batch_waits_to_be_filled_for_throughput_only_or_as_long_as_is_said() -> None:
    assert [queue_delay_us(GpuSchedule(), objective) for objective in ("latency", "throughput")] == [0, 500]
    asked = GpuSchedule(queue_delay_us=0)
    assert queue_delay_us(asked, "throughput") == 0
    words = schedule_in_words(GpuSchedule((1,), 2, 3), "throughput")
    assert words == "on a machine with GPUs: 2 instances on GPU 1, priority 3, a batch waits 0.5 ms to be filled"


PLAN = TritonSettings("tensorrt", "model.plan", cuda_graphs=True)
MASKED = (TensorSpec("ids", "int64", ("batch", "length")), TensorSpec("mask", "bool", ("batch", "length+1")))


def cuda_graphs_of(variant: Variant, schedule: GpuSchedule) -> list[tuple[int, dict[str, list[int]]]]:
    cuda = parse(core_config("m", variant, PLAN, queue=QUEUE, gpu=OnGpu(schedule, 0))).optimization.cuda
    assert cuda.graphs == bool(cuda.graph_spec)
    return [
        (spec.batch_size, {name: list(shape.dim) for name, shape in sorted(spec.input.items())})
        for spec in cuda.graph_spec
    ]


def test_cuda_graphs_are_for_each_bucket_and_powers_of_two_up_to_the_largest_batch() -> None:
    padding = PaddingSpec("length", "mask", {"ids": 0}, (), 512, (16, 64))
    variant = replace(variant_of(MASKED, ()), paddings=(padding,))
    found = cuda_graphs_of(variant, GpuSchedule())
    assert [batch for batch, _ in found] == [1, 2, 4, 8, 16, 32] * 2
    assert [sizes for _, sizes in found] == [{"ids": [16], "mask": [17]}] * 6 + [{"ids": [64], "mask": [65]}] * 6
    assert cuda_graphs_of(variant, GpuSchedule(cuda_graphs=False)) == []


def test_cuda_graphs_are_for_known_shapes_only() -> None:
    assert cuda_graphs_of(variant_of(MASKED, ()), GpuSchedule()) == []  # calls of any length
    table = variant_of((TensorSpec("table", "float32", (10, 3)),), (), batch_dimension=None)
    assert cuda_graphs_of(replace(table, dimensions=()), GpuSchedule()) == [(0, {"table": [10, 3]})]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (TensorSpec("scale", "float32", ()), "'scale' has no dimension"),
        (TensorSpec("x", "bfloat16", ("batch", 3)), "'x' is of bfloat16"),
    ],
)
def test_what_triton_cannot_carry_is_refused(tensor: TensorSpec, words: str) -> None:
    variant = variant_of((tensor,), ())
    reason = why_not_remote(variant)
    assert reason is not None
    assert words in reason
    with pytest.raises(EngineError, match=words):
        core_config("m", variant, SETTINGS, queue=QUEUE)
    assert why_not_remote(variant_of((TensorSpec("x", "float32", (3,)),), ())) is None
