"""A module's call taken apart into tensors and constants, and put together again.

Arguments and results are torch pytrees. Their tensor leaves go through the graph; all other leaves are constants of
the signature, so a call with another constant is another signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .manifest import Leaf

if TYPE_CHECKING:
    import torch

# What JSON carries without loss; the exact types, since 1, 1.0 and True compare equal and mean different things.
CONSTANT_TYPES = (type(None), bool, int, float, str)


class UnsupportedLeaf(Exception):
    """A leaf is neither a tensor nor a JSON value. The text names where it stands and what it is."""


@dataclass(frozen=True)
class FlatTree:
    """``tensors`` in order, ``leaves`` saying for each leaf which tensor or constant it is, ``spec`` the tree."""

    tensors: tuple[torch.Tensor, ...]
    leaves: tuple[Leaf, ...]
    spec: Any


def flatten_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> FlatTree:
    """Flatten a call; keyword arguments are sorted, so their order at the call does not matter.

    Raises:
        UnsupportedLeaf: an argument holds something that is neither a tensor nor a JSON value.
    """
    return flatten((tuple(args), dict(sorted(kwargs.items()))))


def flatten(tree: Any) -> FlatTree:
    """
    Raises:
        UnsupportedLeaf: a leaf is neither a tensor nor a JSON value.
    """
    import torch
    from torch.utils import _pytree as pytree

    values, spec = pytree.tree_flatten(tree)
    tensors: list[torch.Tensor] = []
    leaves: list[Leaf] = []
    for index, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            leaves.append(Leaf(tensor=len(tensors)))
            tensors.append(value)
        elif type(value) in CONSTANT_TYPES:
            leaves.append(Leaf(constant=value))
        else:
            where = ".".join(str(key) for key in leaf_paths(spec)[index])
            raise UnsupportedLeaf(f"{where or 'it'} is a {type(value).__name__}")
    return FlatTree(tuple(tensors), tuple(leaves), spec)


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
    return [(key, *rest) for key, child in zip(keys, children, strict=True) for rest in leaf_paths(child)]


def unflatten(spec: Any, leaves: Sequence[Leaf], tensors: Sequence[Any]) -> Any:
    """Put a tree together again; the inverse of ``flatten``."""
    from torch.utils import _pytree as pytree

    values = [leaf.constant if leaf.tensor is None else tensors[leaf.tensor] for leaf in leaves]
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
    from torch.utils import _pytree as pytree

    return pytree.treespec_loads(text)


def equal_constants(expected: Sequence[Leaf], found: Sequence[Leaf]) -> bool:
    """True if the same leaves are tensors and all constants are equal in type and value."""
    return len(expected) == len(found) and all(
        mine.tensor == theirs.tensor
        and type(mine.constant) is type(theirs.constant)
        and mine.constant == theirs.constant
        for mine, theirs in zip(expected, found, strict=True)
    )
