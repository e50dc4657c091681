"""For which sizes along one dimension does a graph equal its module? Those between the samples', 0, 1, and ever larger.

Between the samples' sizes the graph must be equal. Beyond them, what the module itself cannot do, what the graph does
otherwise, and what takes too long to compare bound the range; a call outside it runs eager.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cortex_compile.compiler.artifacts import SizeBounds
from cortex_compile.compiler.compare_runs import Bench, EagerFails, Unequal
from cortex_compile.compiler.read_limits import StatedSize
from cortex_compile.compiler.tensor_sizes import Family

if TYPE_CHECKING:
    import torch

LARGEST_BATCH = 64
LARGEST_SIZE = 4096
# A larger size is not tried if it would take longer than this, going by the last one. All times are of the processor,
# so that what else the machine does changes nothing.
SLOWEST_S = 2.0
# The same for a size that the model itself states, and for the largest batch: they are worth more than others.
SLOWEST_END_S = 15.0


@dataclass(frozen=True)
class ProvenSizes:
    """The bounds, and every size that was equal."""

    bounds: SizeBounds
    equal: tuple[int, ...]


def prove_sizes(
    bench: Bench,
    name: str,
    family: Family,
    calls: Sequence[Sequence[torch.Tensor]],
    stated: Sequence[StatedSize],
    deadline: float,
    least: int = 0,
) -> ProvenSizes:
    """
    Args:
        stated: sizes at which the module says that it ends; they are tried, and so is the next one.
        deadline: on ``time.process_time``'s clock; nothing larger is tried after it.
        least: nothing smaller is tried.

    Raises:
        Unequal: between the samples' sizes the graph answers otherwise.
    """
    ends = {LARGEST_BATCH} if family.is_batch else {each.size for each in stated}
    walk = _Walk(bench, name, family, calls, ends, deadline)
    smallest, largest = min(walk.equal), max(walk.equal)
    middle = (smallest + largest) // 2
    if middle not in walk.equal:
        with suppress(EagerFails):
            walk.compare(middle)
    no_smaller = walk.go(smallest, _falling(smallest, least)) or "there is no smaller one"
    rising = _rising(largest, stated, family.is_batch)
    no_larger = walk.go(largest, rising) or f"none larger than {max(largest, *rising, 0)} is tried"
    no_larger += "".join(f"; it states {each.where} = {each.size}" for each in stated if each.size == max(walk.equal))
    return ProvenSizes(
        SizeBounds(name, min(walk.equal), max(walk.equal), no_smaller, no_larger), tuple(sorted(walk.equal))
    )


def _falling(smallest: int, least: int) -> list[int]:
    sizes = {smallest - 1, smallest // 2, 3, 2, 1, 0}
    return sorted((size for size in sizes if least <= size < smallest), reverse=True)


def _rising(largest: int, stated: Sequence[StatedSize], is_batch: bool) -> list[int]:
    limit = LARGEST_BATCH if is_batch else LARGEST_SIZE
    sizes = {limit}
    if not is_batch:
        sizes |= {size for each in stated for size in (each.size, each.size + 1)}
    size = largest + 1
    while size < max(sizes):
        sizes.add(size)
        size = size * 2 + 1
    return sorted(size for size in sizes if size > largest)


class _Walk:
    """Tries sizes in one direction after the other and remembers which were equal."""

    def __init__(
        self,
        bench: Bench,
        name: str,
        family: Family,
        calls: Sequence[Sequence[torch.Tensor]],
        ends: set[int],
        deadline: float,
    ) -> None:
        self._bench = bench
        self._name = name
        self._family = family
        self._call = min(calls, key=lambda call: sum(tensor.numel() for tensor in call))
        self._ends = ends
        self._deadline = deadline
        self.equal = {family.size_in(call) for call in calls}

    def compare(self, size: int) -> None:
        """
        Raises:
            EagerFails: the module itself cannot do this size.
            Unequal: the graph answers otherwise.
        """
        inputs = self._bench.inputs(self._call, self._family.sizes(size), "random", size)
        self._bench.compare(inputs, f"size {size} of {self._name}")
        self.equal.add(size)

    def go(self, start: int, sizes: Iterable[int]) -> str:
        """Try sizes ever further from ``start``. Returns why it ended before the last of them, or ""."""
        good, skipped = start, ""
        for size in sizes:
            costly = self._why_too_costly(good, size)
            if costly is not None:
                skipped = skipped or costly
                continue  # one that is worth more may come yet
            reason = self._why_not(size)
            if reason is not None:
                return self._bisect(good, size, reason)
            good, skipped = size, ""
        return skipped

    def _bisect(self, good: int, bad: int, reason: str) -> str:
        """Find the last size that is equal: mostly the limit that the model itself has. Returns why it is the last."""
        while abs(bad - good) > 1:
            middle = (good + bad) // 2
            found = self._why_not(middle)
            if found is None:
                good = middle
            else:
                bad, reason = middle, found
        return reason

    def _why_not(self, size: int) -> str | None:
        try:
            self.compare(size)
        except EagerFails as error:
            return f"on size {size} the module itself fails ({error})"
        except Unequal as error:
            return str(error)
        return None

    def _why_too_costly(self, good: int, size: int) -> str | None:
        if time.process_time() > self._deadline:
            return f"size {size} was not tried, since comparing had taken its time already"
        if size <= good + 1:
            return None
        # Attention is quadratic in a length; what is not is quicker than this says.
        expected_s = self._bench.seconds * (size / max(good, 1)) ** (1 if self._family.is_batch else 2)
        if expected_s <= (SLOWEST_END_S if size in self._ends else SLOWEST_S):
            return None
        return f"size {size} was not tried, since comparing it would take about {expected_s:.0f} s"
