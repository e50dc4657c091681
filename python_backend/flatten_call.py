"""A call taken apart, as ``calls.flatten`` does, in a fraction of its time where a call was of that kind before.

A decoder is called for every token, with two dozen tensors in caches and results of other modules. What such a call's
tree is follows from the types and keys of its containers, so that torch's pytree need only be asked once for each kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .caches import UnsupportedCache, is_cache, take_apart
from .calls import CONSTANT_TYPES, FlatTree, flatten, tree_of
from .manifest import Leaf
from .user_records import is_record

if TYPE_CHECKING:
    import torch

__all__ = ["flatten_arguments"]

# With more kinds of calls than this, all are forgotten and looked at again.
_MOST_KINDS = 256


class _UnknownKind(Exception):
    """A call holds what is not looked into here."""


def flatten_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> FlatTree:
    """Flatten a call; keyword arguments are sorted, so their order at the call does not matter.

    Calls of one kind have one ``spec`` object in common, and what leaves they share.

    Raises:
        UnsupportedLeaf: an argument holds something that is neither a tensor nor a JSON value.
    """
    try:
        return _flatten_known(args, kwargs)
    except (_UnknownKind, UnsupportedCache):
        return flatten((tuple(args), dict(sorted(kwargs.items()))))


def _flatten_known(args: Sequence[Any], kwargs: Mapping[str, Any]) -> FlatTree:
    names = tuple(sorted(kwargs))
    walk = _Walk()
    kinds = tuple([walk.kind_of(value) for value in (*args, *[kwargs[name] for name in names])])
    spec = _spec_of(len(args), names, kinds, args, kwargs)
    states = tuple([take_apart(cache, walk.tensors) for cache in walk.caches])
    return FlatTree(tuple(walk.tensors), tuple(walk.leaves), spec, tuple(walk.caches), states)


class _Walk:
    """What was found in the values of a call so far."""

    def __init__(self) -> None:
        import torch
        from torch.utils import _pytree as pytree

        # The exact types: what a subclass may be to pytree is not looked at here.
        self._tensor_types = (torch.Tensor, torch.nn.Parameter)
        self._nodes = pytree.SUPPORTED_NODES
        self.tensors: list[torch.Tensor] = []
        self.leaves: list[Leaf] = []
        self.caches: list[Any] = []

    def kind_of(self, value: Any) -> Any:
        """None for a leaf, else the container's type, what torch notes of it, and what is inside.

        Raises:
            _UnknownKind: it is none of those that torch has by their type.
        """
        found = type(value)
        if found in self._tensor_types:
            self.leaves.append(_tensor_leaf(len(self.tensors)))
            self.tensors.append(value)
            return None
        if found in CONSTANT_TYPES:
            self.leaves.append(_switch_leaf(value) if value is None or found is bool else Leaf(constant=value))
            return None
        if is_cache(value):
            self.leaves.append(_cache_leaf(len(self.caches)))
            self.caches.append(value)
            return None
        node = self._nodes.get(found)
        if node is None or is_record(value):
            raise _UnknownKind
        inside, context = node.flatten_fn(value)
        noted = tuple(context) if type(context) is list else context
        return found, noted, tuple([self.kind_of(item) for item in inside])


_specs: dict[Any, Any] = {}


def _spec_of(count: int, names: tuple[str, ...], kinds: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    key = (count, names, kinds)
    try:
        spec = _specs.get(key)
    except TypeError as error:  # what torch notes of a container cannot be a key
        raise _UnknownKind from error
    if spec is None:
        if len(_specs) >= _MOST_KINDS:
            _specs.clear()
        spec = _specs[key] = tree_of((tuple(args), {name: kwargs[name] for name in names}))
    return spec


@lru_cache(maxsize=256)
def _tensor_leaf(index: int) -> Leaf:
    return Leaf(tensor=index)


@lru_cache(maxsize=256)
def _cache_leaf(index: int) -> Leaf:
    return Leaf(cache=index)


@lru_cache(maxsize=3)
def _switch_leaf(value: bool | None) -> Leaf:
    return Leaf(constant=value)
