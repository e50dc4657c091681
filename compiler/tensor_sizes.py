"""Inputs of other sizes and other values than the samples had, made from a recorded call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Axis = tuple[int, int]
"""(index of the tensor, axis)."""

Values = Literal["sample", "random", "wide", "positive", "negative"]


def varying_axes(calls: Sequence[Sequence[torch.Tensor]]) -> frozenset[Axis]:
    """The axes whose sizes differ between the calls of one signature."""
    return frozenset(
        (index, axis)
        for index, first in enumerate(calls[0])
        for axis in range(first.dim())
        if len({call[index].shape[axis] for call in calls}) > 1
    )


def batch_axes(tensors: Sequence[torch.Tensor]) -> frozenset[Axis]:
    """Axis 0 of every tensor, where all of them have the same size there; else none."""
    sizes = {tensor.shape[0] if tensor.dim() else None for tensor in tensors}
    return (
        frozenset((index, 0) for index in range(len(tensors))) if len(sizes) == 1 and None not in sizes else frozenset()
    )


def candidate_axes(calls: Sequence[Sequence[torch.Tensor]]) -> tuple[frozenset[Axis], ...]:
    """Sets of axes to export as varying, the most general first.

    An axis of size 1 that is not the batch is mostly there to be broadcast, so it varies only if the samples vary it.
    """
    first = calls[0]
    seen = varying_axes(calls) | batch_axes(first)
    every = seen | {
        (index, axis) for index, tensor in enumerate(first) for axis, size in enumerate(tensor.shape) if size > 1
    }
    choices = (every, seen, varying_axes(calls), frozenset[Axis]())
    return tuple(dict.fromkeys(choices))


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
            if size != resized.shape[axis]:
                places = torch.arange(size) % max(tensor.shape[axis], 1)
                resized = resized.index_select(axis, places)
        if values != "sample" and resized.numel():
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
