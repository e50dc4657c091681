"""Hugging Face's key and value caches, taken apart into tensors and put together again.

A module gets such a cache as an argument and grows it in place. A graph gets its tensors and returns the grown ones,
and they are written back into the very same object, so whoever holds it sees what eager would have left there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .beam_layers import keep_equal_rows, keep_order, layer_classes
from .manifest import CacheState


class UnsupportedCache(Exception):
    """A cache of a kind that is not only a list of growing keys and values. The text names it."""


def is_cache(value: Any) -> bool:
    """True for any of transformers' caches, of the kinds that can be taken apart and of the others."""
    transformers = sys.modules.get("transformers.cache_utils")
    return transformers is not None and isinstance(value, transformers.Cache)


def take_apart(cache: Any, tensors: list[Any]) -> CacheState:
    """The state of a cache. Its tensors are added: key and value of each initialized layer, self-attention first.

    Raises:
        UnsupportedCache: a static, sliding, quantized or offloaded cache, or one of another library.
    """
    name = type(cache).__name__
    if name == "EncoderDecoderCache":
        own = _take_layers(cache.self_attention_cache, tensors)
        cross = _take_layers(cache.cross_attention_cache, tensors)
        updated = tuple([bool(cache.is_updated[index]) for index in sorted(cache.is_updated)])
        return CacheState(name, own, cross, updated)
    return CacheState(name, _take_layers(cache, tensors), (), ())


def put_together(state: CacheState, tensors: Sequence[Any]) -> Any:
    """A new cache in that state. The inverse of ``take_apart``."""
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache

    cache: Any = DynamicCache()
    if state.kind == "EncoderDecoderCache":
        cache = EncoderDecoderCache(cache, DynamicCache())
    write_back(cache, state, tensors)
    return cache


def write_back(cache: Any, state: CacheState, tensors: Sequence[Any]) -> None:
    """Bring a cache into that state, as the module itself would have done in place."""
    if state.kind == "EncoderDecoderCache":
        own = 2 * sum(state.layers)
        _fill(cache.self_attention_cache, state.layers, tensors[:own], keep_order)
        _fill(cache.cross_attention_cache, state.cross_layers, tensors[own:], keep_equal_rows)
        for index, updated in enumerate(state.updated):
            cache.is_updated[index] = updated
    else:
        _fill(cache, state.layers, tensors, keep_order)


def is_first_step(states: Sequence[CacheState], others: Iterable[Sequence[CacheState]]) -> bool:
    """True for a way of calling a module with its caches empty or without any, if it is also called with them filled:
    it runs once where those run for every token.

    Args:
        states: of the caches among its arguments.
        others: the same of the module's other ways of being called.
    """
    return not _is_filled(states) and any(map(_is_filled, others))


def _is_filled(states: Sequence[CacheState]) -> bool:
    return any(state.layers or state.cross_layers for state in states)


def _take_layers(cache: Any, tensors: list[Any]) -> tuple[bool, ...]:
    from transformers.cache_utils import DynamicLayer

    if type(cache).__name__ != "DynamicCache":
        raise UnsupportedCache(f"a {type(cache).__name__}")
    if getattr(cache, "offloading", False):
        raise UnsupportedCache("an offloaded cache")
    known = (DynamicLayer, *layer_classes())
    filled = []
    for layer in cache.layers:
        if type(layer) not in known:
            raise UnsupportedCache(f"a cache of {type(layer).__name__}")
        filled.append(bool(layer.is_initialized))
        if filled[-1]:
            tensors += (layer.keys, layer.values)
    while filled and not filled[-1]:  # layers made ahead and layers not made yet are the same
        filled.pop()
    return tuple(filled)


def _fill(cache: Any, initialized: tuple[bool, ...], tensors: Sequence[Any], mark: Callable[[Any], None]) -> None:
    from transformers import cache_utils

    layers = cache.layers
    make_layer: Any = cache_utils.DynamicLayer
    while len(layers) < len(initialized):
        layers.append(make_layer())
    pairs = iter(tensors)
    for layer, filled in zip(layers, initialized, strict=False):
        if filled:
            keys = next(pairs)
            if not layer.is_initialized:
                layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
            layer.keys, layer.values = keys, next(pairs)
            mark(layer)
