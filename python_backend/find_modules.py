"""Where a predictor keeps its torch modules: a walk from the predictor that gives every module a path.

The compiler names modules by these paths and the runtime finds them again by the same walk. It looks into attributes,
lists, dicts, nested objects, closures, bound methods, partials, and the globals of the user's file. Where several
paths lead to a module, the shortest is its name.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

# A tokenizer's vocabulary has a hundred thousand entries; a predictor has a few thousand objects worth visiting.
MAXIMUM_OBJECTS = 200_000

_ATOMS = (type(None), bool, int, float, complex, str, bytes, bytearray, type, ModuleType)
TORCH_MODULE_FIELDS = frozenset(
    {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks"}
    | {"_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks"}
    | {"_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks"}
    | {"_load_state_dict_post_hooks", "_is_full_backward_hook"}
)


def find_modules(predictor: object, user_module: ModuleType) -> dict[str, Any]:
    """Every ``torch.nn.Module`` that can be reached, by path (``predictor.pipelines['sentiment'].model``).

    Empty when torch was not imported: then there is nothing to find.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {path: value for path, value in walk_objects(predictor, user_module) if isinstance(value, torch.nn.Module)}


def walk_objects(predictor: object, user_module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Every object on the way to a module, each once, by its shortest path. torch must be imported."""
    torch = sys.modules["torch"]
    seen: set[int] = set()
    keep_alive: list[Any] = []  # an id is only good while its object lives
    queue: deque[tuple[str, Any]] = deque(_roots(predictor, user_module))
    while queue and len(seen) < MAXIMUM_OBJECTS:
        path, value = queue.popleft()
        if isinstance(value, (*_ATOMS, torch.Tensor)) or id(value) in seen:
            continue
        seen.add(id(value))
        keep_alive.append(value)
        yield path, value
        if isinstance(value, torch.nn.Module):
            queue.extend(_children_of_module(path, value))
        else:
            queue.extend(_children_of_object(path, value))


def _roots(predictor: object, user_module: ModuleType) -> Iterator[tuple[str, Any]]:
    yield "predictor", predictor
    for name, value in vars(type(predictor)).items():
        if not name.startswith("__"):
            yield f"predictor.{name}", value
    for name, value in vars(user_module).items():
        # A function's closure is the user's only if the user's file defined it.
        foreign = isinstance(value, FunctionType) and value.__module__ != user_module.__name__
        if not name.startswith("__") and not foreign:
            yield name, value


def _children_of_module(path: str, module: Any) -> Iterator[tuple[str, Any]]:
    for name, child in module._modules.items():
        yield (f"{path}[{name}]" if name.isdigit() else f"{path}.{name}"), child
    for name, value in vars(module).items():
        if name not in TORCH_MODULE_FIELDS:
            yield f"{path}.{name}", value


def _children_of_object(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, (str, int)) and not isinstance(item, _ATOMS):
                yield f"{path}[{key!r}]", item
    elif isinstance(value, (list, tuple, deque)):
        for index, item in enumerate(value):
            if not isinstance(item, _ATOMS):
                yield f"{path}[{index}]", item
    elif isinstance(value, MethodType):
        yield f"{path}.__self__", value.__self__
        yield f"{path}.__func__", value.__func__
    elif isinstance(value, functools.partial):
        yield f"{path}.func", value.func
        yield f"{path}.args", value.args
        yield f"{path}.keywords", value.keywords
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield f"{path}.<{name}>", cell.cell_contents
            except ValueError:  # a cell that is still empty
                continue
    else:
        yield from _attributes(path, value)


def _attributes(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        attributes = {}
    if isinstance(attributes, dict):
        for name, item in attributes.items():
            if not isinstance(item, _ATOMS):
                yield f"{path}.{name}", item
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            try:
                item = object.__getattribute__(value, name)
            except AttributeError:
                continue
            if not isinstance(item, _ATOMS):
                yield f"{path}.{name}", item
