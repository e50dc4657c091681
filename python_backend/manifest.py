"""manifest.json: the versioned contract between what compiles a predictor and what runs it.

The same bytes stand in ``build/NAME/manifest.json``, for launchers and people, and in
``model_repository/NAME/1/manifest.json``, for the runtime, which sees nothing outside its version folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .build_files import check_files
from .build_files import sha256_of as sha256_of
from .check_manifest import check_manifest
from .errors import BuildError
from .records import from_json, to_json

# 1: the first.
MANIFEST_VERSION = 1

Placement = Literal["local", "remote"]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a graph.

    ``dtype`` is numpy's name (``float32``, ``int64``, ``bool``) or ``bfloat16``. A dimension is a size, or the name of
    a ``Dimension`` of the variant, or that name and what is added to it (``past+1``); equal names mean equal sizes.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Dimension:
    """A size that may vary between calls, and the sizes on which the graph was proven (both ends included).

    ``typical`` is what it was in the first recorded call; None in builds that do not say so.
    """

    name: str
    minimum: int
    maximum: int
    typical: int | None = None


@dataclass(frozen=True)
class Leaf:
    """A leaf of a call's arguments or of its result: exactly one of a tensor, by its index among the graph's inputs or
    outputs; a tensor of the arguments that the result passes on as it is; a cache, by its index; a constant (JSON)."""

    tensor: int | None = None
    constant: Any = None
    argument: int | None = None
    cache: int | None = None


@dataclass(frozen=True)
class CacheState:
    """What a key and value cache holds besides its tensors: which layers are filled, and for a cache of encoder and
    decoder also those of cross-attention and which of them need not be computed again."""

    kind: str
    layers: tuple[bool, ...]
    cross_layers: tuple[bool, ...]
    updated: tuple[bool, ...]


@dataclass(frozen=True)
class CacheResult:
    """A cache after the call: its state, and where each of its tensors comes from (a graph's output, or unchanged)."""

    state: CacheState
    tensors: tuple[Leaf, ...]


@dataclass(frozen=True)
class PositionSpec:
    """Input ``index`` is a vector that counts: start, start + 1, …, where start is the size of ``dimension`` (0 where
    that is None) plus ``offset``. The graph was proven for such vectors only."""

    index: int
    dimension: str | None
    offset: int


@dataclass(frozen=True)
class PaddedAxis:
    """An axis that has ``offset`` more than the padded dimension; ``tensor`` is an output's name."""

    tensor: str
    axis: int
    offset: int


@dataclass(frozen=True)
class PaddingSpec:
    """Calls may be filled up along ``dimension``: it was proven not to change what was there before.

    The input ``mask`` is filled with 0, each other input that has the dimension with its value in ``fills``; the axes
    in ``outputs`` are cut back. ``largest`` is the largest size that was filled up to. Calls of a batched remote core
    are filled up to the next of ``buckets``, so that those of unlike lengths share a batch.
    """

    dimension: str
    mask: str
    fills: dict[str, int | float]
    outputs: tuple[PaddedAxis, ...]
    largest: int
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True)
class Variant:
    """The graph compiled for one signature of a module.

    ``arguments`` and ``result`` are torch pytree specs as ``treespec_dumps`` writes them: of ``(args, kwargs)`` with
    kwargs sorted by name, and of what forward returns. ``graph`` is a path below the version folder for a local core,
    or the name of a Triton model for a remote one.
    """

    name: str
    arguments: str
    argument_leaves: tuple[Leaf, ...]
    result: str
    result_leaves: tuple[Leaf, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dimensions: tuple[Dimension, ...]
    batch_dimension: str | None
    graph: str
    argument_caches: tuple[CacheState, ...] = ()
    """Of the caches among the arguments; their tensors follow the other ones in ``inputs``."""
    result_caches: tuple[CacheResult, ...] = ()
    """The same caches after the call, then those that the result brings; their tensors come last in ``outputs``."""
    positions: tuple[PositionSpec, ...] = ()
    paddings: tuple[PaddingSpec, ...] = ()

    @property
    def may_share_runs(self) -> bool:
        """Whether its rows were proven independent, and nothing of a call is kept from one to the next."""
        return self.batch_dimension is not None and not self.argument_caches and not self.result_caches


@dataclass(frozen=True)
class AttributeRead:
    """A Python attribute that forward read while it was exported, and so a constant inside the graph."""

    module: str
    name: str
    value: Any


@dataclass(frozen=True)
class GlobalRead:
    """A global of the user's files that forward can read: a constant inside the graph, too. ``module`` is Python's."""

    module: str
    name: str
    value: Any


@dataclass(frozen=True)
class ParameterSpec:
    """Where a parameter of the module stands in the core's weights file. ``offset`` is in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class SharedRun:
    """The least size of a run at which a row costs hardly more than it does at any: ``rows`` of the sizes that the
    samples had, and ``cells``, rows times all other sizes that vary."""

    rows: int
    cells: int
    side_by_side_from: int | None = None
    """With so many calls under way for each of the engine's threads, as many runs side by side, of one thread each, are
    quicker than one run with all threads. None: they are not, or that was not measured."""


@dataclass(frozen=True)
class Core:
    """One compiled module: how to find it again, how to know it is the same, and what runs instead of it."""

    name: str
    path: str
    class_name: str
    structure_sha256: str
    weights_sha256: str
    attributes: tuple[AttributeRead, ...]
    engine: str
    placement: Placement
    threads: int
    weights_file: str | None
    parameters: tuple[ParameterSpec, ...]
    variants: tuple[Variant, ...]
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """What its graphs compute with; what goes in and comes out is of the module's own dtypes."""
    globals: tuple[GlobalRead, ...] = ()
    call_ms: float = 0.0
    """What its quickest measured call takes; 0 in builds that do not say."""
    calls_ms: float = 0.0
    """What all calls of it take that the samples made, with the engine's threads; 0 in builds that do not say."""
    instances: int = 1
    """Of a remote core: how many Triton runs side by side."""
    max_batch: int | None = None
    """Of a remote core: the largest batch that Triton makes, where that is less than what was proven; 0 is none."""
    shared_run: SharedRun | None = None
    """Of a core whose calls gain by sharing runs in the predictor's process."""

    @property
    def passes_turn(self) -> bool:
        """Whether its calls are worth passing the turn on; one through Triton may wait for others to share a batch."""
        return self.placement == "remote" or self.call_ms > 1.0


@dataclass(frozen=True)
class Dispatch:
    """How a process answers its requests.

    ``in turn``: one after the other. ``passed turn``: up to ``threads`` are under way, one at a time in the user's
    Python, and it changes only while one waits in a compiled call. ``threads``: so many at once, as Cortex does with
    ``threads_per_process``.
    """

    kind: Literal["in turn", "passed turn", "threads"]
    threads: int
    turn_refused: str | None
    """Why the turn may not be passed on for this predictor; None where that was proven to change no answer."""
    shared_rows: int = 1
    """With the passed turn: calls of local cores that are under way at once share runs, of about so many rows."""
    side_by_side: bool = False
    """Where there are calls enough, such runs have a thread each and go on side by side; else each has all threads of
    its engine. Takes a second copy of what the engine makes of the weights."""
    in_execute: bool = False
    """In turn: a request is answered within Triton's call of ``execute``, on the thread that loaded the predictor, and
    its answer goes back as what that returns. For requests of so little work that giving it to another thread would be
    a good part of it. What comes meanwhile waits in Triton."""


@dataclass(frozen=True)
class BatchingSpec:
    """``server_side_batching``: predict gets lists of requests. The interval starts with a batch's first request."""

    max_batch_size: int
    batch_interval_s: float


@dataclass(frozen=True)
class ModelsSpec:
    """``multi_model_reloading``: the models that ``python_client`` hands out, each a folder of its own by name.

    With ``directory``, every folder in it is a model, those that come later too. Paths are relative to the project, or
    absolute. ``cache_size`` is how many models may be in memory at a time; None is all.
    """

    folders: dict[str, str] = field(default_factory=dict)
    directory: str | None = None
    cache_size: int | None = None


@dataclass(frozen=True)
class TuningRules:
    """What the author said that a search for the fastest configuration keeps to."""

    objective: Literal["latency", "throughput"] = "latency"
    latency_limit_ms: float | None = None
    written: dict[str, Any] = field(default_factory=dict)
    """What is not searched, by its key in cortex.yaml: ``placement``, ``processes_per_replica``,
    ``threads_per_process``, ``engine_threads``, ``instances``, ``max_batch``."""
    absolute_tolerance: float = 1e-4
    relative_tolerance: float = 1e-3
    """Of numbers in answers."""
    gpu: dict[str, Any] = field(default_factory=dict)
    """How remote cores share GPUs, as ``compile.gpu`` says it."""


@dataclass(frozen=True)
class GpuMemory:
    """What an instance of a Triton model takes of a GPU: its weights, and what its largest call is computed in.
    ``source`` says how the figures were come by."""

    model: str
    weights_bytes: int
    activation_bytes: int
    source: str


@dataclass(frozen=True)
class Manifest:
    """A build: one API, the compiled cores inside it, and what it needs to run."""

    version: int
    name: str
    endpoint: str
    predictor: str
    config: dict[str, Any]
    env: dict[str, str]
    python_path: str | None
    log_level: str
    processes_per_replica: int
    threads_per_process: int
    max_replica_concurrency: int
    requirements: tuple[str, ...]
    cores: tuple[Core, ...]
    compiled_with: dict[str, str]
    server_side_batching: BatchingSpec | None = None
    models: ModelsSpec | None = None
    nan_as_null: bool = False
    """NaN and infinity become null in JSON; else they are an error."""
    cluster: dict[str, Any] = field(default_factory=dict)
    """What cortex.yaml says for a cluster alone (replicas, CPU and memory, splitters), by its own keys."""
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of every file below ``model_repository/`` but the manifest itself, by path relative to it."""
    streaming: bool = False
    """The predictor's model is decoupled: its answers go out in chunks, as they are made."""
    request_timeout_s: float = 60.0
    max_body_bytes: int = 64 * 1024 * 1024
    idempotent: bool = False
    """A request whose answer was lost with the predictor's process may be asked again."""
    dispatch: Dispatch | None = None
    """None in builds that do not say: ``threads_per_process`` threads."""
    tuning: TuningRules = field(default_factory=TuningRules)
    gpu_memory: tuple[GpuMemory, ...] = ()
    """Of each core that is a Triton model."""


def write_manifest(manifest: Manifest, path: Path) -> None:
    path.write_text(json.dumps(to_json(manifest), indent=2, sort_keys=True) + "\n")


def read_manifest(path: Path) -> Manifest:
    """
    Raises:
        BuildError: no such file, not JSON, another version, or a field that does not fit or makes no sense; named.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise BuildError(f"{path.parent} is not a build: it has no {path.name}. Compile one first.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BuildError(f"{path}: cannot be read ({error}). Compile again.") from error
    found = value.get("version") if isinstance(value, dict) else None
    if found != MANIFEST_VERSION:
        raise BuildError(
            f"{path}: version {found!r:.80}, this release reads version {MANIFEST_VERSION}. Compile again."
        )
    try:
        manifest = from_json(Manifest, value)
        check_manifest(manifest)
        return manifest
    except ValueError as error:
        raise BuildError(f"{path}: {error}. Compile again.") from error


def check_build(folder: Path) -> Manifest:
    """Read a build folder's manifest and compare every file that the build shipped with its sha256.

    Files that came later into the predictor's working folder are not looked at.

    Raises:
        BuildError: the folder is not a build, or a file is missing, differs, leads out of it or was added; it is named.
    """
    manifest = read_manifest(folder / "manifest.json")
    repository = folder / "model_repository"
    inner = repository / manifest.name / "1" / "manifest.json"
    if not inner.is_file() or inner.read_bytes() != (folder / "manifest.json").read_bytes():
        raise BuildError(f"{inner}: is not the manifest that the build was written with. Compile again.")
    check_files(repository, manifest.name, manifest.files)
    return manifest
