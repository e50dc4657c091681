"""Layers of a cache that are reordered only where that changes something."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache

from cortex_compile.python_backend.caches import put_together, take_apart, write_back
from cortex_compile.python_backend.manifest import CacheState

STATE = CacheState("EncoderDecoderCache", (True, True), (True, True), (True, True))


def make_cache(rows: torch.Tensor) -> Any:
    """One of two layers; row i of its cross-attention is filled with rows[i], in self-attention each row is its own."""
    cross = [rows[:, None, None, None].expand(-1, 2, 5, 4).clone() * (1 + number) for number in range(4)]
    own = [torch.randn(len(rows), 2, 3, 4) for _ in range(4)]
    return put_together(STATE, [*own, *cross])


def tensors_of(cache: Any) -> list[torch.Tensor]:
    tensors: list[torch.Tensor] = []
    take_apart(cache, tensors)
    return tensors


def reordered(cache: Any, order: list[int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What the cache holds afterwards, and what a plain one would."""
    plain = EncoderDecoderCache(DynamicCache(), DynamicCache())
    tensors = tensors_of(cache)
    half = len(tensors) // 2
    for part, values in (
        (plain.self_attention_cache, tensors[:half]),
        (plain.cross_attention_cache, tensors[half:]),
    ):
        for index in range(len(values) // 2):
            part.update(values[2 * index].clone(), values[2 * index + 1].clone(), index)
    assert take_apart(cache, []) == STATE
    for each in (cache, plain):
        each.reorder_cache(torch.tensor(order))
    expected = [
        tensor
        for part in (plain.self_attention_cache, plain.cross_attention_cache)
        for layer in part.layers
        for tensor in (layer.keys, layer.values)
    ]
    return tensors_of(cache), expected


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        ([1.0, 1.0, 1.0, 1.0], [2, 0, 0, 3]),
        ([1.0, 1.0, 2.0, 2.0], [1, 0, 3, 3]),
        ([1.0, 1.0, 2.0, 2.0], [2, 0, 3, 3]),
        ([1.0, 2.0, 1.0, 2.0], [2, 3, 0, 1]),
        ([1.0, 2.0, 3.0, 4.0], [3, 2, 1, 0]),
        ([1.0, 2.0, 3.0], [0, 1, 2]),
        ([1.0, 1.0, 2.0], [0, 1]),
        ([1.0, 1.0, 2.0], [0, 2]),  # fewer rows than before
        ([1.0], [0, 0]),
        ([float("nan"), float("nan")], [1, 0]),
    ],
)
def test_it_holds_what_a_plain_cache_holds(rows: list[float], order: list[int]) -> None:
    torch.manual_seed(0)
    found, expected = reordered(make_cache(torch.tensor(rows)), order)
    assert all(
        torch.equal(mine.nan_to_num(9.0), plain.nan_to_num(9.0)) for mine, plain in zip(found, expected, strict=True)
    )


def test_equal_rows_are_not_copied_and_unequal_ones_are() -> None:
    cache = make_cache(torch.tensor([1.0, 1.0, 2.0, 2.0]))
    layer = cache.cross_attention_cache.layers[0]
    keys, own = layer.keys, cache.self_attention_cache.layers[0].keys
    cache.reorder_cache(torch.tensor([1, 0, 3, 2]))
    assert layer.keys is keys
    assert cache.self_attention_cache.layers[0].keys is not own
    cache.reorder_cache(torch.tensor([2, 3, 0, 1]))
    assert layer.keys is not keys


def test_beams_that_go_on_as_themselves_are_not_copied() -> None:
    cache = make_cache(torch.tensor([1.0, 2.0, 3.0]))
    before = tensors_of(cache)
    cache.reorder_cache(torch.tensor([0, 1, 2]))
    assert all(one is other for one, other in zip(before, tensors_of(cache), strict=True))
    # Fewer rows, in the order of before.
    cache.reorder_cache(torch.tensor([0, 1]))
    assert len(cache.self_attention_cache.layers[0].keys) == 2


@pytest.mark.parametrize("part", ["keys", "values"])
def test_a_row_that_is_changed_in_place_counts(part: str) -> None:
    cache = make_cache(torch.tensor([1.0, 1.0]))
    cache.reorder_cache(torch.tensor([1, 0]))
    layer = cache.cross_attention_cache.layers[1]
    getattr(layer, part)[0, 0, 0, 0] = 7.0
    cache.reorder_cache(torch.tensor([1, 0]))
    assert getattr(layer, part)[1, 0, 0, 0] == 7.0


def test_under_inference_mode_it_is_a_plain_cache() -> None:
    with torch.inference_mode():
        found, expected = reordered(make_cache(torch.tensor([1.0, 1.0, 2.0])), [1, 2, 0])
    for mine, plain in zip(found, expected, strict=True):
        assert torch.equal(mine, plain)


def test_a_cache_that_hugging_face_made_becomes_one_and_can_be_copied() -> None:
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    write_back(cache, STATE, [torch.ones(2, 2, 3, 4)] * 4 + [torch.ones(2, 2, 5, 4)] * 4)
    copied = copy.deepcopy(cache)
    copied.cross_attention_cache.layers[0].keys[0] = 5.0
    copied.reorder_cache(torch.tensor([1, 0]))
    assert copied.cross_attention_cache.layers[0].keys[1, 0, 0, 0] == 5.0
    assert isinstance(cache.cross_attention_cache.layers[0], DynamicLayer)
    assert take_apart(cache, []) == STATE
