"""OpenVINO on the CPU, inside the predictor's process, from the same ONNX graph as ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

from cortex_compile.backends.onnx_export import EXPORTERS, export_onnx
from cortex_compile.backends.openvino.wide_integers import why_integers_may_not_fit
from cortex_compile.backends.protocol import Available, ExportedGraph, ExportRequest, Missing, Refused, Session
from cortex_compile.backends.small_model import DOUBLED, INPUT, small_model
from cortex_compile.errors import BuildError, EngineError

REMEDY = "pip install 'cortex-compile[openvino]'"


class OpenVinoEngine:
    name = "openvino"
    exporters = EXPORTERS
    packages = ("openvino",)

    def availability(self) -> Available | Missing:
        from cortex_compile.python_backend.openvino_session import import_openvino

        try:
            import numpy as np

            openvino = import_openvino()
            model = small_model()
        except ImportError as error:
            return Missing(f"{error.name} is not installed", REMEDY)
        try:
            core = openvino.Core()
            double = core.compile_model(core.read_model(model), "CPU")
            (found,) = double([np.array(INPUT, np.float32)]).values()
        except Exception as error:
            return Missing(f"it failed on a small model: {error}", REMEDY)
        if found.tolist() != DOUBLED:
            return Missing(f"it computed 2 * {INPUT} = {found.tolist()}", REMEDY)
        return Available(openvino.__version__.partition("-")[0])

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        exported = export_onnx(request, folder)
        if isinstance(exported, Refused):
            return exported
        reason = why_integers_may_not_fit(exported.graph)
        return exported if reason is None else Refused("export", reason)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Session:
        from cortex_compile.python_backend.openvino_session import OpenVinoSession

        try:
            return OpenVinoSession(graph, threads)
        except BuildError as error:
            raise EngineError(str(error)) from error

    def triton_settings(self, threads: int) -> None:
        # NVIDIA's containers have a backend of this name, whose results nothing here has compared.
        return None
