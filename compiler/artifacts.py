"""What one stage of the compiler hands to the next. Frozen, plain and JSON-able: some of it crosses a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cortex_compile.compiler.compare_answers import AnswerDifference
from cortex_compile.compiler.gpu_schedule import GpuSchedule
from cortex_compile.compiler.tolerances import Tolerances
from cortex_compile.compiler.tune_record import Tuning
from cortex_compile.python_backend.manifest import BatchingSpec, Core, Dispatch, ModelsSpec, Placement, Variant

# 1: the first.
REPORT_VERSION = 1

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class Sample:
    """A request that the predictor is watched answering. ``headers`` do not hold the content type."""

    name: str
    body: bytes
    content_type: str
    query_string: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CompileSettings:
    """What the command line and the key ``compile:`` of cortex.yaml say, the command line first."""

    engines: tuple[str, ...] = ("onnxruntime",)
    placement: Literal["auto"] | Placement = "auto"
    precision: Precision = "fp32"
    objective: Literal["latency", "throughput"] = "latency"
    """What the quickest engine is: that of a single call, or that with the least time a row at its best batch."""
    latency_limit_s: float | None = None
    engine_threads: int | None = None
    instances: int | None = None
    max_batch: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    leave_alone: tuple[str, ...] = ()
    """Paths of modules that stay eager, as the report names them (``predictor.model``)."""
    compile: bool = True
    """False with ``--no-compile``: the predictor is served as it is."""
    step_timeout_s: float = 300.0
    """How long one step of one candidate may take before its process is ended and the candidate refused."""
    request_timeout_s: float = 60.0
    """How long a client waits for an answer, or for the next chunk of one, before it is told that it came too late."""
    max_body_bytes: int = 64 * 1024 * 1024
    buckets: tuple[int, ...] = ()
    """Lengths to which calls of a remote core are filled up; empty: chosen from the lengths in the samples."""
    gpu: GpuSchedule = field(default_factory=GpuSchedule)
    tolerances: Tolerances = field(default_factory=Tolerances)
    """How far a compiled module's results may be from eager's. Those of float32 hold for answers in JSON, too."""


@dataclass(frozen=True)
class Project:
    """One API of the user's: where its files are and what cortex.yaml says of it."""

    name: str
    endpoint: str
    folder: Path
    predictor: str
    config: dict[str, Any]
    env: dict[str, str]
    python_path: str | None
    log_level: str
    processes_per_replica: int
    threads_per_process: int
    max_replica_concurrency: int
    requirements: tuple[str, ...]
    samples: tuple[Sample, ...]
    settings: CompileSettings
    notices: tuple[str, ...] = ()
    """One line each: what was found that a person should know and that does not stop anything."""
    server_side_batching: BatchingSpec | None = None
    models: ModelsSpec | None = None
    nan_as_null: bool = False
    idempotent: bool = False
    """Whether a request whose answer was lost may be asked again."""
    streaming: bool | None = None
    """Whether answers may be streams, if cortex.yaml says so."""
    cluster: dict[str, Any] = field(default_factory=dict)
    """What cortex.yaml says for a cluster alone, by its own keys: nothing here looks at it but the cluster targets."""
    written: dict[str, Any] = field(default_factory=dict)
    """Of how it is served, what the author chose (``placement``, ``processes_per_replica``)."""


@dataclass(frozen=True)
class Difference:
    """The worst element of a comparison: the one nearest to, or furthest beyond, its tolerance.

    ``excess`` is |expected - found| / (absolute + relative tolerance · |expected|): at most 1 where they are equal.
    """

    where: str
    index: tuple[int, ...]
    expected: float
    found: float
    absolute: float
    excess: float


@dataclass(frozen=True)
class SizeBounds:
    """The sizes along a dimension that a graph was proven for, and in a sentence each why no smaller and no larger."""

    dimension: str
    minimum: int
    maximum: int
    why_no_smaller: str
    why_no_larger: str


@dataclass(frozen=True)
class PaddingVerdict:
    """Whether calls may be filled up along a dimension to one size, hidden by ``mask``; ``reason`` says what was tried
    or what was found."""

    dimension: str
    safe: bool
    mask: str | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """A graph compared with its module. ``equal`` is False or a reason says what was found."""

    equal: bool
    reason: str
    calls_compared: int
    worst: Difference | None
    sizes_tried: dict[str, tuple[int, ...]]
    batch_dimension: str | None
    excused: int = 0
    """Comparisons beyond the recorded calls in which eager itself moved as much when its inputs were rounded."""
    bounds: tuple[SizeBounds, ...] = ()
    batch_reason: str = ""
    """Why there is no batch dimension: which rows were found to depend on others."""
    padding: tuple[PaddingVerdict, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """Eager against compiled on the same inputs in one process: windows of each in turn, medians over all windows."""

    inputs: str
    eager_p50_ms: float
    eager_p99_ms: float
    compiled_p50_ms: float
    compiled_p99_ms: float
    speedup: float
    runs: int
    threads: int


@dataclass(frozen=True)
class SizePoint:
    """Medians at one size, in milliseconds."""

    size: int
    eager_ms: float
    compiled_ms: float


@dataclass(frozen=True)
class SizeCurve:
    """How latency grows along a dimension; ``sample_size`` is its size in the sample that the other sizes are of."""

    dimension: str
    sample_size: int
    points: tuple[SizePoint, ...]


@dataclass(frozen=True)
class SideBySidePoint:
    """What a run of ``size`` rows takes with one thread, while others go on beside it on the engine's other threads."""

    size: int
    ms: float


@dataclass(frozen=True)
class Attempt:
    """One engine tried on one signature. ``refused_at`` is None for a graph that is equal and faster."""

    engine: str
    refused_at: Literal["export", "verify", "measure", "rehearse"] | None
    reason: str
    reproduce: str
    verdict: Verdict | None = None
    measurements: tuple[Measurement, ...] = ()
    curves: tuple[SizeCurve, ...] = ()
    """At a few proven sizes besides the samples', where the graph is equal and faster."""
    session_mib: float | None = None
    """What opening the graph took of memory of its own, packed weights for the most part."""
    precision: Precision = "fp32"
    exporter: str = ""
    """What made the graph, where there is one."""
    side_by_side: tuple[SideBySidePoint, ...] = ()
    """At sizes of the batch, where the engine has several threads and rows were proven independent."""

    @property
    def label(self) -> str:
        return label_of(self.engine, self.precision)


@dataclass(frozen=True)
class SignatureReport:
    """One way in which the module was called."""

    variant: str
    inputs: tuple[str, ...]
    calls: int
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class ModuleReport:
    """One module that predict called. ``decision`` is a sentence: what runs at serving, and why."""

    name: str
    path: str
    class_name: str
    called_from: str
    calls: int
    parameters: int
    parameter_bytes: int
    engine: str
    placement: Placement
    decision: str
    signatures: tuple[SignatureReport, ...] = ()
    disk_bytes: int = 0
    """Of the graphs and weights that the build holds for it."""
    precision: Precision = "fp32"
    on_gpu: tuple[str, ...] = ()
    """Of a remote core: how it is served where there are GPUs, in sentences."""


@dataclass(frozen=True)
class SampleReport:
    """The whole predictor on one sample, before and after."""

    name: str
    status_code: int
    answers_equal: bool
    eager_p50_ms: float
    compiled_p50_ms: float
    speedup: float
    worst: AnswerDifference | None = None
    """Where the answers differ most; None where every byte is the same."""


@dataclass(frozen=True)
class MemoryReport:
    """Resident memory in MiB of the process that holds the predictor, after its first answers.

    What it does not share is its own; the rest is pages of files (libraries, mapped weights), which processes share.
    The process was eager first, so what that left behind is in the figures after.
    """

    eager_mib: float
    compiled_mib: float
    eager_own_mib: float | None = None
    compiled_own_mib: float | None = None


@dataclass(frozen=True)
class Report:
    """report.json. report.html and ``inspect`` show the same."""

    version: int
    name: str
    predictor: str
    created_at: str
    seconds: float
    command: str
    machine: dict[str, str]
    notices: tuple[str, ...]
    modules: tuple[ModuleReport, ...]
    samples: tuple[SampleReport, ...]
    memory: MemoryReport | None = None
    peak_mib: dict[str, float] = field(default_factory=dict)
    """The most memory that compiling took, by the process that took it."""
    dispatch: Dispatch | None = None
    """None in reports of releases that had one way only."""
    tuning: Tuning | None = None
    """What `tune` found, where it ran."""


@dataclass(frozen=True)
class SignatureRecord:
    """One way in which a module was called; ``inputs`` are words for people (``input_ids int64[2, 7]``)."""

    variant: str
    inputs: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class ModuleRecord:
    """A module that predict called on the samples, as the workbench tells it to the compiler."""

    name: str
    path: str
    class_name: str
    called_from: str
    count: int
    parameters: int
    parameter_bytes: int
    refused: str | None
    signatures: tuple[SignatureRecord, ...]


@dataclass(frozen=True)
class Candidate:
    """What came of one engine on one signature. ``variant`` is there when the graph is equal and faster; its ``graph``
    is a file name below ``folder``, which is relative to the work folder."""

    module: str
    variant_name: str
    attempt: Attempt
    variant: Variant | None = None
    folder: str = ""

    @property
    def key(self) -> str:
        return candidate_key(self.module, self.variant_name, self.attempt.label)


def candidate_key(module: str, variant: str, label: str) -> str:
    return f"{module}/{variant}/{label}"


def label_of(engine: str, precision: str) -> str:
    """``onnxruntime``, or ``onnxruntime-int8``: good for a folder. Engines' names have no hyphen."""
    return engine if precision == "fp32" else f"{engine}-{precision}"


@dataclass(frozen=True)
class ChosenCore:
    """A core on its way into a build.

    ``folder`` holds the files of ``core``: the graphs that ``core.variants[…].graph`` names, the external data beside
    them, and ``core.weights_file``. Writing links them to where they belong and rewrites those names.
    """

    core: Core
    folder: Path


@dataclass(frozen=True)
class Trial:
    """Everything the workbench found: the modules, and the candidates tried on them."""

    modules: tuple[ModuleRecord, ...]
    candidates: tuple[Candidate, ...]
    cores: tuple[ChosenCore, ...]
    """For each module and engine with at least one graph that is equal and faster."""
    versions: dict[str, str]
    notices: tuple[str, ...] = ()
    streaming: bool = False
    """A sample was answered in chunks."""
    outside: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Files outside the project that loading and answering read: size in bytes, time of change in ns."""
    peak_mib: float = 0.0
    """The most memory that the workbench's process took."""


@dataclass(frozen=True)
class Choice:
    """What runs a module at serving. ``reason`` is a sentence for the report; ``core`` is None for eager."""

    module: str
    engine: str
    placement: Placement
    reason: str
    core: ChosenCore | None


@dataclass(frozen=True)
class Rehearsal:
    """The predictor run once more, from the build, by the runtime, beside its eager self."""

    samples: tuple[SampleReport, ...]
    memory: MemoryReport | None
    states: dict[str, str]
    """For each core: "compiled", or why it was not exchanged."""
    peak_mib: float = 0.0
    turn_refused: str | None = "nothing of it is compiled"
    """Why the turn may not be passed on in compiled calls; None where it was proven."""
