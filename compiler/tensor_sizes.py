"""Inputs of other sizes and other values than the samples had, made from a recorded call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Axis = tuple[int, int]
"""(index of the tensor, axis)."""

Values = Literal["sample", "random", "wide", "positive", "negative"]


@dataclass(frozen=True)
class Family:
    """Axes whose sizes go together: each is the family's size plus an offset (a mask is one longer than the cache)."""

    axes: tuple[tuple[Axis, int], ...]
    varied: bool
    """The samples themselves show it with different sizes."""
    is_batch: bool

    def size_in(self, tensors: Sequence[torch.Tensor]) -> int:
        (index, axis), offset = self.axes[0]
        return tensors[index].shape[axis] - offset

    def sizes(self, size: int) -> dict[Axis, int]:
        return {axis: size + offset for axis, offset in self.axes}

    @property
    def members(self) -> frozenset[Axis]:
        return frozenset(axis for axis, _ in self.axes)


def find_families(calls: Sequence[Sequence[torch.Tensor]]) -> tuple[Family, ...]:
    """Which axes may vary, and together with which others, as far as the recorded calls tell.

    Sizes that differ between calls go together where they grow by the same steps. What did not vary goes together with
    what has the same size: whether it may vary at all, proving will show. An axis of size 1 that is not the batch is
    mostly there to be broadcast, so it varies only if the samples vary it.
    """
    batch = batch_axes(calls[0])
    groups: dict[tuple[object, ...], list[Axis]] = {}
    for index, tensor in enumerate(calls[0]):
        for axis, first in enumerate(tensor.shape):
            steps = tuple(call[index].shape[axis] - first for call in calls)
            if any(steps):
                groups.setdefault(("varied", steps), []).append((index, axis))
            elif (index, axis) in batch:
                groups.setdefault(("batch",), []).append((index, axis))
            elif first > 1:
                groups.setdefault(("same", first), []).append((index, axis))
    return tuple(_family(calls[0], axes, key[0] == "varied", batch) for key, axes in groups.items())


def _family(first: Sequence[torch.Tensor], axes: list[Axis], varied: bool, batch: frozenset[Axis]) -> Family:
    smallest = min(first[index].shape[axis] for index, axis in axes)
    offsets = tuple(((index, axis), first[index].shape[axis] - smallest) for index, axis in axes)
    is_batch = frozenset(axes) == batch and not any(offset for _, offset in offsets)
    return Family(offsets, varied, is_batch)


def batch_axes(tensors: Sequence[torch.Tensor]) -> frozenset[Axis]:
    """Axis 0 of every tensor of rank 2 or more (of every tensor where there is none), if they have the same size.

    A vector beside matrices is a list of positions more often than a batch of scalars.
    """
    rank = 2 if any(tensor.dim() > 1 for tensor in tensors) else 1
    sizes = {tensor.shape[0] for tensor in tensors if tensor.dim() >= rank}
    if len(sizes) != 1:
        return frozenset()
    return frozenset((index, 0) for index, tensor in enumerate(tensors) if tensor.dim() >= rank)


def choices_of_families(families: tuple[Family, ...]) -> tuple[tuple[Family, ...], ...]:
    """What to export as varying, the most general choice first; at the least what the samples vary."""
    seen = tuple(family for family in families if family.varied or family.is_batch)
    varied = tuple(family for family in families if family.varied)
    return tuple(dict.fromkeys((families, seen, varied)))


def resize(
    tensors: Sequence[torch.Tensor], sizes: Mapping[Axis, int], values: Values = "sample", seed: int = 0
) -> tuple[torch.Tensor, ...]:
    """The tensors with other sizes along some axes.

    ``sample`` repeats or cuts what the sample holds. ``random`` shuffles it with new values in the range that the
    sample covers, so indices stay valid and masks stay masks. The others do the same and spread floats over ten times
    the range: of both signs (``wide``) or of one.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    result = []
    for index, tensor in enumerate(tensors):
        resized = tensor
        for axis in range(tensor.dim()):
            size = sizes.get((index, axis), tensor.shape[axis])
            if size == resized.shape[axis]:
                continue
            if tensor.shape[axis] == 0:
                resized = resized.new_zeros([*resized.shape[:axis], size, *resized.shape[axis + 1 :]])
            else:
                resized = resized.index_select(axis, torch.arange(size) % tensor.shape[axis])
        if values != "sample" and resized.numel() and tensor.numel():
            resized = _other_values(tensor, resized, values, generator)
        result.append(resized.clone())
    return tuple(result)


def _other_values(
    sample: torch.Tensor, resized: torch.Tensor, values: Values, generator: torch.Generator
) -> torch.Tensor:
    import torch

    if resized.dtype == torch.bool:
        random = torch.rand(resized.shape, generator=generator) < 0.7
    elif resized.is_floating_point():
        scale = sample.double().std().item() if sample.numel() > 1 else abs(sample.double().mean().item())
        noise = torch.randn(resized.shape, generator=generator, dtype=torch.float64) * (scale or 1.0)
        if values == "random":
            return (resized.double() + noise).to(resized.dtype)
        sign = noise.sign() if values == "wide" else torch.ones(()) * (1 if values == "positive" else -1)
        return (noise.abs() * 10 * sign).to(resized.dtype)
    else:
        lowest, highest = int(sample.min()), int(sample.max())
        if (lowest, highest) == (1, 1):  # a mask of ones; a mask that hides something is as valid
            lowest = 0
        random = torch.randint(lowest, highest + 1, resized.shape, generator=generator)
    if random.dim() > 1:
        # A row that is hidden whole has no defined answer in most models, so its first element stays.
        random[..., 0] = resized[..., 0]
    return random.to(resized.dtype)
