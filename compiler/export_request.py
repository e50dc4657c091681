"""A recorded call made ready for an exporter: tensors in and out, named, with example sizes that mislead no one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cortex_compile.backends.protocol import ExportRequest, SizeProfile
from cortex_compile.compiler.capture_modules import RecordedCall
from cortex_compile.compiler.find_positions import Positions, resize_call
from cortex_compile.compiler.keep_attributes import KeptAttributes
from cortex_compile.compiler.tensor_sizes import Axis, Family
from cortex_compile.python_backend.calls import FlatTree, leaf_paths, rebuild_arguments
from cortex_compile.python_backend.flatten_call import flatten_arguments
from cortex_compile.python_backend.manifest import CacheState
from cortex_compile.python_backend.results import ResultPlan, collect_outputs

if TYPE_CHECKING:
    import torch

# For engines that are built for a range of sizes: rows, and how many times the recorded other sizes.
_LARGEST_BATCH = 32
_HEADROOM = 4


def make_export_request(
    module: torch.nn.Module,
    call: RecordedCall,
    families: Sequence[Family],
    positions: Sequence[Positions] = (),
    exporter: str = "",
) -> ExportRequest:
    inputs = _tensor_names(_argument_labels(module, call.arguments), taken=())
    outputs = _tensor_names(_result_labels(call.plan), taken=inputs)
    axes = frozenset[Axis]().union(*(family.members for family in families))
    example = _example(call.arguments.tensors, families, positions)
    sizes = _size_profile(call.arguments.tensors, families)
    return ExportRequest(tensors_only(module, call), example, inputs, outputs, axes, exporter, sizes)


def tensors_only(module: torch.nn.Module, call: RecordedCall) -> torch.nn.Module:
    """A module that takes the tensors of a call, puts the constants back, and returns the tensors of the result."""
    import torch

    class TensorsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module
            # An exporter restores this flag on every part; in the other state it would flip the user's module.
            self.training = module.training

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            args, kwargs = rebuild_arguments(call.arguments, tensors)
            arguments = flatten_arguments(args, kwargs)
            return collect_outputs(call.plan, arguments, self.module(*args, **kwargs))

    return TensorsOnly()


@contextmanager
def left_as_it_was(module: torch.nn.Module) -> Iterator[None]:
    """Put back for every part what an exporter may change: training flags and other attributes, which parameters want
    gradients, and what the buffers hold, since a trace runs the module."""
    import torch

    attributes = KeptAttributes(module)
    gradients = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    buffers = [
        (part, name, buffer, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        attributes.put_back()
        for parameter, requires_grad in gradients:
            parameter.requires_grad = requires_grad
        with torch.no_grad():
            for part, name, buffer, values in buffers:
                part._buffers[name] = buffer
                if not torch.equal(buffer, values):
                    buffer.copy_(values)


def _example(
    tensors: Sequence[torch.Tensor], families: Sequence[Family], positions: Sequence[Positions]
) -> tuple[torch.Tensor, ...]:
    """Sizes of at least 2 where they vary, since exporters take 0 and 1 for constants; and a batch that is equal to no
    other size, since equal sizes are taken for one."""
    sizes: dict[Axis, int] = {}
    for family in families:
        if not family.is_batch:
            sizes |= family.sizes(max(2, family.size_in(tensors)))
    others = set(sizes.values())
    for family in families:
        if family.is_batch:
            size = family.size_in(tensors)
            primes = (prime for prime in (2, 3, 5, 7, 11, 13, 17) if prime not in others)
            sizes |= family.sizes(size if size > 1 and size not in others else next(primes))
    return resize_call(tensors, sizes, positions)


def _size_profile(tensors: Sequence[torch.Tensor], families: Sequence[Family]) -> SizeProfile:
    """From one row or element up to some times the recorded sizes: an engine that is built for a range takes longer
    and more memory for a larger one, and what lies beyond runs eager."""

    def shapes(size_of: Callable[[Family, int], int]) -> tuple[tuple[int, ...], ...]:
        sizes: dict[Axis, int] = {}
        for family in families:
            sizes |= family.sizes(size_of(family, family.size_in(tensors)))
        return tuple(
            tuple(sizes.get((index, axis), size) for axis, size in enumerate(tensor.shape))
            for index, tensor in enumerate(tensors)
        )

    return SizeProfile(
        minimum=shapes(lambda family, size: min(1, size)),
        typical=shapes(lambda family, size: size),
        maximum=shapes(lambda family, size: max(size, _LARGEST_BATCH) if family.is_batch else _HEADROOM * max(size, 1)),
    )


def _argument_labels(module: torch.nn.Module, arguments: FlatTree) -> Iterator[str]:
    """A name for each tensor: the parameter of forward it was given for, and where it stands inside it."""
    parameters = list(inspect.signature(module.forward).parameters)
    labels = []
    for path in leaf_paths(arguments.spec):
        group, first, *rest = path
        if group == 0 and isinstance(first, int) and first < len(parameters):
            first = parameters[first]
        labels.append("_".join(str(key) for key in (first, *rest)))
    yield from (label for label, leaf in zip(labels, arguments.leaves, strict=True) if leaf.tensor is not None)
    caches = [label for label, leaf in zip(labels, arguments.leaves, strict=True) if leaf.cache is not None]
    for label, state in zip(caches, arguments.states, strict=True):
        yield from _cache_labels(label, state)


def _result_labels(plan: ResultPlan) -> Iterator[str]:
    """A name for each output: where it stands in the result, and for a cache's tensors their layer."""
    labels: dict[int, str] = {}
    cache_names = {index: "cache" for index in range(len(plan.caches))}
    for path, leaf in zip(leaf_paths(plan.spec), plan.leaves, strict=True):
        named = path if path and isinstance(path[0], str) else ("output", *path)
        label = "_".join(str(key) for key in named)
        if leaf.tensor is not None:
            labels[leaf.tensor] = label
        elif leaf.cache is not None:
            cache_names[leaf.cache] = label
    for index, cache in enumerate(plan.caches):
        for leaf, label in zip(cache.tensors, _cache_labels(cache_names[index], cache.state), strict=True):
            if leaf.tensor is not None:
                labels[leaf.tensor] = label
    yield from (labels[index] for index in range(len(labels)))


def _cache_labels(name: str, state: CacheState) -> Iterator[str]:
    for group, flags in (("", state.layers), ("cross_", state.cross_layers)):
        for layer, filled in enumerate(flags):
            if filled:
                yield f"{name}_{group}{layer}_key"
                yield f"{name}_{group}{layer}_value"


def _tensor_names(labels: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Names that ONNX, Triton and Python all take, each one once."""
    used = set(taken)
    names: list[str] = []
    for label in labels:
        name = plain = re.sub(r"\W", "_", label) or "tensor"
        if plain in used:
            plain = f"{plain}_out" if plain in set(taken) else plain
        name, number = plain, 1
        while name in used:
            number += 1
            name = f"{plain}_{number}"
        used.add(name)
        names.append(name)
    return tuple(names)
