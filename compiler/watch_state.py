"""What of a predictor's own state is written while it answers: attributes, globals of its files, what is inside them.

Own are the predictor, objects of classes of the project, and lists, dicts and sets in them. What a library keeps inside
its objects is not looked at: whether that bears other requests in between is for the answers to show.
"""

from __future__ import annotations

import sys
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

__all__ = ["State", "find_lock", "own_state", "written_between"]

# Identity and content of what stands at each path; the second value keeps alive what is known by its identity.
State = dict[str, tuple[Any, Any]]

_CONTAINERS = (dict, list, tuple, set, frozenset, deque)
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore)
_MOST_OBJECTS = 20_000
_MOST_BYTES = 16 * 2**20


def own_state(predictor: object, project: Path) -> State:
    """A picture of it, to be compared with a later one."""
    return {path: (_mark(value), value) for path, value in _walk(predictor, project)}


def written_between(before: State, after: State) -> str | None:
    """The path of the first thing that is not what it was, or None."""
    for path in (*after, *before):
        if path not in before or path not in after or before[path][0] != after[path][0]:
            return path
    return None


def find_lock(predictor: object, project: Path) -> str | None:
    """The path of a lock of the predictor's own, or None."""
    return next((path for path, value in _walk(predictor, project) if isinstance(value, _LOCKS)), None)


def _walk(predictor: object, project: Path) -> Iterator[tuple[str, Any]]:
    modules = {name: module for name, module in sys.modules.copy().items() if _is_own_module(module, project)}
    queue: deque[tuple[str, Any]] = deque([("predictor", predictor)])
    for module in modules.values():
        for name, value in list(vars(module).items()):
            if not name.startswith("__"):
                queue.append((name if name.isidentifier() else repr(name), value))
    seen: set[int] = set()
    while queue and len(seen) < _MOST_OBJECTS:
        path, value = queue.popleft()
        yield path, value
        if id(value) not in seen:
            seen.add(id(value))
            queue.extend(_inside(path, value, modules))


def _is_own_module(module: Any, project: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(module, ModuleType) and isinstance(file, str) and Path(file).is_relative_to(project)


def _inside(path: str, value: Any, modules: dict[str, ModuleType]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"{path}[{key!r:.40}]", item
    elif isinstance(value, (list, tuple, deque)):
        for index, item in enumerate(list(value)):
            yield f"{path}[{index}]", item
    elif isinstance(value, MethodType):
        yield f"{path}.__self__", value.__self__
    elif isinstance(value, FunctionType) and value.__module__ in modules:
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield f"{path}.<{name}>", cell.cell_contents
            except ValueError:  # a cell that is still empty
                continue
    elif isinstance(value, SimpleNamespace) or type(value).__module__ in modules:
        for name, item in list(getattr(value, "__dict__", {}).items()):
            # Exchanging a module's forward writes it; torch's own fields are the parameters, which are compared below.
            if name != "forward":
                yield f"{path}.{name}", item
    elif isinstance(value, type) and value.__module__ in modules:
        for name, item in list(vars(value).items()):
            if not name.startswith("__"):
                yield f"{path}.{name}", item


def _mark(value: Any) -> Any:
    """Equal for equal states of the same object."""
    if isinstance(value, (set, frozenset)):
        return id(value), frozenset(map(id, value))
    if isinstance(value, _CONTAINERS):
        return id(value), len(value)
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return id(value), None if value.is_inference() else value._version
    if numpy is not None and isinstance(value, numpy.ndarray) and value.dtype != object:
        step = max(1, value.nbytes // _MOST_BYTES)
        return id(value), zlib.crc32(value.ravel()[::step].tobytes())
    if isinstance(value, bytearray):
        return id(value), zlib.crc32(value)
    return id(value)
