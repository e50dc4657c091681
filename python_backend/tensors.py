"""Tensors in and out of Triton's Python stub. Nothing else in the runtime touches them.

Up to 24.10 the stub was built with a pybind11 that misreads numpy 2 arrays: ``as_numpy`` and ``Tensor(name, array)``
give garbage or end the process. DLPack knows nothing of numpy's layout and is right on both.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["array_from", "bytes_from", "tensor_of", "torch_tensor_from", "triton_tensor_of"]

_clear_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_clear_destructor.argtypes = (ctypes.py_object, ctypes.c_void_p)
_clear_destructor.restype = ctypes.c_int


def bytes_from(tensor: Any) -> bytes:
    """A copy of a UINT8 vector: Triton takes the memory back as soon as execute returns."""
    return np.from_dlpack(tensor).tobytes()


def array_from(tensor: Any) -> np.ndarray[Any, Any]:
    """A writable copy that belongs to the caller."""
    return np.array(np.from_dlpack(tensor))


def tensor_of(name: str, array: np.ndarray[Any, Any]) -> Any:
    """A Triton tensor over the array's memory, which it keeps alive; an array that cannot be shared is copied."""
    import triton_python_backend_utils as pb_utils

    flags = array.flags
    if not (flags.c_contiguous and flags.writeable):
        array = np.array(array, order="C")
    if array.size == 0:
        array = _with_strides_of_products(array)
    capsule = array.__dlpack__()
    # The stub renames the capsule and frees its content itself; numpy's destructor, which then finds a foreign name,
    # ends the process on 1.26 and prints an exception for each tensor on 2.x.
    _clear_destructor(capsule, None)
    return pb_utils.Tensor.from_dlpack(name, capsule)


def torch_tensor_from(tensor: Any, device: Any) -> Any:
    """A copy on the device that belongs to the caller. From that device to itself it does not pass the host."""
    from torch.utils.dlpack import from_dlpack

    return from_dlpack(tensor).to(device, copy=True)


def triton_tensor_of(name: str, tensor: Any) -> Any:
    """A Triton tensor over the memory of torch's, on the device where that is; it is kept alive."""
    import torch
    import triton_python_backend_utils as pb_utils

    tensor = tensor.contiguous()
    if tensor.numel() == 0:
        tensor = torch.as_strided(tensor, tensor.shape, _strides_of_products(tensor.shape))
    # The stub asks the tensor for a capsule, on a stream of its own. torch's destructor leaves a renamed one alone.
    return pb_utils.Tensor.from_dlpack(name, tensor)


def _with_strides_of_products(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The stub takes an array for contiguous if its strides are products of sizes; numpy's are not where one is 0."""
    strides = [array.itemsize * stride for stride in _strides_of_products(array.shape)]
    return np.lib.stride_tricks.as_strided(array, strides=strides)


def _strides_of_products(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
