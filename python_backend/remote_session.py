"""A variant whose graph is a Triton model of its own: calls are filled up to buckets, so that Triton can batch them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .manifest import Variant
from .padding import Padding, bucket_for, padding_of

__all__ = ["CallRemote", "RemoteSession"]

Array = np.ndarray[Any, Any]

CallRemote = Callable[[str, dict[str, Array], tuple[str, ...]], list[Array]]
"""(Triton model, inputs by name, names of the outputs wanted) -> outputs, fresh and writable. Of the inputs' kind:
arrays, or torch's tensors on a device."""


class RemoteSession:
    """Runs like a graph in this process; what a call was filled up with is cut out of its results."""

    def __init__(self, call_remote: CallRemote, variant: Variant) -> None:
        self._call_remote = call_remote
        self._model = variant.graph
        self._input_names = [tensor.name for tensor in variant.inputs]
        self._output_names = tuple(tensor.name for tensor in variant.outputs)
        self._paddings: list[tuple[Padding, tuple[int, ...]]] = []
        # Without batches there is nobody to be of one size with.
        if variant.batch_dimension is not None:
            self._paddings = [(padding_of(variant, spec), spec.buckets) for spec in variant.paddings]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        filled = list(inputs)
        cuts = []
        for padding, buckets in self._paddings:
            size = padding.size_of(inputs)
            bucket = bucket_for(size, buckets)
            if bucket > size and padding.is_proven_for(inputs):
                filled = padding.fill_up(filled, bucket)
                cuts.append((padding, size))
        results = self._call_remote(self._model, dict(zip(self._input_names, filled, strict=True)), self._output_names)
        for padding, size in cuts:
            results = padding.cut(results, size)
        return results
