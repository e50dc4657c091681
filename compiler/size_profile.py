"""The smallest, a typical and the largest shape of each input, from the sizes that a graph was proven for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cortex_compile.backends.protocol import SizeProfile
from cortex_compile.python_backend.manifest import Dimension, Variant

__all__ = ["concrete_size", "size_profile"]


def size_profile(variant: Variant) -> SizeProfile:
    return SizeProfile(
        # Of nothing at all no engine is built.
        minimum=_shapes(variant, lambda dimension: max(1, dimension.minimum)),
        typical=_shapes(variant, lambda dimension: max(1, dimension.minimum, dimension.typical or 1)),
        maximum=_shapes(variant, lambda dimension: dimension.maximum),
    )


def _shapes(variant: Variant, size_of: Callable[[Dimension], int]) -> tuple[tuple[int, ...], ...]:
    sizes = {dimension.name: size_of(dimension) for dimension in variant.dimensions}
    return tuple(tuple(concrete_size(written, sizes) for written in spec.shape) for spec in variant.inputs)


def concrete_size(written: int | str, sizes: Mapping[str, int]) -> int:
    """A size of a ``TensorSpec``, which may be a dimension's name and what is added to it."""
    if isinstance(written, int):
        return written
    name, _, more = written.partition("+")
    return sizes[name] + int(more or 0)
