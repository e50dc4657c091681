"""A module's call taken apart into tensors and constants, and put together again.

Arguments and results are torch pytrees. Their tensor leaves go through the graph; all other leaves are constants of
the signature, so a call with another constant is another signature. Caches are leaves too, with tensors of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .caches import UnsupportedCache, is_cache, put_together, take_apart
from .errors import BuildError
from .manifest import CacheState, Leaf
from .user_records import Record, UnknownRecord, is_record, open_records, register_record

if TYPE_CHECKING:
    import torch

# What JSON carries without loss; the exact types, since 1, 1.0 and True compare equal and mean different things.
CONSTANT_TYPES = (type(None), bool, int, float, str)


class UnsupportedLeaf(Exception):
    """A leaf is neither a tensor nor a JSON value. The text names where it stands and what it is."""


@dataclass(frozen=True)
class FlatTree:
    """``tensors`` in order, those of the caches last; ``leaves`` say what each leaf is, ``spec`` is the tree."""

    tensors: tuple[torch.Tensor, ...]
    leaves: tuple[Leaf, ...]
    spec: Any
    caches: tuple[Any, ...] = ()
    states: tuple[CacheState, ...] = ()


def flatten(tree: Any) -> FlatTree:
    """
    Raises:
        UnsupportedLeaf: a leaf is neither a tensor, nor a cache that can be taken apart, nor a JSON value.
    """
    import torch
    from torch.utils import _pytree as pytree

    values, spec = pytree.tree_flatten(tree, is_leaf=_is_leaf)
    if any(is_record(value) for value in values):
        try:
            values, spec = pytree.tree_flatten(open_records(tree), is_leaf=_is_leaf)
        except UnknownRecord as error:
            raise UnsupportedLeaf(f"it holds {error}") from error
    tensors: list[torch.Tensor] = []
    leaves: list[Leaf] = []
    caches: list[Any] = []
    for index, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            leaves.append(Leaf(tensor=len(tensors)))
            tensors.append(value)
        elif type(value) in CONSTANT_TYPES:
            leaves.append(Leaf(constant=value))
        elif is_cache(value):
            leaves.append(Leaf(cache=len(caches)))
            caches.append(value)
        else:
            raise UnsupportedLeaf(f"{_where(spec, index)} is a {type(value).__name__}")
    try:
        states = [take_apart(cache, tensors) for cache in caches]
    except UnsupportedCache as error:
        raise UnsupportedLeaf(f"it holds {error}") from error
    return FlatTree(tuple(tensors), tuple(leaves), spec, tuple(caches), tuple(states))


def tree_of(tree: Any) -> Any:
    """The ``spec`` that ``flatten`` finds."""
    from torch.utils import _pytree as pytree

    return pytree.tree_flatten(tree, is_leaf=_is_leaf)[1]


def _is_leaf(value: Any) -> bool:
    return is_cache(value) or is_record(value)


def _where(spec: Any, index: int) -> str:
    return ".".join(str(key) for key in leaf_paths(spec)[index]) or "it"


def leaf_paths(spec: Any) -> list[tuple[int | str, ...]]:
    """For each leaf of a tree the indices and keys that lead to it.

    torch's own ``tree_flatten_with_path`` refuses types registered without key paths, as Hugging Face's results are.
    """
    if spec.is_leaf():
        return [()]
    children = spec.children()
    keys: list[int | str] = list(range(len(children)))
    if issubclass(spec.type, dict) and isinstance(spec.context, list) and len(spec.context) == len(children):
        keys = spec.context
    elif spec.type is Record:
        keys = list(spec.context[1:])
    return [(key, *rest) for key, child in zip(keys, children, strict=True) for rest in leaf_paths(child)]


def rebuild_arguments(call: FlatTree, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The ``args`` and ``kwargs`` of a call with other tensors, and with caches of its own."""
    place = len(tensors) - sum(map(cache_tensor_count, call.states))
    caches = []
    for state in call.states:
        count = cache_tensor_count(state)
        caches.append(put_together(state, tensors[place : place + count]))
        place += count
    args, kwargs = unflatten(call.spec, call.leaves, tensors, caches)
    return args, kwargs


def cache_tensor_count(state: CacheState) -> int:
    return 2 * (sum(state.layers) + sum(state.cross_layers))


def unflatten(
    spec: Any,
    leaves: Sequence[Leaf],
    tensors: Sequence[Any],
    caches: Sequence[Any] = (),
    arguments: Sequence[Any] = (),
) -> Any:
    """Put a tree together again; the inverse of ``flatten``."""
    from torch.utils import _pytree as pytree

    values = []
    for leaf in leaves:
        if leaf.tensor is not None:
            values.append(tensors[leaf.tensor])
        elif leaf.argument is not None:
            values.append(arguments[leaf.argument])
        elif leaf.cache is not None:
            values.append(caches[leaf.cache])
        else:
            values.append(leaf.constant)
    return pytree.tree_unflatten(values, spec)


def dump_spec(spec: Any) -> str:
    """
    Raises:
        UnsupportedLeaf: the tree holds a container that torch cannot name in JSON.
    """
    from torch.utils import _pytree as pytree

    try:
        return pytree.treespec_dumps(spec)
    except (NotImplementedError, TypeError) as error:
        raise UnsupportedLeaf(f"the containers cannot be written down ({error})") from error


def load_spec(text: str) -> Any:
    """
    Raises:
        BuildError: the tree holds a class that is not loaded here.
    """
    from torch.utils import _pytree as pytree

    register_record()
    try:
        return pytree.treespec_loads(text)
    except (NotImplementedError, LookupError) as error:
        raise BuildError(
            f"its arguments or its result are of a class that is not here ({error}); compile again"
        ) from error


def equal_constants(expected: Sequence[Leaf], found: Sequence[Leaf]) -> bool:
    """True if the same leaves are tensors and caches, and all constants are equal in type and value."""
    return len(expected) == len(found) and all(
        mine is theirs
        or (
            mine.tensor == theirs.tensor
            and mine.cache == theirs.cache
            and type(mine.constant) is type(theirs.constant)
            and mine.constant == theirs.constant
        )
        for mine, theirs in zip(expected, found, strict=True)
    )
