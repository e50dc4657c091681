"""Vectors that count: where the new tokens stand, after those that the cache holds.

A model computes its mask from such a vector in one way and from sizes in another, and they agree only while the vector
counts on from the cache's length. So it is never given other values, and at serving a call in which it does not count
so runs eager.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cortex_compile.compiler.tensor_sizes import Axis, Family, Values, resize

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Positions:
    """Tensor ``index`` is start, start + 1, …; start is a family's size plus ``offset``, or ``offset`` alone."""

    index: int
    family: Family | None
    offset: int

    def values(self, tensors: Sequence[torch.Tensor], sizes: Mapping[Axis, int]) -> torch.Tensor:
        """The vector for these sizes; what ``sizes`` does not name is as in ``tensors``."""
        import torch

        start = self.offset
        if self.family is not None:
            (axis, shift) = self.family.axes[0]
            start += sizes.get(axis, tensors[axis[0]].shape[axis[1]]) - shift
        length = sizes.get((self.index, 0), tensors[self.index].shape[0])
        return torch.arange(start, start + length, dtype=tensors[self.index].dtype)


def resize_call(
    tensors: Sequence[torch.Tensor],
    sizes: Mapping[Axis, int],
    positions: Sequence[Positions],
    values: Values = "sample",
    seed: int = 0,
) -> tuple[torch.Tensor, ...]:
    """``resize``, with the vectors that count still counting."""
    resized = list(resize(tensors, sizes, values, seed))
    for position in positions:
        resized[position.index] = position.values(tensors, sizes)
    return tuple(resized)


def find_positions(calls: Sequence[Sequence[torch.Tensor]], families: Sequence[Family]) -> tuple[Positions, ...]:
    """The integer vectors that count in every recorded call, from 0 or from a size that the calls have in common."""
    found = []
    for index, tensor in enumerate(calls[0]):
        if tensor.dim() != 1 or tensor.is_floating_point() or tensor.numel() == 0:
            continue
        starts = [_start(call[index]) for call in calls]
        if None in starts:
            continue
        found += _explain(index, [start for start in starts if start is not None], calls, families)
    return tuple(found)


def _explain(
    index: int, starts: Sequence[int], calls: Sequence[Sequence[torch.Tensor]], families: Sequence[Family]
) -> list[Positions]:
    if len(set(starts)) == 1:
        # One call cannot tell a position from any other number; a vector of several that counts, can.
        return [Positions(index, None, starts[0])] if calls[0][index].numel() > 1 else []
    for family in families:
        offsets = {start - family.size_in(call) for start, call in zip(starts, calls, strict=True)}
        if len(offsets) == 1:
            return [Positions(index, family, offsets.pop())]
    return []


def _start(vector: torch.Tensor) -> int | None:
    import torch

    start = int(vector[0])
    counting = torch.arange(start, start + vector.numel(), dtype=vector.dtype)
    return start if vector.equal(counting) else None
