"""config.pbtxt, written through Triton's own protobuf, so that every Triton can parse it.

Only fields that Triton 2.51 knows are used, since the embedded server is of that version.
"""

from __future__ import annotations

from typing import Any, Literal

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.size_profile import size_profile
from cortex_compile.errors import EngineError
from cortex_compile.python_backend.manifest import Manifest, TensorSpec, Variant

__all__ = ["core_config", "predictor_config", "why_not_remote"]

Kind = Literal["KIND_CPU", "KIND_GPU"]

_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}

# A full queue answers UNAVAILABLE. The predictor's own limit comes first; this one is for clients that call a core.
_QUEUED_BATCHES = 8
# Triton lets a request shorten its model's time in the queue, never lengthen it, and not at all without a default.
_QUEUE_TIMEOUT_MICROSECONDS = 60_000_000


def predictor_config(manifest: Manifest) -> str:
    """The predictor: bytes in and out, one process per instance, its own threads answer.

    One that streams is decoupled, which Triton allows any number of responses to a request; and only one prediction
    is in such a request, since the chunks of several could not be told apart.
    """
    config = _new_config(manifest.name, "python", max_batch_size=0)
    _add(config.input, "payload", "uint8", (-1,))
    _add(config.input, "context", "uint8", (-1,), optional=True)
    _add(config.output, "response", "uint8", (-1,))
    _add(config.output, "status", "uint8", (-1,))
    if manifest.streaming:
        config.model_transaction_policy.decoupled = True
    else:
        _add(config.input, "_sizes", "int64", (2, -1), optional=True)
        _add(config.output, "_sizes", "int64", (2, -1))
    _add_instances(config, manifest.processes_per_replica, "KIND_CPU")
    return _text_of(config)


def core_config(
    name: str, variant: Variant, settings: TritonSettings, *, in_flight: int, kind: Kind = "KIND_CPU"
) -> str:
    """A core as a model of its own, batched by Triton where its variant's rows were proven independent.

    ``in_flight`` is how many requests the predictor itself may have under way: the queue has room for all of them.

    Raises:
        EngineError: Triton cannot carry one of the tensors; ask ``why_not_remote`` before placing a core.
    """
    obstacle = why_not_remote(variant)
    if obstacle is not None:
        raise EngineError(f"{name}: {obstacle}. Place the core local.")
    max_batch_size = _max_batch_size(variant)
    config = _new_config(name, settings.backend, max_batch_size)
    config.default_model_filename = settings.model_filename
    for tensors, specs in ((config.input, variant.inputs), (config.output, variant.outputs)):
        for spec in specs:
            _add(tensors, spec.name, spec.dtype, _dims(spec, batched=max_batch_size > 0))
    if max_batch_size > 1:
        batching = config.dynamic_batching
        # An idle core never waits for a batch to fill: what comes while it runs is the next batch. Nor has ONNX Runtime
        # a batch size that it prefers.
        batching.max_queue_delay_microseconds = 0
        policy = batching.default_queue_policy
        policy.max_queue_size = max(_QUEUED_BATCHES * max_batch_size, in_flight)
        policy.default_timeout_microseconds = _QUEUE_TIMEOUT_MICROSECONDS
        policy.allow_timeout_override = True
    _add_instances(config, 1, kind)
    for key, value in sorted(settings.parameters.items()):
        config.parameters[key].string_value = value
    for accelerator in settings.accelerators:
        added = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name=accelerator.name)
        for key, value in sorted(accelerator.parameters.items()):
            added.parameters[key] = value
    if settings.warm_up:
        _add_warm_up(config, variant, batched=max_batch_size > 0)
    return _text_of(config)


def why_not_remote(variant: Variant) -> str | None:
    """Why a variant cannot be a model of its own in Triton; None where it can."""
    for spec in (*variant.inputs, *variant.outputs):
        if not spec.shape:
            return f"the tensor {spec.name!r} has no dimension, and Triton has no empty shape"
        if spec.dtype not in _TYPES:
            return f"the tensor {spec.name!r} is of {spec.dtype}, which numpy or Triton does not have"
    return None


def _max_batch_size(variant: Variant) -> int:
    """The largest proven batch; 0, which is "not batched", where dimension 0 is not the batch of every tensor.

    Triton has no empty ``dims``, so a tensor that is nothing but its batch also keeps a model from being batched.
    """
    if variant.batch_dimension is None or any(len(spec.shape) < 2 for spec in (*variant.inputs, *variant.outputs)):
        return 0
    return next(item.maximum for item in variant.dimensions if item.name == variant.batch_dimension)


def _dims(spec: TensorSpec, *, batched: bool) -> tuple[int, ...]:
    shape = spec.shape[1:] if batched else spec.shape
    return tuple(-1 if isinstance(size, str) else size for size in shape)


def _add_warm_up(config: Any, variant: Variant, *, batched: bool) -> None:
    """Zeros: as an index, any other number may be beyond a table."""
    from tritonclient.grpc import model_config_pb2

    sizes = size_profile(variant)
    named = {"smallest": sizes.minimum, "typical": sizes.typical, "largest": sizes.maximum}
    for name, shapes in named.items():
        # Triton wants a batch size of 1 where there are no batches.
        sample = config.model_warmup.add(name=name, batch_size=shapes[0][0] if batched else 1)
        for spec, shape in zip(variant.inputs, shapes, strict=True):
            data = sample.inputs[spec.name]
            data.data_type = model_config_pb2.DataType.Value(_TYPES[spec.dtype])
            data.dims.extend(shape[1:] if batched else shape)
            data.zero_data = True


def _new_config(name: str, backend: str, max_batch_size: int) -> Any:
    from tritonclient.grpc import model_config_pb2

    return model_config_pb2.ModelConfig(name=name, backend=backend, max_batch_size=max_batch_size)


def _add(tensors: Any, name: str, dtype: str, dims: tuple[int, ...], *, optional: bool = False) -> None:
    from tritonclient.grpc import model_config_pb2

    tensor = tensors.add(name=name, data_type=model_config_pb2.DataType.Value(_TYPES[dtype]), dims=dims)
    if optional:
        tensor.optional = True


def _add_instances(config: Any, count: int, kind: Kind) -> None:
    from tritonclient.grpc import model_config_pb2

    config.instance_group.add(count=count, kind=model_config_pb2.ModelInstanceGroup.Kind.Value(kind))


def _text_of(config: Any) -> str:
    from google.protobuf import text_format

    return str(text_format.MessageToString(config))
