"""Caches under beam search: what need not be copied is not.

Hugging Face's loop reorders the whole cache after every token, by which beams live on. Where each beam goes on as
itself, that copies all onto what it is. And the keys and values of cross-attention are the encoder's, the same for all
beams of an input, so that any order of these copies them onto what equals them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["keep_equal_rows", "keep_order", "layer_classes"]


def keep_order(layer: Any) -> None:
    """Let a DynamicLayer be copied only where its rows come into another order."""
    layer.__class__ = layer_classes()[0]


def keep_equal_rows(layer: Any) -> None:
    """Let a DynamicLayer be reordered only where that changes a bit of it."""
    layer.__class__ = layer_classes()[1]


@cache
def layer_classes() -> tuple[Any, Any]:
    """The classes of such layers: DynamicLayers in all else."""
    import torch
    from transformers.cache_utils import DynamicLayer

    class SameOrderLayer(DynamicLayer):
        """For self-attention, whose rows are each its own."""

        def reorder_cache(self, beam_idx: Any) -> None:
            # Python's numbers: a few beams are looked through before torch has begun with a tensor.
            rows = 0 if self.keys is None else len(self.keys)
            if not beam_idx.is_cpu or beam_idx.tolist() != list(range(rows)):
                super().reorder_cache(beam_idx)

    class EqualRowsLayer(DynamicLayer):
        """Knows which neighbouring rows are equal, as long as keys and values are the tensors that it has looked at."""

        _seen: Any = None
        _groups: list[int]

        def reorder_cache(self, beam_idx: Any) -> None:
            tensors: tuple[Any, Any] = (self.keys, self.values)
            if any(tensor.is_inference() for tensor in tensors):
                super().reorder_cache(beam_idx)  # made under inference_mode: torch counts no changes in place of these
                return
            rows = self._equal_rows()
            if beam_idx.shape != (len(rows),) or [rows[index] for index in beam_idx.tolist()] != rows:
                super().reorder_cache(beam_idx)
                self._seen = None  # else what was before would stay in memory

        def _equal_rows(self) -> list[int]:
            """For each row a number; rows of one number are equal in every bit that matters to comparing."""
            tensors: tuple[Any, Any] = (self.keys, self.values)
            seen = tuple((tensor, tensor._version) for tensor in tensors)
            if self._seen is None or any(
                tensor is not old or version != old_version
                for (tensor, version), (old, old_version) in zip(seen, self._seen, strict=True)
            ):
                unlike = torch.zeros(len(tensors[0]), dtype=torch.long, device=tensors[0].device)
                for tensor in tensors:
                    unlike[1:] |= (tensor[1:] != tensor[:-1]).flatten(1).any(1)
                self._groups = unlike.cumsum(0).tolist()
                self._seen = seen
            return self._groups

    return SameOrderLayer, EqualRowsLayer
