"""What a module says of itself that proving can use: how long its inputs may be, and what it pads with.

Nothing here is believed. A stated size is tried, and the next larger one; a pad value is filled in and compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# max_position_embeddings, n_positions, n_ctx, max_source_positions, max_seq_len, context_length, block_size, …
_LIMIT = re.compile(r"position|n_ctx|context|max_(seq|len|source|target)|block_size")
# position_embeddings.weight, wpe.weight, pos_embed, pe, …
_POSITIONS = re.compile(r"(^|[._])(w?pe|pos|position(s|al)?)([._]|$)|pos_?(emb|enc)|position_")

_RECURRENT = {"LSTM", "GRU", "RNN"}


@dataclass(frozen=True)
class StatedSize:
    """``where`` is for people: config.max_position_embeddings."""

    size: int
    where: str


@dataclass(frozen=True)
class ModuleLimits:
    """``sizes`` are each there once, the smallest first; ``pad_value`` is None where none is stated.

    Nothing smaller than ``least`` is tried: on an empty batch ONNX Runtime 1.31 ends the process inside an LSTM or GRU.
    """

    sizes: tuple[StatedSize, ...] = ()
    pad_value: int | None = None
    least: int = 0


def read_limits(module: torch.nn.Module) -> ModuleLimits:
    found: dict[int, str] = {}
    for size, where in (*_of_configs(module), *_of_tables(module)):
        if size > 1:
            found.setdefault(size, where)
    pad = getattr(getattr(module, "config", None), "pad_token_id", None)
    sizes = tuple(StatedSize(size, where) for size, where in sorted(found.items()))
    recurrent = any(type(part).__name__ in _RECURRENT for part in module.modules())
    return ModuleLimits(sizes, pad if type(pad) is int and pad >= 0 else None, int(recurrent))


def _of_configs(module: torch.nn.Module) -> Iterator[tuple[int, str]]:
    """Of the module's own, and of its parts': those of text and image may be in one model."""
    for path, part in module.named_modules():
        config: Any = getattr(part, "config", None)
        values = config if isinstance(config, dict) else getattr(config, "__dict__", {})
        for name, value in values.items():
            if type(value) is int and isinstance(name, str) and _LIMIT.search(name):
                yield value, f"{path}.config.{name}".removeprefix(".")


def _of_tables(module: torch.nn.Module) -> Iterator[tuple[int, str]]:
    """Sizes of what is called after positions: the rows of an embedding, the length of a table."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if _POSITIONS.search(name) and tensor.dim() > 1:
            # The last axis is the width of an embedding.
            yield from ((size, name) for size in tensor.shape[:-1])
