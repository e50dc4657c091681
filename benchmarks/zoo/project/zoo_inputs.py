"""Inputs made from the numbers in a request, what an answer shows of the results, and a net to be slow with."""

import re

import torch
from torch import nn


def make_inputs(kinds, payload):
    """A tensor for each argument. ``kinds`` are as architectures.yaml writes them."""
    generator = torch.Generator().manual_seed(payload["seed"])
    return {name: _make(kind, payload, generator) for name, kind in kinds.items()}


def _make(kind, payload, generator):
    word, *numbers = kind
    limit = numbers.pop(0) if word in ("tokens", "boxes") else 2
    shape = [_size(number, payload) for number in numbers]
    if word == "floats":
        return torch.randn(shape, generator=generator)
    if word == "ones":
        return torch.ones(shape)
    if word == "zeros":
        return torch.zeros(shape, dtype=torch.long)
    if word == "mask":
        mask = torch.ones(shape, dtype=torch.long)
        mask[1:, -2:] = 0  # all rows but the first are shorter
        return mask
    values = torch.randint(3, limit, shape, generator=generator)
    return values.sort(-1).values if word == "boxes" else values


def _size(number, payload):
    """3, b for the batch, l for the length, 4l for four times that."""
    if isinstance(number, int):
        return number
    factor, letter = re.fullmatch(r"(\d*)([bl])", number).groups()
    return int(factor or 1) * payload[{"b": "batch", "l": "length"}[letter]]


def summary(tensors):
    """Of each tensor its sum and up to 16 of its values: an answer that costs little to write."""
    shown = []
    for tensor in tensors:
        flat = tensor.detach().double().flatten()
        shown.append([flat.sum().item(), *flat[:: max(1, len(flat) // 16)][:16].tolist()])
    return shown


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + 0.3 * nn.functional.gelu(self.linear(x))


def make_stack(inputs, outputs, blocks=24):
    """Narrow and deep: what torch takes for each layer is what a graph saves."""
    inner = [Block(32) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(inputs, 32), *inner, nn.LayerNorm(32), nn.Linear(32, outputs))
