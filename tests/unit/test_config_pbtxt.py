"""config.pbtxt parses with Triton's own protobuf and says what the manifest says."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.config_pbtxt import core_config, predictor_config, why_not_remote
from cortex_compile.errors import EngineError
from cortex_compile.python_backend.manifest import Dimension, Manifest, TensorSpec, Variant

SETTINGS = TritonSettings("onnxruntime", "model.onnx", {"intra_op_thread_count": "2"})

# Each one stands in Triton 2.51's model_config.proto.
KNOWN_FIELDS = {
    "name", "backend", "max_batch_size", "input", "output", "instance_group", "dynamic_batching",
    "default_model_filename", "parameters", "model_transaction_policy",
}  # fmt: skip


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
    config = parse(core_config("iris--model", variant, SETTINGS, in_flight=1024))
    assert (config.name, config.backend, config.max_batch_size) == ("iris--model", "onnxruntime", 32)
    assert config.default_model_filename == "model.onnx"
    assert tensors_of(config.input) == [("ids", "TYPE_INT64", [-1], False), ("mask", "TYPE_BOOL", [-1], False)]
    assert tensors_of(config.output) == [("hidden", "TYPE_FP32", [-1, 384], False)]
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    assert config.HasField("dynamic_batching")
    policy = config.dynamic_batching.default_queue_policy
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert (policy.max_queue_size, policy.allow_timeout_override) == (1024, True)
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    small = parse(core_config("iris--model", variant, SETTINGS, in_flight=1))
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
    config = parse(core_config("m", variant, SETTINGS, in_flight=1))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, 3]
    assert list(config.output[0].dims) == [-1 if isinstance(size, str) else size for size in output.shape]


@pytest.mark.parametrize("kind", ["KIND_CPU", "KIND_GPU"])
def test_the_kind_of_instance(kind: Any) -> None:
    variant = variant_of((TensorSpec("x", "uint8", ("batch", 3)),), ())
    (group,) = parse(core_config("m", variant, SETTINGS, in_flight=1, kind=kind)).instance_group
    assert model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind) == kind
    assert group.count == 1


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
        core_config("m", variant, SETTINGS, in_flight=1)
    assert why_not_remote(variant_of((TensorSpec("x", "float32", (3,)),), ())) is None
