"""An engine of another package: torch's own graphs, traced and frozen, run by torch without Python between layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compile.backends.protocol import Available, ExportedGraph, ExportRequest, Missing, Refused
from cortex_compile.errors import EngineError


class FrozenEngine:
    name = "frozen"
    exporters = ("trace",)
    packages = ("cortex-compile-frozen", "torch")

    def availability(self) -> Available | Missing:
        try:
            import torch
        except ImportError:
            return Missing("torch is not installed", "pip install torch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of all of torch.jit
            double = torch.jit.trace(lambda x: x + x, torch.ones(3))
        found = double(torch.tensor([1.0, 2.0, 3.0])).tolist()
        if found != [2.0, 4.0, 6.0]:
            return Missing(f"it computed 2 * [1, 2, 3] = {found}", "install another version of torch")
        return Available(torch.__version__)

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        import torch

        with warnings.catch_warnings(record=True) as caught, torch.no_grad():
            warnings.simplefilter("always")
            try:
                traced = torch.jit.trace(request.module, request.examples, check_trace=False)
                graph = torch.jit.freeze(traced.eval()) if not request.module.training else traced
                outputs = graph(*request.examples)
            except Exception as error:
                return Refused("export", f"{type(error).__name__}: {error}".splitlines()[0])
        for warning in caught:
            if issubclass(warning.category, torch.jit.TracerWarning):
                return Refused("export", f"{warning.filename}:{warning.lineno}: {warning.message}".splitlines()[0])
        file = folder / "graph.pt"
        graph.save(str(file))
        inputs = tuple(
            tuple(
                f"{name}_{axis}" if (index, axis) in request.dynamic_axes else size
                for axis, size in enumerate(example.shape)
            )
            for index, (name, example) in enumerate(zip(request.input_names, request.examples, strict=True))
        )
        # A trace does not know which sizes of its outputs vary: all may.
        sizes = tuple(
            tuple(f"{name}_{axis}" for axis in range(output.dim()))
            for name, output in zip(request.output_names, outputs, strict=True)
        )
        return ExportedGraph(file, (file,), inputs, sizes)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> FrozenSession:
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return FrozenSession(torch.jit.load(str(graph)))
            except RuntimeError as error:
                raise EngineError(f"{graph}: torch cannot load it: {str(error).splitlines()[0]}") from error

    def triton_settings(self, threads: int) -> None:
        return None


class FrozenSession:
    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        import torch

        with torch.no_grad():
            # A result may be an input or a weight itself, and the caller may write into it.
            return [found.numpy().copy() for found in self._graph(*map(torch.from_numpy, inputs))]
