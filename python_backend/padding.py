"""Fill a call up to a larger size, and cut its results back. Compiler and runtime share this: what was proven runs.

Triton batches only requests of equal shapes. Where hiding what is added by a mask was proven not to change the rest,
calls of unlike lengths are filled up to a few sizes, the buckets, and so share a batch. What is said of arrays goes for
torch's tensors on any device as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .manifest import PaddingSpec, Variant

__all__ = ["Buckets", "Filling", "Padding", "axes_of", "bucket_for", "padding_of"]

Array = np.ndarray[Any, Any]

TensorAxis = tuple[int, int, int]
"""(index of the tensor, axis, by how much the axis is longer than the dimension)."""


@dataclass(frozen=True)
class Padding:
    """Where a dimension stands in a call and in its results, and what each input is filled up with, by index."""

    inputs: tuple[TensorAxis, ...]
    outputs: tuple[TensorAxis, ...]
    mask: int
    fills: Mapping[int, int | float]
    """Without the mask's, which is 0."""

    def size_of(self, arrays: Sequence[Array]) -> int:
        index, axis, offset = self.inputs[0]
        size: int = arrays[index].shape[axis] - offset
        return size

    def is_proven_for(self, arrays: Sequence[Array]) -> bool:
        """True if no row is hidden from its start. What is hidden whole mostly depends on how much there is to hide, so
        calls that were compared had something to see at the start of each row."""
        axis = max(axis for index, axis, _ in self.inputs if index == self.mask)
        return bool(arrays[self.mask][(slice(None),) * axis + (0,)].all())

    def fill_up(self, arrays: Sequence[Array], size: int) -> list[Array]:
        """The call with ``size`` along the dimension, which is no less than it has."""
        added = size - self.size_of(arrays)
        filled = list(arrays)
        for index in {index for index, _, _ in self.inputs}:
            array = arrays[index]
            shape = list(array.shape)
            for axis in (axis for tensor, axis, _ in self.inputs if tensor == index):
                shape[axis] += added
            filled[index] = _full(array, shape, self.fills.get(index, 0))
            filled[index][tuple(slice(old) for old in array.shape)] = array
        return filled

    def cut(self, results: Sequence[Array], size: int) -> list[Array]:
        """The results of a call that had ``size``, without what belongs to the filling."""
        cut = list(results)
        for index, axis, offset in self.outputs:
            kept: Any = cut[index][(slice(None),) * axis + (slice(size + offset),)]
            # In memory of its own, as a result of its own would be.
            cut[index] = kept.clone() if hasattr(kept, "new_full") else kept.copy()
        return cut


@dataclass(frozen=True)
class Filling:
    """What a call is filled up with to share a batch: the padding of each dimension, its size, and the bucket."""

    steps: tuple[tuple[Padding, int, int], ...]

    def shapes(self, arrays: Sequence[Array]) -> tuple[tuple[int, ...], ...]:
        """Those of the call, filled up."""
        shapes = [list(array.shape) for array in arrays]
        for padding, size, bucket in self.steps:
            for index, axis, _ in padding.inputs:
                shapes[index][axis] += bucket - size
        return tuple(map(tuple, shapes))

    def fill_up(self, arrays: Sequence[Array]) -> Sequence[Array]:
        for padding, _, bucket in self.steps:
            arrays = padding.fill_up(arrays, bucket)
        return arrays

    def cut(self, results: list[Array]) -> list[Array]:
        for padding, size, _ in self.steps:
            results = padding.cut(results, size)
        return results


class Buckets:
    """Which filling each call of a variant has; none where that was not proven to be harmless."""

    def __init__(self, variant: Variant) -> None:
        self._paddings: list[tuple[Padding, tuple[int, ...]]] = []
        # Without batches there is nobody to be of one size with.
        if variant.batch_dimension is not None:
            self._paddings = [(padding_of(variant, spec), spec.buckets) for spec in variant.paddings]

    def filling_of(self, arrays: Sequence[Array]) -> Filling:
        steps = []
        for padding, buckets in self._paddings:
            size = padding.size_of(arrays)
            bucket = bucket_for(size, buckets)
            if bucket > size and padding.is_proven_for(arrays):
                steps.append((padding, size, bucket))
        return Filling(tuple(steps))


def _full(like: Any, shape: Sequence[int], value: float) -> Any:
    """An array, or a tensor on the same device."""
    if hasattr(like, "new_full"):
        return like.new_full(tuple(shape), value)
    return np.full(shape, value, like.dtype)


def bucket_for(size: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds ``size``; ``size`` itself where none does, and 0, where all would be hidden."""
    return min((bucket for bucket in buckets if bucket >= size), default=size) if size > 0 else size


def padding_of(variant: Variant, spec: PaddingSpec) -> Padding:
    names = [tensor.name for tensor in variant.inputs]
    outputs = [tensor.name for tensor in variant.outputs]
    return Padding(
        tuple(axes_of(variant, spec.dimension)),
        tuple((outputs.index(place.tensor), place.axis, place.offset) for place in spec.outputs),
        names.index(spec.mask),
        {names.index(name): value for name, value in spec.fills.items()},
    )


def axes_of(variant: Variant, dimension: str) -> list[TensorAxis]:
    """Where a dimension stands in the inputs."""
    axes = []
    for index, tensor in enumerate(variant.inputs):
        for axis, size in enumerate(tensor.shape):
            name, _, offset = str(size).partition("+")
            if name == dimension:
                axes.append((index, axis, int(offset or 0)))
    return axes
