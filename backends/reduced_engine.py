"""An engine that computes with less than fp32: its own graph, rewritten after export."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cortex_compile.backends.protocol import (
    Available,
    ExportedGraph,
    ExportRequest,
    Missing,
    ReducesPrecision,
    Refused,
    Session,
    TritonSettings,
)


class ReducedEngine:
    """All but ``export`` is the engine's own."""

    def __init__(self, engine: ReducesPrecision, precision: str) -> None:
        self._engine = engine
        self._precision = precision

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def exporters(self) -> tuple[str, ...]:
        return self._engine.exporters

    @property
    def packages(self) -> tuple[str, ...]:
        return self._engine.packages

    def availability(self) -> Available | Missing:
        return self._engine.availability()

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        with tempfile.TemporaryDirectory(prefix=".fp32-", dir=folder.parent) as whole:
            exported = self._engine.export(request, Path(whole))
            if isinstance(exported, Refused):
                return exported
            return self._engine.reduce_precision(exported, self._precision, folder)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Session:
        return self._engine.open_session(graph, threads, pack_weights)

    def triton_settings(self, threads: int) -> TritonSettings | None:
        return self._engine.triton_settings(threads)
