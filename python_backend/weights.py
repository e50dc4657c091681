"""Weights of an exchanged module live in a file: nothing is resident until touched, and processes share the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .manifest import ParameterSpec


def map_weights(module: Any, file: Path, parameters: Sequence[ParameterSpec]) -> int:
    """Point each parameter's data at a private memory map of ``file``, in place of the memory it had.

    The parameters keep their identity, so tied weights, ``model.device`` and direct reads go on working, and an eager
    call is at once right. A write to a parameter touches a private copy of the page, never the file.

    Returns:
        The bytes that were resident and no longer need to be.
    """
    import torch

    if not parameters:
        return 0
    size = file.stat().st_size
    mapped = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
    named = dict(module.named_parameters(remove_duplicate=False))
    released = 0
    with torch.no_grad():
        for spec in parameters:
            parameter = named[spec.name]
            length = parameter.numel() * parameter.element_size()
            values = mapped[spec.offset : spec.offset + length].view(parameter.dtype).view(parameter.shape)
            parameter.data = values
            released += length
    return released
