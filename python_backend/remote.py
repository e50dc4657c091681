"""Call a core that is a Triton model of its own (BLS)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import CortexCompileError
from .tensors import array_from, tensor_of

__all__ = ["RemoteCallError", "call_remote"]


class RemoteCallError(CortexCompileError):
    """The model is not loaded, its queue is full, or it failed. The eager module can still answer."""


def call_remote(
    model: str, inputs: dict[str, np.ndarray[Any, Any]], outputs: tuple[str, ...]
) -> list[np.ndarray[Any, Any]]:
    """Run the model on this server and wait. The arrays returned belong to the caller, in the order of ``outputs``.

    Raises:
        RemoteCallError: Triton answered with an error, or without one of the outputs.
    """
    import triton_python_backend_utils as pb_utils

    request = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=[tensor_of(name, array) for name, array in inputs.items()],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    try:
        response = request.exec()
    except pb_utils.TritonModelException as error:
        raise RemoteCallError(f"model {model!r}: {error}") from error
    if response.has_error():
        raise RemoteCallError(f"model {model!r}: {response.error().message()}")
    found = {tensor.name(): tensor for tensor in response.output_tensors()}
    missing = [name for name in outputs if name not in found]
    if missing:
        raise RemoteCallError(f"model {model!r} gave {sorted(found)}, without {missing}")
    return [array_from(found[name]) for name in outputs]
