"""Attention as ONNX: what torch's own translation says, in a third of the nodes.

torch's exporter scales and transposes the keys by a chain of shape arithmetic. In a decoder's step the keys are all
that was cached, so each step copied the cache twice. A plain transpose and a scaled query are what ONNX Runtime fuses
into its matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def attention_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For ``torch.onnx.export(custom_translation_table=…)``."""
    import torch

    return {torch.ops.aten.scaled_dot_product_attention.default: _attention}


@contextmanager
def contiguous_attention() -> Iterator[None]:
    """While open, attention's result lies in memory as its shape says, whichever kernel made it.

    torch's kernels lay it out unlike each other, and exporting runs a module more than once. Where the kernels differ
    between the runs, a reshape that was recorded as a view of the first layout fails on the second (torch 2.13, T5 of
    transformers 5.23).
    """
    import torch

    plain = torch.nn.functional.scaled_dot_product_attention

    def attention(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs).clone(memory_format=torch.contiguous_format)

    torch.nn.functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = plain


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    import numpy as np
    from onnxscript import ir
    from onnxscript import opset20 as op
    from onnxscript.function_libs.torch_lib.ops.nn import aten_scaled_dot_product_attention

    width = query.shape[-1]
    if dropout_p or is_causal or enable_gqa or len(query.shape) != 4 or not isinstance(width, int):
        return aten_scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)

    def number(of: float) -> Any:
        constant: Any = ir.tensor(np.array(of, query.dtype.numpy()))
        return op.Constant(value=constant)

    factor = number(1 / math.sqrt(width) if scale is None else scale)
    scores = op.MatMul(op.Mul(query, factor), op.Transpose(key, perm=[0, 1, 3, 2]))
    if attn_mask is None:
        return op.MatMul(op.Softmax(scores, axis=-1), value)
    if attn_mask.dtype != ir.DataType.BOOL:
        return op.MatMul(op.Softmax(op.Add(scores, attn_mask), axis=-1), value)
    masked = op.Where(attn_mask, scores, number(-math.inf))
    weights = op.Softmax(masked, axis=-1)
    # A row that may attend to nothing: torch says 0 where a softmax says 0 / 0.
    return op.MatMul(op.Where(op.IsNaN(weights), number(0.0), weights), value)
