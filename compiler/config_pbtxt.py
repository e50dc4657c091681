"""config.pbtxt, written through Triton's own protobuf, so that every Triton can parse it.

Only fields that Triton 2.51 knows are used, since the embedded server is of that version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cortex_compile.backends.protocol import TritonSettings
from cortex_compile.compiler.gpu_schedule import GpuSchedule
from cortex_compile.compiler.size_profile import concrete_size, size_profile
from cortex_compile.errors import EngineError
from cortex_compile.python_backend.manifest import Manifest, TensorSpec, Variant

__all__ = ["GPU_SLOT", "OnCpu", "OnGpu", "Queue", "core_config", "predictor_config", "why_not_remote"]

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

# What the rate limiter hands out: a core's instance runs while it has one of its GPU's. The launcher says how many
# there are, and turns the limiter on where more than one core may want them.
GPU_SLOT = "gpu"

# Those who call a core directly may ask for 2; the predictor's calls, which can ask for nothing, are of level 1.
_PRIORITY_LEVELS = 2


@dataclass(frozen=True)
class Queue:
    """Of a core: ``in_flight`` is how many requests its predictor may have under way, and all of them fit; none waits
    longer than ``timeout_s``, after which nobody waits for the answer."""

    in_flight: int
    timeout_s: float


@dataclass(frozen=True)
class OnGpu:
    """A core's config is for a GPU: where and how often, and how long a batch waits to be filled."""

    schedule: GpuSchedule
    delay_us: int


@dataclass(frozen=True)
class OnCpu:
    """A core's config is for the CPU: how often, and the largest batch, where that is less than proven; 0 is none."""

    instances: int = 1
    max_batch: int | None = None


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
    name: str,
    variant: Variant,
    settings: TritonSettings,
    *,
    queue: Queue,
    gpu: OnGpu | None = None,
    cpu: OnCpu = OnCpu(),
) -> str:
    """A core as a model of its own, batched by Triton where its variant's rows were proven independent.

    Raises:
        EngineError: Triton cannot carry one of the tensors; ask ``why_not_remote`` before placing a core.
    """
    obstacle = why_not_remote(variant)
    if obstacle is not None:
        raise EngineError(f"{name}: {obstacle}. Place the core local.")
    max_batch_size = _max_batch_size(variant)
    if gpu is None and cpu.max_batch is not None:
        max_batch_size = min(max_batch_size, cpu.max_batch)
    config = _new_config(name, settings.backend, max_batch_size)
    config.default_model_filename = settings.model_filename
    for tensors, specs in ((config.input, variant.inputs), (config.output, variant.outputs)):
        for spec in specs:
            _add(tensors, spec.name, spec.dtype, _dims(spec, batched=max_batch_size > 0))
    if max_batch_size > 1:
        batching = config.dynamic_batching
        # An idle core never waits for a batch to fill: what comes while it runs is the next batch. Nor has ONNX Runtime
        # a batch size that it prefers.
        batching.max_queue_delay_microseconds = gpu.delay_us if gpu else 0
        batching.priority_levels = _PRIORITY_LEVELS
        batching.default_priority_level = 1
        policy = batching.default_queue_policy
        policy.max_queue_size = max(_QUEUED_BATCHES * max_batch_size, queue.in_flight)
        policy.default_timeout_microseconds = int(queue.timeout_s * 1e6)
        policy.timeout_action = policy.REJECT
    if gpu is None:
        _add_instances(config, cpu.instances, "KIND_CPU")
    else:
        _add_gpu_instances(config, gpu.schedule)
        if settings.cuda_graphs and gpu.schedule.cuda_graphs:
            _add_cuda_graphs(config, variant, max_batch_size)
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


def _add_cuda_graphs(config: Any, variant: Variant, max_batch_size: int) -> None:
    """A graph is for one shape alone, so only calls of known shapes have them: filled up to buckets, or of one size.

    None is ever used for a smaller call than its own: nothing proves what the rest of its memory holds then.
    """
    shapes = list(_known_shapes(variant))
    config.optimization.cuda.graphs = bool(shapes)
    batches = [2**power for power in range(max_batch_size.bit_length()) if 2**power <= max_batch_size] or [0]
    for sizes in shapes:
        for batch in batches:
            spec = config.optimization.cuda.graph_spec.add(batch_size=batch)
            for tensor in variant.inputs:
                shape = tensor.shape[1:] if max_batch_size > 0 else tensor.shape
                spec.input[tensor.name].dim.extend(concrete_size(size, sizes) for size in shape)


def _known_shapes(variant: Variant) -> Iterator[dict[str, int]]:
    """The sizes of all varying dimensions but the batch's, for each bucket; nothing where one is not in buckets."""
    varying = {dimension.name for dimension in variant.dimensions} - {variant.batch_dimension}
    if not varying:
        yield {}
    elif len(varying) == 1 and variant.batch_dimension is not None:
        for spec in variant.paddings:
            if {spec.dimension} == varying:
                yield from ({spec.dimension: bucket} for bucket in spec.buckets)


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


def _add_gpu_instances(config: Any, schedule: GpuSchedule) -> None:
    _add_instances(config, schedule.instances, "KIND_GPU")
    (group,) = config.instance_group
    group.gpus.extend(schedule.devices)
    group.rate_limiter.resources.add(name=GPU_SLOT, count=1)
    group.rate_limiter.priority = schedule.priority


def _text_of(config: Any) -> str:
    from google.protobuf import text_format

    return str(text_format.MessageToString(config))
