"""Call a core that is a Triton model of its own (BLS)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import CoreOverloaded, CortexCompileError
from .tensors import array_from, tensor_of, torch_tensor_from, triton_tensor_of

__all__ = ["RemoteCallError", "call_remote"]


class RemoteCallError(CortexCompileError):
    """The model is not loaded, or it failed. The eager module can still answer."""


# The queue policy's words (compiler/config_pbtxt.py); the code beside them is INTERNAL, as for everything else.
_OVERLOADED = {"Exceeds maximum queue size": 503, "Request timeout expired": 504}


def call_remote(model: str, inputs: dict[str, Any], outputs: tuple[str, ...]) -> list[Any]:
    """Run the model on this server and wait. What is returned belongs to the caller, in the order of ``outputs``.

    Arrays come back for arrays. For torch's tensors such come back, on the device of the inputs; on a GPU neither those
    nor these pass the host, if the model runs there too.

    Raises:
        RemoteCallError: Triton answered with an error, or without one of the outputs.
        CoreOverloaded: the model's queue is full, or the call waited in it for as long as a request may.
    """
    if all(isinstance(value, np.ndarray) for value in inputs.values()):
        tensors = [tensor_of(name, array) for name, array in inputs.items()]
        return [array_from(tensor) for tensor in _run(model, tensors, outputs, gpu=None)]
    device = next(iter(inputs.values())).device
    tensors = [triton_tensor_of(name, tensor) for name, tensor in inputs.items()]
    gpu = device.index if device.type == "cuda" else None
    return [torch_tensor_from(tensor, device) for tensor in _run(model, tensors, outputs, gpu=gpu)]


def _run(model: str, inputs: list[Any], outputs: tuple[str, ...], *, gpu: int | None) -> list[Any]:
    """Triton's tensors in and out; on the GPU of that number, if Triton can."""
    import triton_python_backend_utils as pb_utils

    memory = pb_utils.TRITONSERVER_MEMORY_CPU if gpu is None else pb_utils.TRITONSERVER_MEMORY_GPU
    request = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=inputs,
        preferred_memory=pb_utils.PreferredMemory(memory, gpu or 0),
    )
    try:
        response = request.exec()
    except pb_utils.TritonModelException as error:
        raise RemoteCallError(f"model {model!r}: {error}") from error
    if response.has_error():
        said = response.error().message()
        for words, status_code in _OVERLOADED.items():
            if words in said:
                raise CoreOverloaded(f"model {model!r}: {words}", status_code)
        raise RemoteCallError(f"model {model!r}: {said}")
    found = {tensor.name(): tensor for tensor in response.output_tensors()}
    missing = [name for name in outputs if name not in found]
    if missing:
        raise RemoteCallError(f"model {model!r} gave {sorted(found)}, without {missing}")
    return [found[name] for name in outputs]
