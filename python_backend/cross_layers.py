"""Cross-attention's part of a cache under beam search: what need not be copied is not.

Hugging Face's loop reorders the whole cache after every token, by which beams live on. The keys and values of
cross-attention are the encoder's, the same for all beams of an input, so reordering copies them onto what equals them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["keep_equal_rows"]


def keep_equal_rows(layer: Any) -> None:
    """Let a DynamicLayer be reordered only where that changes a bit of it."""
    layer.__class__ = layer_class()


@cache
def layer_class() -> Any:
    """The class of such layers: a DynamicLayer in all else."""
    import torch
    from transformers.cache_utils import DynamicLayer

    class EqualRowsLayer(DynamicLayer):
        """Knows which neighbouring rows are equal, as long as keys and values are the tensors that it has looked at."""

        _seen: Any = None
        _groups: Any = None

        def reorder_cache(self, beam_idx: Any) -> None:
            tensors: tuple[Any, Any] = (self.keys, self.values)
            if any(tensor.is_inference() for tensor in tensors):
                super().reorder_cache(beam_idx)  # made under inference_mode: torch counts no changes in place of these
                return
            rows = self._equal_rows()
            if beam_idx.shape != rows.shape or not bool((rows[beam_idx] == rows).all()):
                super().reorder_cache(beam_idx)
                self._seen = None  # else what was before would stay in memory

        def _equal_rows(self) -> Any:
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
                self._groups = unlike.cumsum(0)
                self._seen = seen
            return self._groups

    return EqualRowsLayer
