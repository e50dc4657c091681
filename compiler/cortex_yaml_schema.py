"""What may stand in cortex.yaml: the RealtimeAPI and TrafficSplitter of Cortex v0.18 to v0.31, and our ``compile:``.

``cortex_yaml.py`` reads a file with these models, and ``scripts/write_schema`` makes the JSON schema for editors of
them, with the text under each key. Where Cortex's documented default is null, null may be written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter, model_validator
from pydantic.json_schema import GenerateJsonSchema

from cortex_compile.compiler.yaml_values import (
    Count,
    Endpoint,
    Env,
    FilePath,
    Name,
    Query,
    Replicas,
    Surge,
    TimeoutS,
    check_duration,
    check_quantity,
)
from cortex_compile.quantities import parse_quantity

__all__ = ["Api", "Compile", "SampleEntry", "TrafficSplitter", "json_schema"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class Dependencies(_Section):
    pip: FilePath | None = None
    """The requirements file. Default: requirements.txt."""
    conda: str | None = None
    """Is not run: install what it lists by yourself."""
    shell: str | None = None
    """Is not run: install what it installs by yourself."""


class ServerSideBatching(_Section):
    max_batch_size: Annotated[int, Field(ge=2, le=1024)]
    batch_interval: Annotated[str, check_duration(minimum_s=0, above=True)]


class ModelFolder(_Section):
    name: Annotated[str, Field(min_length=1)]
    path: FilePath
    """A folder with versions in folders 1, 2, …, or with one model in it."""
    signature_key: None = None


class MultiModelReloading(_Section):
    """Models for load_model and python_client: exactly one of path, paths and dir."""

    path: FilePath | None = None
    paths: Annotated[list[ModelFolder], Field(min_length=1)] | None = None
    dir: FilePath | None = None
    """A folder of models, each a folder of its own."""
    cache_size: Count | None = None
    """How many models may be in memory at a time."""
    disk_cache_size: Count | None = None
    """Has no effect: models are read where they are."""
    signature_key: None = None

    @model_validator(mode="after")
    def _check_one_source(self) -> MultiModelReloading:
        if [self.path, self.paths, self.dir].count(None) != 2:
            raise ValueError("exactly one of path, paths and dir")
        names = [entry.name for entry in self.paths or ()]
        if len(set(names)) < len(names):
            raise ValueError("each name once under paths")
        return self

    @model_validator(mode="after")
    def _check_caches(self) -> MultiModelReloading:
        if (self.cache_size is None) != (self.disk_cache_size is None):
            raise ValueError("both cache_size and disk_cache_size, or neither")
        if self.cache_size and self.disk_cache_size and self.cache_size > self.disk_cache_size:
            raise ValueError(f"cache_size ({self.cache_size}) at most disk_cache_size ({self.disk_cache_size})")
        return self


class Predictor(_Section):
    type: Literal["python", "tensorflow", "onnx"]
    path: FilePath
    """The file of the PythonPredictor, relative to this file."""
    config: dict[str, JsonValue] | None = None
    """What __init__ gets."""
    python_path: FilePath | None = None
    """A folder to import from, relative to this file."""
    env: Env | None = None
    """Environment variables."""
    image: str | None = None
    """For a cluster."""
    tensorflow_serving_image: str | None = None
    """For a cluster."""
    processes_per_replica: Annotated[int, Field(ge=1, le=100)] = 1
    """Processes, each with a predictor of its own."""
    threads_per_process: Count = 1
    """How many requests a predictor answers at a time."""
    dependencies: Dependencies | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    shm_size: Annotated[str | None, check_quantity("1")] = None
    """For a cluster: shared memory, as 64Mi."""
    server_side_batching: ServerSideBatching | None = None
    multi_model_reloading: MultiModelReloading | None = None
    # The next four only ever belonged to models that Cortex itself loads, and are looked at by find_apis.py.
    models: JsonValue = None
    model: JsonValue = None
    model_path: JsonValue = None
    signature_key: str | None = None

    @model_validator(mode="after")
    def _check_one_process(self) -> Predictor:
        if self.multi_model_reloading and self.multi_model_reloading.cache_size and self.processes_per_replica > 1:
            raise ValueError("processes_per_replica 1 with multi_model_reloading.cache_size, since each has its cache")
        return self


class Compute(_Section):
    cpu: Annotated[str | None, check_quantity("20m")] = None
    """For a cluster, as 200m or 2."""
    mem: Annotated[str | None, check_quantity("20Mi")] = None
    """For a cluster, as 512Mi."""
    gpu: Annotated[int, Field(ge=0)] = 0
    inf: Annotated[int, Field(ge=0)] = 0
    """For a cluster."""

    @model_validator(mode="after")
    def _check_one_accelerator(self) -> Compute:
        if self.gpu and self.inf:
            raise ValueError("gpu or inf, not both")
        return self


class Autoscaling(_Section):
    """For a cluster, but for max_replica_concurrency."""

    min_replicas: Replicas = 1
    max_replicas: Replicas = 100
    init_replicas: Replicas | None = None
    target_replica_concurrency: Annotated[float, Field(gt=0)] | None = None
    max_replica_concurrency: Annotated[int, Field(ge=1, le=65535)] = 1024
    """Requests in flight; more are answered with 503."""
    window: Annotated[str, check_duration(minimum_s=10, multiple_of_s=10)] = "60s"
    downscale_stabilization_period: Annotated[str, check_duration(minimum_s=0)] = "5m"
    upscale_stabilization_period: Annotated[str, check_duration(minimum_s=0)] = "1m"
    max_downscale_factor: Annotated[float, Field(ge=0, lt=1)] = 0.75
    max_upscale_factor: Annotated[float, Field(gt=1)] = 1.5
    downscale_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.05
    upscale_tolerance: Annotated[float, Field(ge=0)] = 0.05

    @model_validator(mode="after")
    def _check_order(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) at most max_replicas ({self.max_replicas})")
        if self.init_replicas is not None and not self.min_replicas <= self.init_replicas <= self.max_replicas:
            raise ValueError(f"init_replicas ({self.init_replicas}) from min_replicas to max_replicas")
        target = self.target_replica_concurrency
        if target is not None and target > self.max_replica_concurrency:
            raise ValueError(
                f"target_replica_concurrency ({target:g}) at most max_replica_concurrency"
                f" ({self.max_replica_concurrency})"
            )
        return self


class UpdateStrategy(_Section):
    """For a cluster."""

    max_surge: Surge = "25%"
    max_unavailable: Surge = "25%"

    @model_validator(mode="after")
    def _check_not_both_zero(self) -> UpdateStrategy:
        if self.max_surge in ("0", "0%") and self.max_unavailable in ("0", "0%"):
            raise ValueError("max_surge or max_unavailable above 0: with both 0 no replica can be replaced")
        return self


class Networking(_Section):
    endpoint: Endpoint | None = None
    """The path that answers. Default: /NAME."""
    local_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Has no effect: `cortex-compile serve --port` says it."""
    api_gateway: Literal["public", "none"] | None = None
    """For a cluster."""


class Monitoring(_Section):
    """For a cluster."""

    model_type: Literal["classification", "regression"] | None = None
    key: str | None = None


class SampleEntry(_Section):
    """A sample request; its file name alone may be written."""

    file: Annotated[str, Field(min_length=1)]
    query: Query = ""
    """As `model=sentiment`, or a map."""
    headers: dict[str, str] = Field(default_factory=dict)


def _accept_file_name(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class DtypeTolerance(_Section):
    """A value may differ by absolute + relative * |value|."""

    absolute: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    relative: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class ToleranceByDtype(_Section):
    """How far the results of a compiled module may be from eager's."""

    float16: DtypeTolerance | None = None
    float32: DtypeTolerance | None = None
    """Holds for numbers in JSON answers, too."""
    float64: DtypeTolerance | None = None


class Gpu(_Section):
    """How cores that are Triton models of their own share the GPUs of the machine that serves."""

    devices: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """GPUs by number. Default: all that Triton sees."""
    instances: Annotated[int, Field(ge=1, le=64)] | None = None
    """Of each core on each GPU. Default: 1."""
    priority: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Among all APIs of a server: while GPUs are short, 2 gets half as many turns as 1. Default: 1."""
    queue_delay: Annotated[str, check_duration(minimum_s=0)] | None = None
    """How long a batch waits to be filled, as 500us. Default: 0, and 500us with objective throughput."""
    cuda_graphs: bool | None = None
    """Whether TensorRT records the launches of calls whose shapes are known. Default: true."""
    memory: Annotated[str | None, check_quantity("1")] = None
    """What an instance of a core takes of a GPU, as 3Gi. Default: estimated."""


class Compile(_Section):
    """How cortex-compile compiles and serves this API."""

    samples: list[
        Annotated[SampleEntry, BeforeValidator(_accept_file_name, json_schema_input_type=str | SampleEntry)]
    ] = Field(default_factory=list)
    """Requests to learn from. Default: the files called sample* beside the predictor."""
    engines: Annotated[list[str], Field(min_length=1)] | None = None
    placement: Literal["auto", "local", "remote"] | None = None
    buckets: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None
    """Lengths to which calls of a remote core are filled up, to share a batch. Default: chosen from the samples."""
    precision: Literal["fp32", "fp16", "bf16", "int8"] | None = None
    """What compiled modules compute with. Less than fp32 is used where it is faster and the answers stay within
    tolerance."""
    objective: Literal["latency", "throughput"] | None = None
    """What the fastest engine is: by the time of a call, or by the time a row in a batch."""
    latency_limit: TimeoutS | None = None
    """`tune` keeps nothing that gives the slowest 1 of 100 answers later, as 50ms."""
    engine_threads: Count | None = None
    """Threads of each compiled module's engine. Default: all cores of this machine, shared by the processes."""
    instances: Count | None = None
    """How many of each remote module run side by side on a CPU. Default: 1."""
    max_batch: Annotated[int, Field(ge=0)] | None = None
    """The largest batch of remote modules on a CPU; 0 is none. Default: as large as was proven."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    gpu: Gpu | None = None
    leave_alone: list[str] = Field(default_factory=list)
    """Modules that stay eager, as the report names them: predictor.model."""
    step_timeout: TimeoutS | None = None
    """How long one step of one candidate may take, as 5m or in seconds."""
    tolerance: ToleranceByDtype | None = None
    request_timeout: TimeoutS | None = None
    """How long a client waits for its answer, or for each chunk of it, as 90s or in seconds; then it gets a 504."""
    max_body_bytes: Annotated[int, Field(ge=1, le=2_000_000_000)] | None = None
    """A request's body may be so large; a larger one gets a 413. gRPC carries no more than 2 GB."""
    idempotent: bool = False
    """Whether a request may be asked twice: one that was lost because a process died is asked again, once."""
    nan: Literal["error", "null"] | None = None
    """What NaN and infinity in an answer become: a 500, or null."""
    streaming: bool | None = None
    """Whether generators and StreamingResponses are sent chunk by chunk, or collected. Default: seen on the samples and
    in the predictor's file."""


class Api(_Section):
    """A RealtimeAPI. Files written before v0.19 have no kind."""

    name: Name
    """Lower-case letters, digits and '-'."""
    kind: Literal["RealtimeAPI"] = "RealtimeAPI"
    predictor: Predictor
    compute: Compute = Field(default_factory=Compute)
    autoscaling: Autoscaling | None = None
    update_strategy: UpdateStrategy | None = None
    networking: Networking | None = None
    monitoring: Monitoring | None = None
    compile: Compile | None = None

    @model_validator(mode="after")
    def _check_shared_memory(self) -> Api:
        shared, memory = self.predictor.shm_size, self.compute.mem
        if shared is not None and memory is not None and parse_quantity(shared) > parse_quantity(memory):
            raise ValueError(f"predictor.shm_size ({shared}) at most compute.mem ({memory})")
        return self

    @model_validator(mode="after")
    def _check_streaming(self) -> Api:
        if self.compile and self.compile.streaming and self.predictor.server_side_batching:
            raise ValueError("no compile.streaming with predictor.server_side_batching: a batch is answered whole")
        return self


class SplitApi(_Section):
    name: Name
    weight: Annotated[int, Field(ge=0, le=100)]
    """Per cent of the requests, or of a copy of them for a shadow."""
    shadow: bool = False


class SplitterNetworking(_Section):
    endpoint: Endpoint | None = None


class TrafficSplitter(_Section):
    """For a cluster: requests shared out among several APIs."""

    name: Name
    kind: Literal["TrafficSplitter"]
    apis: Annotated[list[SplitApi], Field(min_length=1)]
    networking: SplitterNetworking | None = None

    @model_validator(mode="after")
    def _check_weights(self) -> TrafficSplitter:
        names = [api.name for api in self.apis]
        if len(set(names)) < len(names):
            raise ValueError("each API once under apis")
        total = sum(api.weight for api in self.apis if not api.shadow)
        if total != 100:
            raise ValueError(f"weights of all non-shadow apis to sum to 100 but found {total}")
        if sum(api.shadow for api in self.apis) > 1:
            raise ValueError("at most one shadow under apis")
        return self


class OtherKind(BaseModel):
    """What is not a RealtimeAPI and so is not compiled; its keys are not looked at."""

    kind: Literal["BatchAPI", "AsyncAPI", "TaskAPI"]


class _Untitled(GenerateJsonSchema):
    """Without pydantic's titles, which are the keys once more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """What an editor needs to complete and to check a cortex.yaml."""
    entries: TypeAdapter[Any] = TypeAdapter(list[Api | TrafficSplitter | OtherKind])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cortex.yaml",
        **entries.json_schema(schema_generator=_Untitled),
    }
