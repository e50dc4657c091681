"""Hugging Face's key and value caches, taken apart into tensors and put together again.

A module gets such a cache as an argument and grows it in place. A graph gets its tensors and returns the grown ones,
and they are written back into the very same object, so whoever holds it sees what eager would have left there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .cross_layers import keep_equal_rows, layer_class
from .manifest import CacheState


class UnsupportedCache(Exception):
    """A cache of a kind that is not only a list of growing keys and values. The text names it."""


def is_cache(value: Any) -> bool:
    """True for any of transformers' caches, of the kinds that can be taken apart and of the others."""
    transformers = sys.modules.get("transformers.cache_utils")
    return transformers is not None and isinstance(value, transformers.Cache)


def take_apart(cache: Any) -> tuple[CacheState, list[Any]]:
    """The state of a cache, and its tensors: key and value of each initialized layer, self-attention first.

    Raises:
        UnsupportedCache: a static, sliding, quantized or offloaded cache, or one of another library.
    """
    name = type(cache).__name__
    if name == "EncoderDecoderCache":
        own, cross = cache.self_attention_cache, cache.cross_attention_cache
        tensors = [*_tensors(own), *_tensors(cross)]
        updated = tuple(bool(cache.is_updated[index]) for index in sorted(cache.is_updated))
        return CacheState(name, _initialized(own), _initialized(cross), updated), tensors
    return CacheState(name, _initialized(cache), (), ()), list(_tensors(cache))


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
        _fill(cache.self_attention_cache, state.layers, tensors[:own])
        _fill(cache.cross_attention_cache, state.cross_layers, tensors[own:])
        for layer in cache.cross_attention_cache.layers:
            keep_equal_rows(layer)
        for index, updated in enumerate(state.updated):
            cache.is_updated[index] = updated
    else:
        _fill(cache, state.layers, tensors)


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


def _initialized(cache: Any) -> tuple[bool, ...]:
    from transformers.cache_utils import DynamicLayer

    if type(cache).__name__ != "DynamicCache":
        raise UnsupportedCache(f"a {type(cache).__name__}")
    if getattr(cache, "offloading", False):
        raise UnsupportedCache("an offloaded cache")
    for layer in cache.layers:
        if type(layer) not in (DynamicLayer, layer_class()):
            raise UnsupportedCache(f"a cache of {type(layer).__name__}")
    flags = [bool(layer.is_initialized) for layer in cache.layers]
    while flags and not flags[-1]:  # layers made ahead and layers not made yet are the same
        flags.pop()
    return tuple(flags)


def _tensors(cache: Any) -> Iterator[Any]:
    for layer in cache.layers:
        if layer.is_initialized:
            yield layer.keys
            yield layer.values


def _fill(cache: Any, initialized: tuple[bool, ...], tensors: Sequence[Any]) -> None:
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
