"""torch itself: the module as the user wrote it. Always there, and what every other engine must beat."""

from __future__ import annotations

from pathlib import Path

from cortex_compile.backends.protocol import Available, ExportedGraph, ExportRequest, Missing, Refused, Session
from cortex_compile.errors import EngineError


class EagerEngine:
    name = "eager"
    exporters: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def availability(self) -> Available | Missing:
        remedy = "pip install torch (README.md tells how to get the CPU build)"
        try:
            import torch
        except ImportError:
            return Missing("torch is not installed", remedy)
        found = (torch.tensor([1.0, 2.0, 3.0]) * 2).tolist()
        if found != [2.0, 4.0, 6.0]:
            return Missing(f"it computed 2 * [1, 2, 3] = {found}", remedy)
        return Available(torch.__version__)

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        return Refused("export", "eager has no graph: the module's own forward runs")

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Session:
        raise EngineError(f"{graph}: eager has no graph to load; the module's own forward runs")

    def triton_settings(self, threads: int) -> None:
        return None
