"""The smallest, a typical and the largest shape of each input, from the sizes that a graph was proven for."""

from __future__ import annotations

from collections.abc import Callable

from cortex_compile.backends.protocol import SizeProfile
from cortex_compile.python_backend.manifest import Dimension, Variant

__all__ = ["size_profile"]


def size_profile(variant: Variant) -> SizeProfile:
    return SizeProfile(
        # Of nothing at all no engine is built.
        minimum=_shapes(variant, lambda dimension: max(1, dimension.minimum)),
        typical=_shapes(variant, lambda dimension: max(1, dimension.minimum, dimension.typical or 1)),
        maximum=_shapes(variant, lambda dimension: dimension.maximum),
    )


def _shapes(variant: Variant, size_of: Callable[[Dimension], int]) -> tuple[tuple[int, ...], ...]:
    sizes = {dimension.name: size_of(dimension) for dimension in variant.dimensions}

    def size(written: int | str) -> int:
        if isinstance(written, int):
            return written
        name, _, more = written.partition("+")
        return sizes[name] + int(more or 0)

    return tuple(tuple(size(written) for written in spec.shape) for spec in variant.inputs)
