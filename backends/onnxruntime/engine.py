"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

from cortex_compile.backends.onnx_export import EXPORTERS, export_onnx
from cortex_compile.backends.onnxruntime.reduce_precision import reduce_precision
from cortex_compile.backends.onnxruntime.split_projections import split_projections
from cortex_compile.backends.protocol import (
    Available,
    ExportedGraph,
    ExportRequest,
    Missing,
    Refused,
    Session,
    TritonSettings,
)
from cortex_compile.backends.small_model import DOUBLED, INPUT, small_model
from cortex_compile.errors import BuildError, EngineError

REMEDY = "pip install 'cortex-compile[cpu]'"


class OnnxRuntimeEngine:
    name = "onnxruntime"
    exporters = EXPORTERS
    packages = ("onnxruntime", "onnxruntime-gpu")

    def availability(self) -> Available | Missing:
        try:
            import numpy as np
            import onnxruntime

            model = small_model()
        except ImportError as error:
            return Missing(f"{error.name} is not installed", REMEDY)
        try:
            session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            (found,) = session.run(None, {"x": np.array(INPUT, np.float32)})
        except Exception as error:
            return Missing(f"it failed on a small model: {error}", REMEDY)
        if found.tolist() != DOUBLED:
            return Missing(f"it computed 2 * {INPUT} = {found.tolist()}", REMEDY)
        return Available(onnxruntime.__version__)

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        return export_onnx(request, folder, split_projections)

    def reduce_precision(self, exported: ExportedGraph, precision: str, folder: Path) -> ExportedGraph | Refused:
        return reduce_precision(exported, precision, folder)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Session:
        from cortex_compile.python_backend.onnxruntime_session import OnnxRuntimeSession

        try:
            return OnnxRuntimeSession(graph, threads, pack_weights)
        except BuildError as error:
            raise EngineError(str(error)) from error

    def triton_settings(self, threads: int) -> TritonSettings:
        # Without a number the native backend takes all cores for each session.
        return TritonSettings("onnxruntime", "model.onnx", {"intra_op_thread_count": str(threads)})
