"""Attention in a graph is torch's: with each kind of mask, and for a row that may attend to nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch.nn.functional import scaled_dot_product_attention

from cortex_compile.backends.protocol import ExportedGraph, ExportRequest, SizeProfile
from cortex_compile.backends.registry import find_engine


def exported_by_dynamo(
    module: torch.nn.Module, examples: tuple[torch.Tensor, ...], outputs: int, axes: set[tuple[int, int]], folder: Path
) -> ExportedGraph:
    inputs = tuple(f"i{number}" for number in range(len(examples)))
    names = tuple(f"o{number}" for number in range(outputs))
    shapes = tuple(tuple(example.shape) for example in examples)
    request = ExportRequest(
        module.eval(), examples, inputs, names, frozenset(axes), "dynamo", SizeProfile(shapes, shapes, shapes)
    )
    exported = find_engine("onnxruntime").export(request, folder)
    assert isinstance(exported, ExportedGraph), exported
    return exported


class EachKind(torch.nn.Module):
    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, mask = tensors
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
    axes = {(index, axis) for index in range(4) for axis in (0, 2)} | {(3, 3)}
    exported = exported_by_dynamo(EachKind(), (query, key, value, mask), 5, axes, tmp_path)
    expected = EachKind()(query, key, value, mask)
    session = find_engine("onnxruntime").open_session(exported.graph, 1)
    found = session.run([each.numpy() for each in (query, key, value, mask)])
    assert torch.equal(expected[1][0, :, 2], torch.zeros(2, 8))  # the row that may attend to nothing
    for mine, theirs in zip(expected, found, strict=True):
        torch.testing.assert_close(torch.from_numpy(theirs), mine, rtol=1e-5, atol=1e-6)


def test_the_keys_are_not_taken_apart_to_be_transposed(tmp_path: Path) -> None:
    class Plain(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor]:
            query, key = tensors
            return (scaled_dot_product_attention(query, key, key),)

    tensors = (torch.randn(3, 2, 1, 8), torch.randn(3, 2, 7, 8))
    exported = exported_by_dynamo(Plain(), tensors, 1, {(0, 0), (1, 0), (1, 2)}, tmp_path)
    nodes = [node.op_type for node in onnx.load(exported.graph, load_external_data=False).graph.node]
    assert nodes.count("Transpose") == 1
    assert not {"Reshape", "Shape", "Slice"} & set(nodes)
