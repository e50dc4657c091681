"""Packed layers of attention, taken apart: the same numbers, without the copies; and what is only alike stays."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from cortex_compile.backends.onnx_attention import attention_translations
from cortex_compile.backends.onnxruntime.split_projections import split_projections

WIDTH, HEADS = 48, 4
PART = WIDTH // HEADS

Attention = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Packed(nn.Module):
    """Attention whose queries, keys and values ``take`` gets out of one layer's result."""

    def __init__(self, take: Callable[[torch.Tensor], Attention], bias: bool = True) -> None:
        super().__init__()
        self.packed, self.take = nn.Linear(WIDTH, 3 * WIDTH, bias=bias), take

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended = nn.functional.scaled_dot_product_attention(*self.take(self.packed(x)))
        return attended.transpose(1, 2).reshape(x.shape)


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended: torch.Tensor = self.attention(x, x, x, need_weights=False)[0]
        return attended


def parts_first(y: torch.Tensor) -> Attention:
    query, key, value = y.view(*y.shape[:2], 3, HEADS, PART).permute(2, 0, 3, 1, 4)
    return query, key, value


def by_index(y: torch.Tensor) -> Attention:
    parts = y.reshape(*y.shape[:2], 3, HEADS, PART).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def heads_first(y: torch.Tensor) -> Attention:
    query, key, value = y.view(*y.shape[:2], HEADS, 3, PART).transpose(1, 2).unbind(3)
    return query, key, value


def keys_twice(y: torch.Tensor) -> Attention:
    parts = y.view(*y.shape[:2], 3, HEADS, PART).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[1]


def parts_last(y: torch.Tensor) -> Attention:
    query, key, value = y.view(*y.shape[:2], HEADS, PART, 3).transpose(1, 2).unbind(-1)
    return query, key, value


def also_whole(y: torch.Tensor) -> Attention:
    query, key, value = parts_first(y)
    return query + y.mean(), key, value


def two_at_once(y: torch.Tensor) -> Attention:
    parts = y.view(*y.shape[:2], 3, HEADS, PART).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1:].sum(0), parts[2]


def of_other_rows(y: torch.Tensor) -> Attention:
    """Parts of what a reshape has taken from several rows."""
    parts = y.reshape(3, -1, HEADS, y.shape[1], PART)
    return parts[0], parts[1], parts[2]


@pytest.mark.parametrize("shape", [(1, 1), (2, 7)])
@pytest.mark.parametrize(
    ("module", "layers"),
    [
        (Packed(parts_first), 3),
        (Packed(parts_first, bias=False), 3),
        (Packed(by_index), 3),
        (Packed(heads_first), 3),
        (Packed(parts_last), 3),
        (Packed(keys_twice), 2),
        (SelfAttention(), 3),
        (nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True), 5),
    ],
    ids=lambda value: value.take.__name__ if isinstance(value, Packed) else type(value).__name__,
)
def test_what_is_only_taken_apart_is_made_apart(
    module: nn.Module, layers: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    model, counts = export(module)
    assert split_projections(model) == 1
    left = Counter(node.op_type for node in model.graph)
    # The two products of attention itself are no layers; what nn.MultiheadAttention ends with is a Gemm.
    assert left["MatMul"] - 2 == layers
    assert left["Gather"] == left["Slice"] == 0 < counts["Gather"] + counts["Slice"]
    made = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    assert made < sum(parameter.nbytes for parameter in module.parameters()) + 500, "weights were left behind"
    x = torch.randn(*shape, WIDTH)
    with torch.no_grad():
        np.testing.assert_allclose(run(model, x, tmp_path), module(x).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("take", [also_whole, two_at_once, of_other_rows])
def test_what_is_needed_otherwise_stays(take: Callable[[torch.Tensor], Attention], tmp_path: Path) -> None:
    module = Packed(take).eval()
    model, counts = export(module)
    assert split_projections(model) == 0
    assert Counter(node.op_type for node in model.graph) == counts
    x = torch.randn(3, 6, WIDTH)
    with torch.no_grad():
        np.testing.assert_allclose(run(model, x, tmp_path), module(x).numpy(), rtol=1e-5, atol=1e-5)


def export(module: nn.Module) -> tuple[Any, Counter[str]]:
    varying = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (torch.randn(3, 6, WIDTH),),
            dynamo=True,
            dynamic_shapes=(varying,),
            opset_version=20,
            custom_translation_table=attention_translations(),
            verbose=False,
        )
    assert program is not None
    return program.model, Counter(node.op_type for node in program.model.graph)


def run(model: Any, x: torch.Tensor, folder: Path) -> np.ndarray[Any, Any]:
    from onnxscript import ir

    ir.save(model, folder / "model.onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    return found
