"""What a module's call does besides computing its result: a graph in its place would leave that out.

Looked for in the call as it happens: random numbers drawn, buffers, attributes and arguments changed.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cortex_compile.python_backend.calls import FlatTree, UnsupportedLeaf, flatten
from cortex_compile.python_backend.fingerprint import is_plain
from cortex_compile.python_backend.flatten_call import flatten_arguments

# Looked at one by one below, or set by torch itself.
_NOT_ATTRIBUTES = frozenset({"_parameters", "_buffers", "_modules", "forward", "_compiled_call_impl"})


class WatchedCall:
    """Remembers what surrounds a call before it; afterwards ``side_effect`` says what is not as it was."""

    def __init__(
        self, path: str, module: Any, arguments: FlatTree, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self._path = path
        self._is_training = any(part.training for part in module.modules())
        self._module = module
        self._arguments = arguments
        self._call = args, kwargs
        self._random = _random_states()
        self._argument_versions = _versions(arguments.tensors)
        self._state = dict(_state(module))
        self._state_versions = _versions(self._state.values())
        self._attributes = {key: (value, _items(value)) for key, value in attributes_of(module)}

    def side_effect(self, result: Any, repeat: Callable[[], Any]) -> str | None:
        """What a graph would not do, and what to change, in the user's terms; None where there is nothing.

        Args:
            result: what the call returned.
            repeat: makes the call once more.
        """
        name = self._changed_state()
        if name is not None:
            return self._because_of_training(
                f"it changes its own {name} in forward",
                "keep what it learns from requests outside, or pass it as an argument and return it",
            )
        name = self._changed_attribute()
        if name is not None:
            return f"it sets its own attribute {name!r} in forward, as a graph would not; return the value instead"
        return self._changed_arguments() or self._random_result(result, repeat)

    def _random_result(self, result: Any, repeat: Callable[[], Any]) -> str | None:
        """Some of transformers' layers draw a number in any mode, and use it in training only."""
        import torch

        now = _random_states()
        if now == self._random:
            return None
        reason = self._because_of_training(
            "it draws random numbers in forward", "draw them in predict and pass them to it as an argument"
        )
        only_torch = now[1:] == self._random[1:]
        if self._is_training or self._arguments.caches or not only_torch:
            return reason
        with torch.random.fork_rng(devices=()):
            for seed in range(3):
                torch.manual_seed(seed)
                if not _equal(result, repeat()):
                    return reason
        return None

    def _because_of_training(self, what: str, otherwise: str) -> str:
        if self._is_training:
            return f"{what}, since it is in training mode; call {self._path}.eval() in __init__"
        return f"{what}; {otherwise}"

    def _changed_state(self) -> str | None:
        state = dict(_state(self._module))
        for (kind, name), tensor in state.items():
            if self._state.get((kind, name)) is not tensor:
                return f"{kind} {name!r}"
        versions = zip(self._state_versions, _versions(self._state.values()), strict=True)
        changed = (key for key, (before, now) in zip(self._state, versions, strict=True) if before != now)
        return next((f"{kind} {name!r}" for kind, name in changed), None)

    def _changed_attribute(self) -> str | None:
        now = dict(attributes_of(self._module))
        for key in self._attributes.keys() | now.keys():
            if key not in now or key not in self._attributes:
                return dotted(key)
            before, items = self._attributes[key]
            value = now[key]
            if value is before:
                if not _same_items(items, _items(value)):
                    return dotted(key)
            elif not (is_plain(value) and type(value) is type(before) and value == before):
                return dotted(key)
        return None

    def _changed_arguments(self) -> str | None:
        if _versions(self._arguments.tensors) != self._argument_versions:
            return "it changes its arguments in place; let it work on a copy, x.clone()"
        text = "it puts something into the dict, list or object that it is given; let it return that instead"
        try:
            now = flatten_arguments(*self._call)
        except UnsupportedLeaf:
            return text
        if now.spec != self._arguments.spec or now.leaves != self._arguments.leaves:
            return text
        pairs = zip(self._own_tensors(self._arguments), self._own_tensors(now), strict=True)
        return None if all(mine is theirs for mine, theirs in pairs) else text

    @staticmethod
    def _own_tensors(arguments: FlatTree) -> Sequence[Any]:
        """Without those of the caches, which grow in place and are written back."""
        return arguments.tensors[: sum(leaf.tensor is not None for leaf in arguments.leaves)]


def _equal(expected: Any, found: Any) -> bool:
    import torch

    try:
        mine, theirs = flatten(expected), flatten(found)
    except UnsupportedLeaf:
        return False
    return mine.leaves == theirs.leaves and all(map(torch.equal, mine.tensors, theirs.tensors))


def _state(module: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    for name, tensor in module.named_parameters(remove_duplicate=False):
        yield ("parameter", name), tensor
    for name, tensor in module.named_buffers(remove_duplicate=False):
        yield ("buffer", name), tensor


def attributes_of(module: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    """By the path of the part and the name, without what torch keeps there."""
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in _NOT_ATTRIBUTES:
                yield (path, name), value


def dotted(key: tuple[str, str]) -> str:
    return ".".join(part for part in key if part)


def _items(value: Any) -> list[Any] | None:
    """What a container holds, so that it can be compared with itself later."""
    if isinstance(value, Mapping):
        return [item for pair in value.items() for item in pair]
    return list(value) if isinstance(value, (list, set)) else None


def _same_items(before: list[Any] | None, now: list[Any] | None) -> bool:
    if before is None or now is None:
        return before is now
    return len(before) == len(now) and all(mine is theirs for mine, theirs in zip(before, now, strict=True))


def _versions(tensors: Any) -> list[int]:
    # A tensor made in inference mode keeps no version; nothing outside inference mode can change it in place.
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


def _random_states() -> tuple[Any, ...]:
    """Of torch, of Python, and of numpy where it is loaded."""
    import torch

    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy is not None else None
    own = None if state is None else (state[1].tobytes(), state[2])
    return torch.random.get_rng_state().numpy().tobytes(), random.getstate(), own
