"""How a module's result is made of a graph's outputs: planned when the call is recorded, followed at each call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .caches import put_together, take_apart, write_back
from .calls import FlatTree, flatten, unflatten
from .manifest import CacheResult, Leaf

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ResultPlan:
    """``leaves`` and ``caches`` name the graph's outputs by index: the result's tensors, then the caches'.

    A tensor of the arguments that comes out as it went in is no output. ``caches`` are those of the arguments after
    the call, in their order, then those that only the result has.
    """

    spec: Any
    leaves: tuple[Leaf, ...]
    caches: tuple[CacheResult, ...]


def plan_result(arguments: FlatTree, result: Any) -> tuple[ResultPlan, tuple[torch.Tensor, ...]]:
    """Look at what a module returned and did to its caches.

    Returns:
        The plan, and the tensors that the graph would have to put out.

    Raises:
        UnsupportedLeaf: the result holds something that is neither a tensor, a cache nor a JSON value.
        UnsupportedCache: a cache became one that cannot be taken apart.
    """
    flat = flatten(result)
    inputs = {id(tensor): index for index, tensor in enumerate(arguments.tensors)}
    outputs: list[torch.Tensor] = []

    def source_of(tensor: torch.Tensor) -> Leaf:
        if id(tensor) in inputs:
            return Leaf(argument=inputs[id(tensor)])
        outputs.append(tensor)
        return Leaf(tensor=len(outputs) - 1)

    known = {id(cache): index for index, cache in enumerate(arguments.caches)}
    new = [cache for cache in flat.caches if id(cache) not in known]
    places = {**known, **{id(cache): len(known) + index for index, cache in enumerate(new)}}
    leaves = tuple(
        source_of(flat.tensors[leaf.tensor])
        if leaf.tensor is not None
        else Leaf(cache=places[id(flat.caches[leaf.cache])])
        if leaf.cache is not None
        else leaf
        for leaf in flat.leaves
    )
    caches = []
    for cache in (*arguments.caches, *new):
        tensors: list[torch.Tensor] = []
        state = take_apart(cache, tensors)
        caches.append(CacheResult(state, tuple(source_of(tensor) for tensor in tensors)))
    return ResultPlan(flat.spec, leaves, tuple(caches)), tuple(outputs)


def collect_outputs(plan: ResultPlan, arguments: FlatTree, result: Any) -> tuple[torch.Tensor, ...]:
    """The tensors that the plan calls outputs, from another call of the same signature (an exporter's, say).

    Raises:
        ValueError: the call did not go as planned.
    """
    flat = flatten(result)
    outputs: dict[int, torch.Tensor] = {}

    def put(leaf: Leaf, tensor: torch.Tensor) -> None:
        if leaf.tensor is not None:
            outputs[leaf.tensor] = tensor

    if len(flat.leaves) != len(plan.leaves):
        raise ValueError("it answers the same kind of call with another structure")
    for planned, found in zip(plan.leaves, flat.leaves, strict=True):
        if found.tensor is not None:
            put(planned, flat.tensors[found.tensor])
    known = {id(cache) for cache in arguments.caches}
    caches = [*arguments.caches, *(cache for cache in flat.caches if id(cache) not in known)]
    for expected, cache in zip(plan.caches, caches, strict=True):
        tensors: list[torch.Tensor] = []
        state = take_apart(cache, tensors)
        if state != expected.state:
            raise ValueError("it leaves its cache in another state")
        for leaf, tensor in zip(expected.tensors, tensors, strict=True):
            put(leaf, tensor)
    return tuple(outputs[index] for index in range(len(outputs)))


def rebuild_result(plan: ResultPlan, call: FlatTree, outputs: Sequence[Any]) -> Any:
    """The result that the module would have returned, with the call's caches grown in place."""
    caches = []
    for index, after in enumerate(plan.caches):
        tensors = [_take(leaf, call, outputs) for leaf in after.tensors]
        if index < len(call.caches):
            write_back(call.caches[index], after.state, tensors)
            caches.append(call.caches[index])
        else:
            caches.append(put_together(after.state, tensors))
    return unflatten(plan.spec, plan.leaves, outputs, caches, call.tensors)


def _take(leaf: Leaf, call: FlatTree, outputs: Sequence[Any]) -> Any:
    if leaf.tensor is not None:
        return outputs[leaf.tensor]
    assert leaf.argument is not None  # a cache's tensor is one or the other
    return call.tensors[leaf.argument]
