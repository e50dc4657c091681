"""The globals of the user's files that a module's forward can read (``x * SCALE``, ``settings.SCALE``).

An exporter bakes their values into the graph, as it does with attributes. Python tells nobody when a global is read, so
what counts is what the code of forward, and of the user's functions that it can reach, has the name of.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .fingerprint import Watched, as_json_value, is_held_object, is_plain, library_version, watch
from .manifest import GlobalRead

__all__ = ["globals_read", "locate_globals"]


def globals_read(module: Any) -> tuple[GlobalRead, ...]:
    """Their values now. Of a dict, all that is plain in it counts; so it does of an object of a user's class."""
    found = {key: as_json_value(holder[_key(key[1])]) for key, holder in _places(module).items()}
    return tuple(GlobalRead(where, name, value) for (where, name), value in sorted(found.items()))


def locate_globals(module: Any, reads: tuple[GlobalRead, ...]) -> list[Watched]:
    """For each: the dict it lives in, its name and its value when compiled; cheap to compare later."""
    places: dict[tuple[str, str], dict[str, Any]] = _places(module) if reads else {}
    watched = []
    for read in reads:
        holder = places.get((read.module, read.name), {})
        watched.append(watch(holder, _key(read.name), read.value, f"the global {read.name!r}"))
    return watched


def _places(module: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """By the Python module's name and the global's, the dict that holds the value."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for function, names in _reachable(module):
        where = function.__globals__
        for name in names & where.keys():
            value = where[name]
            if isinstance(value, ModuleType) and _is_users(value.__name__):
                for inner in names & vars(value).keys():
                    _put(found, vars(value), inner)
            else:
                _put(found, where, name)
    return found


def _put(found: dict[tuple[str, str], dict[str, Any]], where: dict[str, Any], name: str) -> None:
    module, value = str(where.get("__name__")), where[name]
    if name.startswith("__"):
        return
    if is_plain(value):
        found[module, name] = where
    else:
        held = value if type(value) is dict else vars(value) if is_held_object(value) else {}
        for key, item in held.items():
            if type(key) is str and "." not in key and is_plain(item):
                found[module, f"{name}.{key}"] = held


def _key(name: str) -> str:
    return name.rpartition(".")[2]


def _reachable(module: Any) -> Iterator[tuple[FunctionType, set[str]]]:
    """The user's functions that forward can call, each with the names in its code."""
    classes = {type(part) for part in module.modules()}
    left: list[tuple[type | None, FunctionType | None]] = [
        (kind, _function(kind, "forward")) for kind in sorted(classes, key=lambda kind: kind.__qualname__)
    ]
    seen: set[tuple[type | None, int]] = set()
    while left:
        kind, function = left.pop()
        if function is None or not _is_users(function.__module__) or (kind, id(function)) in seen:
            continue
        seen.add((kind, id(function)))
        names = set(_names(function.__code__))
        yield function, names
        for name in names:
            left.append((kind, _function(kind, name)))
            value = function.__globals__.get(name)
            if isinstance(value, ModuleType) and _is_users(value.__name__):
                left += [(None, _unwrapped(vars(value).get(inner))) for inner in names]
            else:
                left.append((None, _unwrapped(value)))


def _function(kind: type | None, name: str) -> FunctionType | None:
    """A method, or what stands behind a property or a static method, of a class."""
    for base in kind.__mro__ if kind is not None else ():
        if name in vars(base):
            return _unwrapped(vars(base)[name])
    return None


def _unwrapped(value: Any) -> FunctionType | None:
    inner: Callable[..., Any] | None = getattr(value, "fget", None) or getattr(value, "__func__", None)
    value = inner or value
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value if isinstance(value, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _is_users(module: str | None) -> bool:
    package = (module or "").partition(".")[0]
    return package not in sys.stdlib_module_names and package != "__future__" and library_version(package) is None
