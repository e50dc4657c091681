"""How far two results may be apart and still be the same. Stated before any comparison, never widened by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

__all__ = ["EXACT", "Tolerance", "Tolerances"]


@dataclass(frozen=True)
class Tolerance:
    """|expected - found| <= absolute + relative * |expected|."""

    absolute: float
    relative: float


EXACT = Tolerance(0.0, 0.0)


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

    def looser_than(self, other: Tolerances) -> Iterator[str]:
        """``float32 absolute 0.01``, for each number that allows more than the other's."""
        for dtype in fields(self):
            mine, theirs = getattr(self, dtype.name), getattr(other, dtype.name)
            for kind in fields(Tolerance):
                if getattr(mine, kind.name) > getattr(theirs, kind.name):
                    yield f"{dtype.name} {kind.name} {getattr(mine, kind.name):g}"
