"""TensorRT, from the same ONNX graph as the others: a plan for this GPU and this version of TensorRT.

Without a GPU a graph still gets to TensorRT: every remote core has a config for ONNX Runtime's TensorRT provider, which
builds its engine when the container first starts (``backends/onnxruntime/gpu_settings.py``).

What needs a GPU here was never run where it was written: see tests/gpu.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from cortex_compile.backends.onnx_export import EXPORTERS, export_onnx
from cortex_compile.backends.protocol import (
    Available,
    ExportedGraph,
    ExportRequest,
    Missing,
    Refused,
    Session,
    SizeProfile,
    TritonSettings,
)
from cortex_compile.backends.small_model import DOUBLED, INPUT, small_model
from cortex_compile.backends.tensorrt.build_plan import build_plan
from cortex_compile.cache_folder import cache_folder
from cortex_compile.errors import BuildError, EngineError

REMEDY = "pip install tensorrt where there is a GPU; without one, docs/engines.md says how a build gets to TensorRT"
PLAN_FILE = "model.plan"


class TensorRtEngine:
    name = "tensorrt"
    exporters = EXPORTERS
    packages = ("tensorrt",)

    def availability(self) -> Available | Missing:
        try:
            import numpy as np
            import tensorrt
            import torch
        except ImportError as error:
            return Missing(f"{error.name} is not installed", REMEDY)
        if not torch.cuda.is_available():
            return Missing("torch sees no NVIDIA GPU", REMEDY)
        try:
            with tempfile.TemporaryDirectory(prefix="cortex-compile-") as folder:
                graph, plan = Path(folder) / "small.onnx", Path(folder) / PLAN_FILE
                graph.write_bytes(small_model())
                build_plan(graph, ("x",), SizeProfile(((1,),), ((3,),), ((8,),)), plan, _timing_cache())
                (found,) = self.open_session(plan, 1).run([np.array(INPUT, np.float32)])
        except Exception as error:
            return Missing(f"it failed on a small model: {error}", REMEDY)
        if found.tolist() != DOUBLED:
            return Missing(f"it computed 2 * {INPUT} = {found.tolist()}", REMEDY)
        return Available(f"{tensorrt.__version__} on {torch.cuda.get_device_name()}")

    def export(self, request: ExportRequest, folder: Path) -> ExportedGraph | Refused:
        exported = export_onnx(request, folder)
        if isinstance(exported, Refused):
            return exported
        plan = folder / PLAN_FILE
        try:
            build_plan(exported.graph, request.input_names, request.sizes, plan, _timing_cache())
        except EngineError as error:
            return Refused("export", str(error))
        for file in exported.files:  # the plan holds the weights
            file.unlink()
        return ExportedGraph(plan, (plan,), exported.input_shapes, exported.output_shapes)

    def open_session(self, graph: Path, threads: int, pack_weights: bool = True) -> Session:
        from cortex_compile.python_backend.tensorrt_session import TensorRtSession

        try:
            return TensorRtSession(graph)
        except BuildError as error:
            raise EngineError(str(error)) from error

    def triton_settings(self, threads: int) -> TritonSettings:
        return TritonSettings("tensorrt", PLAN_FILE, warm_up=True, cuda_graphs=True)


def _timing_cache() -> Path:
    return cache_folder() / "tensorrt-timing.cache"
