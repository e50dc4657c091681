"""A variant whose graph is a Triton model of its own: calls are filled up to buckets, so that Triton can batch them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .manifest import Variant
from .padding import Buckets

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
        self._buckets = Buckets(variant)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        filling = self._buckets.filling_of(inputs)
        filled = dict(zip(self._input_names, filling.fill_up(inputs), strict=True))
        return filling.cut(self._call_remote(self._model, filled, self._output_names))
