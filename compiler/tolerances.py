"""How far two results may be apart and still be the same. Stated before any comparison, never widened by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

__all__ = ["EXACT", "Tolerance", "Tolerances"]


@dataclass(frozen=True)
class Tolerance:
    """|expected - found| <= absolute + relative * |expected|; with ``of_norm``, instead of that, the norm of the whole
    tensor's differences is at most that much of its own."""

    absolute: float
    relative: float
    of_norm: float = 0.0


EXACT = Tolerance(0.0, 0.0)

# Zeros in place of the results are off by 1, other results by more. A single element of an int8 graph may be anywhere.
_NO_ROUNDING = 0.7


@dataclass(frozen=True)
class Tolerances:
    """One for each dtype; the values of a dtype that is none of these must be equal.

    A graph adds up in another order than eager; what that may cost is some hundred units in the last place.
    """

    float64: Tolerance = Tolerance(1e-9, 1e-9)
    float32: Tolerance = Tolerance(1e-4, 1e-3)
    float16: Tolerance = Tolerance(1e-2, 1e-2)

    def of(self, dtype: str) -> Tolerance:
        """``dtype`` is numpy's name."""
        found: Tolerance = getattr(self, dtype) if dtype in self.__dataclass_fields__ else EXACT
        return found

    def at_precision(self, precision: str) -> Tolerances:
        """What a graph's own results are held against.

        With less than fp32 the predictor's answers decide, so here is only caught what is no rounding.
        """
        if precision == "fp32":
            return self
        return replace(self, **{dtype.name: Tolerance(0.0, 0.0, _NO_ROUNDING) for dtype in fields(self)})

    @property
    def are_rough(self) -> bool:
        return self.float32.of_norm > 0

    def looser_than(self, other: Tolerances) -> Iterator[str]:
        """``float32 absolute 0.01``, for each number that allows more than the other's."""
        for dtype in fields(self):
            mine, theirs = getattr(self, dtype.name), getattr(other, dtype.name)
            for kind in fields(Tolerance):
                if getattr(mine, kind.name) > getattr(theirs, kind.name):
                    yield f"{dtype.name} {kind.name} {getattr(mine, kind.name):g}"
