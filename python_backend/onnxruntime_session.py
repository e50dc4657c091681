"""An ONNX graph run by ONNX Runtime inside this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BuildError

if TYPE_CHECKING:
    import numpy as np


class OnnxRuntimeSession:
    """Results are fresh arrays that ONNX Runtime does not touch again, so callers may write into them."""

    def __init__(self, graph: Path, threads: int, pack_weights: bool = True) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A thread that spins while it waits for the next run keeps torch's threads from the cores: on 2 cores a run
        # and an eager call in turn took 5.8 ms with spinning and 0.9 ms without (ONNX Runtime 1.31, torch 2.13).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Their fused kernels are slower on a CPU than the parts: an encoder of MiniLM's size took 9.37 ms fused and
        # 8.87 in parts for a text, 60.6 and 55.1 for 8 (benchmarks/onnxruntime_ways.py, ONNX Runtime 1.31, one core).
        options.add_session_config_entry(
            "optimization.disable_specified_optimizers", "SkipLayerNormFusion;BiasGeluFusion"
        )
        if not pack_weights:
            # Matrix products then read the weights where they are mapped from the file, which other processes share.
            options.add_session_config_entry("session.disable_prepacking", "1")
        # 3: errors only. Warnings name nodes of a graph that the user never wrote.
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BuildError(f"{graph}: ONNX Runtime cannot load it: {error}") from error
        self._input_names = [tensor.name for tensor in self._session.get_inputs()]
        self._output_names = [tensor.name for tensor in self._session.get_outputs()]

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Inputs and results stand in the graph's own order."""
        feeds = dict(zip(self._input_names, inputs, strict=True))
        results: list[np.ndarray[Any, Any]] = self._session.run(self._output_names, feeds)
        return results
