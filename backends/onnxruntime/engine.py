"""ONNX Runtime on the CPU, from a graph of torch's dynamo exporter."""

from __future__ import annotations

from pathlib import Path

from cortex_compile.backends.onnx_export import export_onnx
from cortex_compile.backends.protocol import (
    Available,
    ExportedGraph,
    ExportRequest,
    Missing,
    Refused,
    Session,
    TritonSettings,
)
from cortex_compile.errors import BuildError, EngineError

REMEDY = "pip install 'cortex-compile[cpu]'"


class OnnxRuntimeEngine:
    name = "onnxruntime"

    def availability(self) -> Available | Missing:
        try:
            import numpy as np
            import onnx
            import onnxruntime
            import onnxscript  # noqa: F401  # torch's exporter needs it
        except ImportError as error:
            return Missing(f"{error.name} is not installed", REMEDY)
        try:
            double = onnx.helper.make_node("Add", ["x", "x"], ["y"])
            tensor = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy"]
            graph = onnx.helper.make_graph([double], "double", tensor[:1], tensor[1:])
            opset = [onnx.helper.make_opsetid("", 20)]
            model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            (found,) = session.run(None, {"x": np.array([1, 2, 3], np.float32)})
        except Exception as error:
            return Missing(f"it failed on a small model: {error}", REMEDY)
        if found.tolist() != [2.0, 4.0, 6.0]:
            return Missing(f"it computed 2 * [1, 2, 3] = {found.tolist()}", REMEDY)
        return Available(onnxruntime.__version__)

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        return export_onnx(request, folder)

    def open_session(self, graph: Path, threads: int) -> Session:
        from cortex_compile.python_backend.onnxruntime_session import OnnxRuntimeSession

        try:
            return OnnxRuntimeSession(graph, threads)
        except BuildError as error:
            raise EngineError(str(error)) from error

    def triton_settings(self, threads: int) -> TritonSettings:
        # Without a number the native backend takes all cores for each session.
        return TritonSettings("onnxruntime", "model.onnx", {"intra_op_thread_count": str(threads)})
