"""Attention in a graph is torch's: with each kind of mask, and for a row that may attend to nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch.nn.functional import scaled_dot_product_attention

from cortex_compile.backends.protocol import ExportedGraph, ExportRequest
from cortex_compile.backends.registry import find_engine


class EachKind(torch.nn.Module):
    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        wide = query.repeat(1, 2, 1, 1)
        return (
            scaled_dot_product_attention(query, key, value),
            scaled_dot_product_attention(query, key, value, attn_mask=mask),
            scaled_dot_product_attention(query, key, value, attn_mask=mask * 2.0 - 1.0, scale=0.5),
            scaled_dot_product_attention(query, key, value, is_causal=True),
            scaled_dot_product_attention(wide, key, value, enable_gqa=True),
        )


def test_each_kind_is_what_torch_computes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, length, 8, generator=generator) for length in (5, 7, 7))
    mask = torch.rand(3, 1, 5, 7, generator=generator) < 0.6
    mask[0, 0, 2] = False
    names = tuple(f"o{number}" for number in range(5))
    axes = frozenset({(index, axis) for index in range(4) for axis in (0, 2)} | {(3, 3)})
    request = ExportRequest(EachKind().eval(), (query, key, value, mask), ("q", "k", "v", "m"), names, axes)
    engine = find_engine("onnxruntime")
    exported = engine.export(request, tmp_path)
    assert isinstance(exported, ExportedGraph), exported
    expected = EachKind()(query, key, value, mask)
    found = engine.open_session(exported.graph, 1).run([each.numpy() for each in (query, key, value, mask)])
    assert torch.equal(expected[1][0, :, 2], torch.zeros(2, 8))  # the row that may attend to nothing
    for mine, theirs in zip(expected, found, strict=True):
        torch.testing.assert_close(torch.from_numpy(theirs), mine, rtol=1e-5, atol=1e-6)


def test_the_keys_are_not_taken_apart_to_be_transposed(tmp_path: Path) -> None:
    class Plain(torch.nn.Module):
        def forward(self, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor]:
            return (scaled_dot_product_attention(query, key, key),)

    axes = frozenset({(0, 0), (1, 0), (1, 2)})
    tensors = (torch.randn(3, 2, 1, 8), torch.randn(3, 2, 7, 8))
    exported = find_engine("onnxruntime").export(
        ExportRequest(Plain().eval(), tensors, ("q", "k"), ("o",), axes), tmp_path
    )
    assert isinstance(exported, ExportedGraph), exported
    nodes = [node.op_type for node in onnx.load(exported.graph, load_external_data=False).graph.node]
    assert sorted(nodes) == ["MatMul", "MatMul", "Mul", "Softmax", "Transpose"]
