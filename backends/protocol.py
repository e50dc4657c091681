"""What an engine is: a thing that turns an exported module into a graph that it can run.

An engine has a folder below ``backends/`` and a line in ``registry.py``, or it comes from another package by an entry
point of the group ``cortex_compile.engines`` (``plugins.py``). The three heavy things it does are separate
methods, since they run at different times: ``availability`` in ``doctor``, ``export`` in the compiler's child process,
``open_session`` wherever the graph runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = [
    "Accelerator",
    "Available",
    "Engine",
    "ExportRequest",
    "ExportedGraph",
    "Missing",
    "ReducesPrecision",
    "Refused",
    "Session",
    "SizeProfile",
    "TritonSettings",
]


@dataclass(frozen=True)
class Available:
    """The engine ran a small model; ``version`` is its library's."""

    version: str


@dataclass(frozen=True)
class Missing:
    """The engine cannot be used here, why, and what to do about it (a command where there is one)."""

    reason: str
    remedy: str


@dataclass(frozen=True)
class Refused:
    """An answer, not an accident: this engine does not take this module. ``stage`` is export, verify or measure."""

    stage: str
    reason: str


@dataclass(frozen=True)
class SizeProfile:
    """A shape of each input, three times: the smallest, a typical and the largest that a graph has to take.

    For engines that are built for a range of sizes. Inputs whose sizes go together have them together here.
    """

    minimum: tuple[tuple[int, ...], ...]
    typical: tuple[tuple[int, ...], ...]
    maximum: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ExportRequest:
    """A module's call, ready for an exporter.

    ``module.forward(*tensors)`` takes tensors in the order of ``input_names`` and returns a tuple of them; it is in the
    user's training mode. ``examples`` have sizes of at least 2 in each dimension that may vary, so that no exporter
    mistakes it for a constant. ``dynamic_axes`` are the (input, axis) pairs that may vary; all others stay fixed.
    ``exporter`` is one of the engine's ``exporters``.
    """

    module: torch.nn.Module
    examples: tuple[torch.Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    dynamic_axes: frozenset[tuple[int, int]]
    exporter: str
    sizes: SizeProfile


@dataclass(frozen=True)
class ExportedGraph:
    """Files of one graph, all in one folder. Shapes are given per tensor: a size, or the name of a varying one.

    A graph that is not ONNX is one file: what may stand beside it is the external data of ONNX alone.
    """

    graph: Path
    files: tuple[Path, ...]
    input_shapes: tuple[tuple[int | str, ...], ...]
    output_shapes: tuple[tuple[int | str, ...], ...]


@dataclass(frozen=True)
class Accelerator:
    """One of ``optimization.execution_accelerators.gpu_execution_accelerator`` of config.pbtxt."""

    name: str
    parameters: dict[str, str]


@dataclass(frozen=True)
class TritonSettings:
    """How Triton runs the graph: ``backend`` of config.pbtxt, the file's name in the version folder, parameters.

    With ``warm_up``, calls of the smallest, a typical and the largest size are made before the model is ready. With
    ``cuda_graphs``, the backend records calls of the shapes that its config lists, and replays what a call launches.
    """

    backend: str
    model_filename: str
    parameters: dict[str, str] = field(default_factory=dict)
    accelerators: tuple[Accelerator, ...] = ()
    warm_up: bool = False
    cuda_graphs: bool = False


class Session(Protocol):
    """A loaded graph. Results are fresh, writable and owned by the caller; ``run`` may be called from threads."""

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]: ...


@runtime_checkable
class Engine(Protocol):
    """One way of running a graph. Engines keep no state: the registry holds one instance of each."""

    @property
    def name(self) -> str:
        """The word of ``--engine``: a Python identifier in lower case."""
        ...

    @property
    def exporters(self) -> tuple[str, ...]:
        """What can make its graphs, the preferred first; the next is asked where one refuses every choice of sizes."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that run its graphs, and the one that the engine itself is from. Those installed are listed
        in a build as what it needs, and what was found with one version is not believed of another."""
        ...

    def availability(self) -> Available | Missing:
        """Run a small model, so that "available" is shown and not guessed. Never raises."""
        ...

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        """Write the graph into ``folder``, which exists. Called in a child process; may crash, may hang."""
        ...

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Session:
        """Load a graph from its file.

        Args:
            pack_weights: whether a copy of the weights may be kept that suits the engine better. Not worth its memory
                for a graph that runs seldom beside another one of the same weights. An engine without a choice may
                ignore it.

        Raises:
            EngineError: the file cannot be loaded by this engine.
        """
        ...

    def triton_settings(self, threads: int) -> TritonSettings | None:
        """How Triton runs a graph of this engine as a model of its own; None where it cannot."""
        ...


@runtime_checkable
class ReducesPrecision(Engine, Protocol):
    """An engine that can also compute with less than fp32."""

    def reduce_precision(self, exported: ExportedGraph, precision: str, folder: Path) -> ExportedGraph | Refused:
        """Write a graph that takes and gives the same tensors and computes in ``precision`` (fp16, bf16 or int8).

        Called in a child process. ``exported`` is this engine's and not needed afterwards; ``folder`` exists.
        """
        ...
