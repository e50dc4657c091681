"""Tensors in and out of Triton's Python stub. Nothing else in the runtime touches them.

Up to 24.10 the stub was built with a pybind11 that misreads numpy 2 arrays: ``as_numpy`` and ``Tensor(name, array)``
give garbage or end the process. DLPack knows nothing of numpy's layout and is right on both.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

__all__ = ["array_from", "bytes_from", "tensor_of"]

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

    if not (array.flags.c_contiguous and array.flags.writeable):
        array = np.array(array, order="C")
    if array.size == 0:
        array = _with_strides_of_products(array)
    capsule = array.__dlpack__()
    # The stub renames the capsule and frees its content itself; numpy's destructor, which then finds a foreign name,
    # ends the process on 1.26 and prints an exception for each tensor on 2.x.
    _clear_destructor(capsule, None)
    return pb_utils.Tensor.from_dlpack(name, capsule)


def _with_strides_of_products(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The stub takes an array for contiguous if its strides are products of sizes; numpy's are not where one is 0."""
    strides = [array.itemsize * math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    return np.lib.stride_tricks.as_strided(array, strides=strides)
