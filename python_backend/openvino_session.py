"""An ONNX graph run by OpenVINO inside this process."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BuildError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OpenVinoSession", "import_openvino"]

_LARGEST_INT32 = 2**31 - 1


def import_openvino() -> Any:
    """The package, which by itself tells its makers of each import; without its other package it cannot.

    Raises:
        ImportError: it is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's own word for "not there"
    import openvino

    return openvino


class OpenVinoSession:
    """Results are fresh arrays; ``run`` may be called from threads, each of which gets a request of its own."""

    def __init__(self, graph: Path, threads: int) -> None:
        try:
            core = _core()
            self._compiled = core.compile_model(core.read_model(graph), "CPU", _properties(threads))
        except Exception as error:
            raise BuildError(f"{graph}: OpenVINO cannot load it: {_last_line(error)}") from error
        self._outputs = range(len(self._compiled.outputs))
        self._idle: list[Any] = []

    def run(self, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Inputs and results stand in the graph's own order.

        Raises:
            ValueError: an integer is beyond 32 bits, in which OpenVINO computes: it would come out as another one.
        """
        for array in inputs:
            if array.dtype.kind in "iu" and array.dtype.itemsize > 4 and array.size:
                _check_fits_32_bits(array)
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        found = request.infer(list(inputs), share_inputs=True)
        results = [found[index] for index in self._outputs]
        self._idle.append(request)
        return results


@functools.cache
def _core() -> Any:
    return import_openvino().Core()


def _properties(threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # By default it computes in bfloat16 where the processor can, and quantizes what flows between layers.
        "EXECUTION_MODE_HINT": "ACCURACY",
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        # Several processes that pin their threads all pin them to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }


def _check_fits_32_bits(array: np.ndarray[Any, Any]) -> None:
    if array.max() > _LARGEST_INT32 or array.min() < -_LARGEST_INT32 - 1:
        raise ValueError("an integer is beyond 32 bits, in which OpenVINO computes")


def _last_line(error: Exception) -> str:
    """The first lines name files of OpenVINO's own source."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
